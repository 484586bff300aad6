"""Functions are short, and no module is a catch-all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src" / "xview2_siamese_unet"
CODE = [
    path
    for folder in ("src", "tests", "benchmarks", "docs", "qgis_plugin")
    for path in (PROJECT / folder).rglob("*.py")
]
MAX_FUNCTION_LINES = 50


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{path.relative_to(PROJECT)}::{node.name}", node.end_lineno - node.lineno + 1


def test_no_function_is_long() -> None:
    found = [each for path in CODE for each in functions(path)]
    assert len(found) > 2000
    assert [each for each in found if each[1] > MAX_FUNCTION_LINES] == []


def test_no_module_is_called_utils() -> None:
    names = {path.stem.lower() for path in [*CODE, *SOURCE.rglob("*")]}
    assert not {"util", "utils", "helper", "helpers", "common", "misc"} & names
