"""The functions that `import xview2_siamese_unet` gives to Python and notebooks."""

from __future__ import annotations

from pathlib import Path

import pytest

import xview2_siamese_unet as xview2
from run_command import run_python
from shipped_project import lay_down_shipped
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


def test_every_listed_function_is_there() -> None:
    assert {name for name in xview2.__all__ if not callable(getattr(xview2, name))} == set()
    assert xview2.assess is assess
    assert {*xview2.__all__} <= {*dir(xview2)}


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'asess'"):
        xview2.asess  # type: ignore[attr-defined]  # noqa: B018


def test_one_name_or_path_is_no_list_of_letters() -> None:
    assert as_list("package") == ["package"]
    assert as_list(Path("a.csv")) == [Path("a.csv")]
    assert as_list(("package", "random")) == ["package", "random"]


def test_what_the_options_of_a_command_refuse_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot have 0 buildings"):
        xview2.label(tmp_path, count=0)
    with pytest.raises(ConfigError, match="unclassified is no-damage"):
        xview2.score(tmp_path, tmp_path, unclassified="no-damage")  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_campaign_takes_the_model_of_an_experiment(tmp_path: Path) -> None:
    done = run_python(lay_down_shipped(tmp_path), "-c", CAMPAIGN)
    assert "There is no model" in done.stdout, done.stderr
    assert "strong_best_siamese_unet_state" in done.stdout
