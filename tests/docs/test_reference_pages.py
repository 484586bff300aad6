"""The pages that are made from the code say what the code says."""

from __future__ import annotations

import ast
from types import ModuleType

import pytest
from docs_blocks import DOCS

from xview2_siamese_unet.params.globals import Globals
from xview2_siamese_unet.params.tree import Parameters


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    import reference  # noqa: PLC0415  not on the path before

    return reference


@pytest.fixture
def error_pages(reference: ModuleType) -> ModuleType:
    import error_pages  # noqa: PLC0415

    return error_pages


@pytest.mark.parametrize("name", ["parameters", "errors"])
def test_the_page_is_what_the_code_would_write(reference: ModuleType, name: str) -> None:
    made = reference.MADE + getattr(reference, f"{name}_page")()
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == made, "run `uv run python docs/reference.py`"


def test_every_key_stands_there_with_a_meaning(reference: ModuleType) -> None:
    rows = [row for model in (Parameters, Globals) for row in reference._rows(model, "")]
    assert len(rows) > 100
    assert [key for key, _, _, meaning in rows if not meaning] == []


def spelt(error_pages: ModuleType, code: str) -> list[tuple[str, ...]]:
    tree = ast.parse(code)
    function = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    names = error_pages._given(function, tree) | error_pages._assigned([*tree.body, *ast.walk(function)])
    calls = error_pages._calls(function, {"DataError"})
    return [found[2:] for call in calls for found in error_pages._spelt("room", call, names)]


def test_what_only_a_run_knows_is_a_gap(error_pages: ModuleType) -> None:
    code = """
LIMIT = 3
def f(path, n):
    raise DataError(f"{path}", found=f"{n} file{'s' if n > 1 else ''}", allowed=f"up to {LIMIT}", remedy="a" + "b")
"""
    assert spelt(error_pages, code) == [("…", "… files", "up to 3", "ab")]


def test_each_wording_is_an_error_of_its_own(error_pages: ModuleType) -> None:
    code = """
def f(found):
    return DataError("here", found=found, allowed="x" if found else "y", remedy="z")
f("one")
f("two")
"""
    wordings = {("here", found, allowed, "z") for found in ("one", "two") for allowed in "xy"}
    assert set(spelt(error_pages, code)) == wordings


def test_one_that_hands_on_another_says_nothing(error_pages: ModuleType) -> None:
    code = "def f(e):\n    return DataError('x', found=e.found, allowed=e.allowed, remedy=e.remedy)"
    assert spelt(error_pages, code) == []
