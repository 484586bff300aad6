"""Every notebook runs from a fresh kernel, defines nothing and is kept without outputs."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from run_command import run_python

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
NAMES = [path.name for path in NOTEBOOKS]


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_has_no_outputs_and_defines_nothing(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    lines = "".join("".join([*cell["source"], "\n"]) for cell in cells).splitlines()
    code = "\n".join(line for line in lines if not line.startswith("%"))
    defined = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef, ast.Lambda)
    assert not any(isinstance(node, defined) for node in ast.walk(ast.parse(code)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Jupyter's own event loop; the kernel is another process
def test_a_notebook_runs_in_a_kernel_in_the_default_environment(small_project: Path) -> None:
    import nbformat  # noqa: PLC0415  takes 4 s in every process that collects tests
    from nbclient import NotebookClient  # noqa: PLC0415  imports nbformat

    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(small_project / "notebooks")}}).execute()
    assert any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS[1:], ids=NAMES[1:])
def test_a_notebook_runs_as_a_new_user(path: Path, small_project: Path, new_user: str) -> None:
    before = contents(small_project / "data", "default")
    done = run_python(
        small_project / "notebooks", "-m", "IPython", "--colors=NoColor", path.name, timeout=300, KEDRO_ENV=new_user
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(small_project / "data", "default") == before


def contents(storage: Path, user: str) -> dict[Path, int]:
    """Return path → modification time of every file of a user's runs."""
    return {path: path.stat().st_mtime_ns for path in storage.glob(f"*/{user}/**/*") if path.is_file()}
