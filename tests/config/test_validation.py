"""Mistakes in the configuration become sentences with key, allowed values, given value and hint."""

from __future__ import annotations

from typing import Annotated

import pytest
import yaml
from pydantic import Field

from xview2_siamese_unet.config.dataset import DatasetParams
from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.config.inference import ImageParams
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.config.validation import Strict, validate
from xview2_siamese_unet.errors import ConfigError


class Section(Strict):
    rates: list[Annotated[float, Field(gt=0)]] = Field(default_factory=list)
    steps: tuple[int, int] = (1, 2)


class Needy(Strict):
    must: int


def refused(raw: dict[str, object], model: type[Strict] = Parameters) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        validate(raw, model, "here")
    return caught.value


def test_valid_parameters_become_their_model() -> None:
    assert validate({"dataset": {"sample": {"size": 96}}}, Parameters, "here").dataset.sample.size == 96
    assert validate({}, Parameters, "here") == Parameters()


def test_text_is_converted_to_numbers_and_booleans() -> None:
    read = validate({"training": {"epochs": "3", "reuse": "no"}}, Parameters, "here").training
    assert (read.epochs, read.reuse) == (3, False)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"training": {"epochs": True}}, "training.epochs must be a whole number, at least 1, got 'true'"),
        ({"data_processing": {"split": {"seed": False}}}, "split.seed must be a whole number, at least 0, got 'false'"),
    ],
)
def test_a_boolean_is_not_a_number(raw: dict[str, object], sentence: str) -> None:
    assert sentence in refused(raw).message


@pytest.mark.parametrize(
    ("raw", "model", "sentence"),
    [
        (
            {"dataset": {"sample": {"size": 10}}},
            Parameters,
            "dataset.sample.size must be at least 64, at most 4096, a multiple of 32, got 10",
        ),
        ({"training": {"learning_rate": "abc"}}, Parameters, "must be a number, greater than 0, got 'abc'"),
        ({"dataset": {"subset": {"share": 2}}}, Parameters, "must be greater than 0, at most 1, got 2"),
        ({"dataset": {"source": "web"}}, Parameters, "dataset.source must be 'sample', 'xbd' or 'other', got 'web'"),
        ({"dataset": {"use_main_dataset": "maybe"}}, Parameters, "must be true or false, got 'maybe'"),
        ({"dataset": {"name": "../x"}}, Parameters, "dataset.name must be text that matches pattern"),
        ({"dataset": None}, Parameters, "dataset must be a section of keys, got null"),
        ({"dataset": {"source": "xbd"}}, Parameters, "dataset needs root"),
        ({"training": {"damage_dilation": 4}}, Parameters, "must be an odd number of pixels, got 4"),
        (
            {"stretch": [5, 5]},
            ImageParams,
            "must be two finite numbers, the first below the second, got [5, 5]",
        ),
        ({"stretch": [0, float("inf")]}, ImageParams, "two finite numbers"),
        ({"stretch": [float("nan"), 1]}, ImageParams, "two finite numbers"),
        ({"rates": [0.1, 0]}, Section, "rates.1 must be greater than 0.0, got 0"),
        ({"rates": 3}, Section, "rates must be a list, got 3"),
        ({"steps": [1]}, Section, "steps.1 must be given"),
        ({}, Needy, "must must be given"),
        ({"must": "x" * 200}, Needy, "xxx..."),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(raw: dict[str, object], model: type[Strict], sentence: str) -> None:
    error = refused(raw, model)
    assert error.message.startswith("here: ")
    assert sentence in error.message
    assert error.hint.startswith("Correct ")
    assert len(str(error)) < 200


def test_an_unknown_key_suggests_the_nearest_key_of_its_section() -> None:
    error = refused({"dataset": {"sample": {"sead": 1}}})
    assert "unknown key dataset.sample.sead; dataset.sample has the keys seed, size, scenes" in error.message
    assert error.hint == "Write dataset.sample.seed instead of dataset.sample.sead."
    assert refused({"zzz": 1}).hint == "Remove zzz."


def test_an_unknown_folder_of_xbd_is_named() -> None:
    assert (
        "data_processing.split.train.tier9 must be"
        in refused({"data_processing": {"split": {"train": {"tier9": 1.0}}}}).message
    )


def test_all_problems_are_named_at_once() -> None:
    error = refused({"dataset": {"nme": "x", "source": "web", "sample": {"seed": -1}}})
    for key in ("dataset.nme", "dataset.source", "dataset.sample.seed"):
        assert key in error.message


def test_a_default_that_depends_on_a_bad_value_is_not_a_second_problem() -> None:
    assert "group" not in refused({"user": "a/b", "experiment": "x"}, Globals).message


def test_group_is_the_user_unless_given() -> None:
    assert Globals(user="lab", experiment="x").group == "lab"
    assert Globals(user="lab", experiment="x", group="team").group == "team"


def test_parameters_and_globals_accept_the_same_dataset_names() -> None:
    pattern = [item.pattern for item in DatasetParams.model_fields["name"].metadata if hasattr(item, "pattern")]
    assert pattern
    assert pattern[0] in refused({"user": "..", "experiment": "x"}, Globals).message


def test_an_unquoted_off_is_not_a_boolean() -> None:
    text = "inference: {registration: off, buildings: {footprint_shift: off}}"
    read = validate(yaml.safe_load(text), Parameters, "parameters").inference
    assert (read.registration, read.buildings.footprint_shift) == ("off", "off")
