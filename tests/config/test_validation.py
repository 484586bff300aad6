"""A mistake in the configuration becomes key, found, allowed, next."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from xview2_siamese_unet.config.base import Strict
from xview2_siamese_unet.config.dataset import DatasetParams
from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.config.inference import ImageParams
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.config.validation import validate
from xview2_siamese_unet.errors import ConfigError


class Focal(Strict):
    kind: Literal["focal"] = "focal"
    gamma: float = Field(default=2.0, ge=0, lt=10)


class Dice(Strict):
    kind: Literal["dice"] = "dice"
    smooth: float = 1.0


class Recipe(Strict):
    losses: list[Annotated[Focal | Dice, Field(discriminator="kind")]] = Field(default_factory=list)
    rates: list[Annotated[float, Field(gt=0)]] = Field(default_factory=list)
    steps: tuple[int, int] = (1, 2)
    warm: bool = True
    must: int = 0


class Needy(Strict):
    must: int


def refused(raw: dict[str, object], model: type[Strict]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        validate(raw, model, "here")
    return caught.value


def test_what_is_right_comes_back_as_its_model() -> None:
    assert validate({"dataset": {"sample": {"size": 96}}}, Parameters, "here").dataset.sample.size == 96
    assert validate({}, Parameters, "here") == Parameters()


def test_text_that_says_a_number_or_a_flag_is_taken_for_it() -> None:
    read = validate({"training": {"epochs": "3", "reuse": "no"}}, Parameters, "here").training
    assert (read.epochs, read.reuse) == (3, False)


@pytest.mark.parametrize("section", [{"training": {"epochs": True}}, {"data_processing": {"split": {"seed": False}}}])
def test_a_flag_is_no_number(section: dict[str, object]) -> None:
    assert re.search(r"(epochs|seed): '(true|false)'; allowed: .*a whole number", str(refused(section, Parameters)))


@pytest.mark.parametrize(
    ("raw", "model", "found", "allowed"),
    [
        ({"dataset": {"sample": {"size": 10}}}, Parameters, "10", "64 or more, 4096 or less, a multiple of 32"),
        ({"dataset": {"sample": {"size": "big"}}}, Parameters, "'big'", "a whole number, 64 or more, 4096 or less"),
        ({"dataset": {"subset": {"share": 0}}}, Parameters, "0", "above 0, 1 or less"),
        ({"dataset": {"source": "web"}}, Parameters, "'web'", "'sample' or 'xbd'"),
        ({"dataset": {"use_main_dataset": "maybe"}}, Parameters, "'maybe'", "true or false"),
        ({"dataset": {"subset": {"share": 2}}}, Parameters, "2", "1 or less"),
        ({"dataset": {"name": "../x"}}, Parameters, "'../x'", "text that matches"),
        ({"dataset": None}, Parameters, "null", "a section of keys"),
        ({"dataset": {"source": "xbd"}}, Parameters, "a section of keys", "source xbd needs root"),
        (
            {"stretch": [5, 5]},
            ImageParams,
            "stretch: [5, 5]",
            "stretch: two finite numbers, the first below the second",
        ),
        ({"stretch": [255, 0]}, ImageParams, "stretch: [255, 0]", "the first below the second"),
        ({"stretch": [0, float("inf")]}, ImageParams, "stretch: [0, inf]", "two finite numbers"),
        ({"stretch": [float("nan"), 1]}, ImageParams, "stretch: [nan, 1]", "two finite numbers"),
        ({"rates": [0.1, 0]}, Recipe, "rates.1: 0", "rates.1: above 0.0"),
        ({"rates": 3}, Recipe, "3", "a list"),
        ({"steps": [1]}, Recipe, "steps.1: nothing", "a value"),
        ({"losses": [{"kind": "focal", "gamma": -1}]}, Recipe, "losses.0.gamma: -1", "0 or more, below 10"),
        ({"losses": [{"kind": "focl"}]}, Recipe, "losses.0", "'kind' one of 'focal', 'dice'"),
        ({"losses": [{}]}, Recipe, "losses.0", "the key 'kind'"),
        ({}, Needy, "must: nothing", "must: a value"),
        ({"must": "x" * 200}, Needy, "xxx...", "a whole number"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(
    raw: dict[str, object], model: type[Strict], found: str, allowed: str
) -> None:
    error = refused(raw, model)
    assert found in error.found
    assert allowed in error.allowed
    assert error.remedy.startswith("correct ")
    assert len(str(error)) < 300


def test_an_unknown_key_is_told_the_nearest_of_its_own_section() -> None:
    error = refused({"dataset": {"sample": {"sead": 1}}}, Parameters)
    assert error.found == "the unknown key dataset.sample.sead"
    assert error.allowed == "dataset.sample: the keys seed, size, scenes"
    assert error.remedy == "write dataset.sample.seed in place of dataset.sample.sead"


def test_in_a_union_the_member_that_was_chosen_is_the_section() -> None:
    error = refused({"losses": [{"kind": "focal", "gama": 1}]}, Recipe)
    assert error.allowed == "losses.0: the keys kind, gamma"
    assert error.remedy == "write losses.0.gamma in place of losses.0.gama"


def test_an_unknown_key_like_no_other_is_to_be_removed() -> None:
    assert refused({"zzz": 1}, Parameters).remedy == "remove zzz"


def test_every_problem_is_named_at_once() -> None:
    error = refused({"dataset": {"nme": "x", "source": "web", "sample": {"seed": -1}}}, Parameters)
    for key in ("dataset.nme", "dataset.source", "dataset.sample.seed"):
        assert key in error.found


def test_a_default_that_hangs_on_a_bad_value_is_no_second_problem() -> None:
    assert refused({"user": "a/b", "experiment": "x"}, Globals).found == "user: 'a/b'"


def test_group_is_the_user_unless_given() -> None:
    assert Globals(user="lab", experiment="x").group == "lab"
    assert Globals(user="lab", experiment="x", group="team").group == "team"


def test_both_models_of_a_dataset_name_agree() -> None:
    pattern = [item.pattern for item in DatasetParams.model_fields["name"].metadata if hasattr(item, "pattern")]
    ours = refused({"user": "..", "experiment": "x"}, Globals)
    assert pattern
    assert pattern[0] in ours.allowed


def test_the_bare_word_off_is_read_as_it_was_written() -> None:
    text = "inference: {registration: off, buildings: {footprint_shift: off}}"
    found = validate(yaml.safe_load(text), Parameters, "parameters").inference
    assert (found.registration, found.buildings.footprint_shift) == ("off", "off")
