"""docs/security.md names an existing test for each promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_each_promise_names_a_test() -> None:
    rows = PAGE.partition("## Promises")[2].partition("\n## ")[0].count("\n| ") - 2
    assert len(NAMED) == rows > 20


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_named_test_exists(path: str, name: str) -> None:
    assert f"def {name}(" in (PROJECT / path).read_text(encoding="utf-8")
