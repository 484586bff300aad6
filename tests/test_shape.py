"""The house keeps its shape: small files, small functions, no drawer for everything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src" / "xview2_siamese_unet"
CODE = [path for room in ("src", "tests", "benchmarks", "docs") for path in (PROJECT / room).rglob("*.py")]
LINES_OF_A_FILE = 300
LINES_OF_A_FUNCTION = 50


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{path.relative_to(PROJECT)}::{node.name}", node.end_lineno - node.lineno + 1


def test_no_file_is_long() -> None:
    shipped = [path for path in SOURCE.rglob("*.*") if path.suffix not in (".py", ".pyc")]
    files = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in [*CODE, *shipped]}
    assert len(files) > 400
    assert {str(path): lines for path, lines in files.items() if lines > LINES_OF_A_FILE} == {}


def test_no_function_is_long() -> None:
    found = [each for path in CODE for each in functions(path)]
    assert len(found) > 2000
    assert [each for each in found if each[1] > LINES_OF_A_FUNCTION] == []


def test_nothing_is_called_utils() -> None:
    names = {path.stem.lower() for path in [*CODE, *SOURCE.rglob("*")]}
    assert not {"util", "utils", "helper", "helpers", "common", "misc"} & names
