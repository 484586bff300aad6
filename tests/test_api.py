"""Public functions of `import xview2_siamese_unet`."""

from __future__ import annotations

from pathlib import Path

import pytest

import xview2_siamese_unet as xview2
from run_command import run_python
from shipped_project import link_shipped_project
from xview2_siamese_unet.assessment import assess
from xview2_siamese_unet.config.adaptation import as_list
from xview2_siamese_unet.errors import ConfigError

CAMPAIGN = """
import xview2_siamese_unet as xview2
from xview2_siamese_unet.errors import CheckpointError
try:
    xview2.run_campaign(".", model="default/strong")
except CheckpointError as error:
    print(error.message)
"""


def test_every_listed_function_exists() -> None:
    assert {name for name in xview2.__all__ if not callable(getattr(xview2, name))} == set()
    assert xview2.assess is assess
    assert {*xview2.__all__} <= {*dir(xview2)}


def test_an_unknown_name_raises_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'asess'"):
        xview2.asess  # type: ignore[attr-defined]  # noqa: B018


def test_a_single_name_or_path_becomes_a_list_of_one() -> None:
    assert as_list("package") == ["package"]
    assert as_list(Path("a.csv")) == [Path("a.csv")]
    assert as_list(("package", "random")) == ["package", "random"]


def test_functions_refuse_the_values_that_command_options_refuse(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot have 0 buildings"):
        xview2.label(tmp_path, count=0)
    with pytest.raises(ConfigError, match="unclassified is no-damage"):
        xview2.score(tmp_path, tmp_path, unclassified="no-damage")  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_campaign_accepts_an_experiment_as_its_model(tmp_path: Path) -> None:
    done = run_python(link_shipped_project(tmp_path), "-c", CAMPAIGN)
    assert "There is no model" in done.stdout, done.stderr
    assert "strong_best_siamese_unet_state" in done.stdout
