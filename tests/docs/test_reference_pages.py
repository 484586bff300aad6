"""The generated files of parameters match the code."""

from __future__ import annotations

from runpy import run_path
from types import ModuleType

import pytest
from docs_blocks import DOCS

from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.config.tree import Parameters


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    import reference  # noqa: PLC0415  not on the path before

    return reference


def test_the_page_of_parameters_is_up_to_date(reference: ModuleType) -> None:
    made = reference.MADE + reference.parameters_page()
    assert (DOCS / "parameters.md").read_text(encoding="utf-8") == made, "run `uv run python docs/reference.py`"


def test_the_base_configuration_is_up_to_date(reference: ModuleType) -> None:
    base = DOCS.parent / "conf" / "base"
    assert {path.stem.removeprefix("parameters_") for path in base.glob("parameters*.yml")} == set(reference.BASE)
    for name, sections in reference.BASE.items():
        made = reference.base_file(sections)
        assert (base / f"parameters_{name}.yml").read_text(encoding="utf-8") == made, "run docs/reference.py"


def test_every_key_has_a_description(reference: ModuleType) -> None:
    rows = [row for model in (Parameters, Globals) for row in reference._rows(model, "")]
    assert len(rows) > 100
    assert [key for key, _, _, meaning in rows if not meaning] == []


def test_the_imports_of_the_script_for_pictures_work() -> None:
    assert "screenshot" in run_path(str(DOCS / "pictures.py"))
