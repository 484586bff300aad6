"""Every notebook runs from a fresh kernel, defines nothing and is kept without outputs."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
NAMES = [path.name for path in NOTEBOOKS]


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_has_no_outputs_and_defines_nothing(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    code = "\n".join(line for cell in cells for line in cell.source.splitlines() if not line.startswith("%"))
    defined = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef, ast.Lambda)
    assert not any(isinstance(node, defined) for node in ast.walk(ast.parse(code)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Jupyter's own event loop; the kernel is another process
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_runs(path: Path, small_project: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    folder = small_project / "notebooks"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    assert any(cell.get("outputs") for cell in notebook.cells)
