"""A report speaks of the settings that the net was made with, and of those that are other ones by now."""

from __future__ import annotations

from typing import Any

import pytest

from xview2_siamese_unet.environments import _soften
from xview2_siamese_unet.params.modelling import Recipe
from xview2_siamese_unet.params.tree import Parameters
from xview2_siamese_unet.report.settings import flatten
from xview2_siamese_unet.report.trained import as_trained, differences

SETTINGS: dict[str, Any] = Parameters().model_dump(mode="json")
RECIPE: dict[str, Any] = {name: SETTINGS[name] for name in Recipe.model_fields}


def checkpoint(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"version": "0.9", "recipe": _soften(RECIPE, changes)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": {"encoder": {"name": "resnet18"}}}, "model.encoder.name is resnet50 in"),
        ({"classes": {"unclassified": "class"}}, "classes.unclassified is ignore in"),
        ({"training": {"learning_rate": 0.5}}, "training.learning_rate is 0.0002 in"),
        ({"training": {"losses": {"post": {"dice": 1.0}}}}, "training.losses.post.dice is 0.0 in"),
        ({"training": {"augmentation": {"rotate": 5.0}}}, "training.augmentation.rotate is 0.0 in"),
        ({"training": {"seed": 1}}, "training.seed is 0 in"),
        ({"prediction": {"tta": "d4"}}, "prediction.tta is none in"),
        ({"prediction": {"vote_weights": [1, 2, 3, 4]}}, "prediction.vote_weights is 1.0, 1.0, 1.0, 1.0 in"),
        ({"loss_weights": {"pre": 2.0}}, "loss_weights.pre is 1.0 in"),
        ({"focal_loss": {"alpha": "none"}}, "focal_loss.alpha is class_weights in"),
    ],
)
def test_a_setting_that_the_net_was_not_made_with_is_told(changes: dict[str, Any], sentence: str) -> None:
    (told,) = differences(SETTINGS, checkpoint(**changes))
    (used,) = flatten(changes).values()
    assert told.startswith(sentence)
    assert told.endswith(f"but {used} in the checkpoint, which is what was used.")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training": {"reuse": False, "lr_find": True}},
        {"dataloader": {"location": "host", "pin_memory": False, "num_workers_multiplier": 0}},
        {"hardware": {"device": "gpu", "precision": "16-mixed", "profile": True, "compile": True}},
    ],
    ids=str,
)
def test_what_changes_no_answer_is_not_told(changes: dict[str, Any]) -> None:
    assert differences(SETTINGS, checkpoint(**changes)) == []


def test_keys_that_fit_only_together_are_told_one_by_one() -> None:
    told = differences(SETTINGS, checkpoint(model={"decoder": "fpn", "decoder_channels": [64, 32, 8]}))
    assert [sentence.split()[0] for sentence in told] == ["model.decoder", "model.decoder_channels"]


def test_a_key_that_an_older_checkpoint_does_not_have_is_passed_over() -> None:
    older = checkpoint()
    del older["recipe"]["model"]["bottleneck"]
    configured = _soften(SETTINGS, {"model": {"bottleneck": 8}})
    assert differences(configured, older) == []
    assert "bottleneck" not in as_trained(configured, older)["model"]  # type: ignore[operator]


def test_a_checkpoint_of_another_version_is_told_once() -> None:
    (told,) = differences(SETTINGS, checkpoint(training={"gone": 1}))
    assert told.startswith("The net was made by version 0.9, whose settings this one cannot compare")


def test_the_listed_settings_are_those_that_were_used() -> None:
    made = checkpoint(training={"learning_rate": 0.5}, hardware={"device": "gpu"})
    listed = flatten(as_trained(_soften(SETTINGS, {"reporting": {"split": "validation"}}), made))
    assert listed["training.learning_rate"] == "0.5"
    assert listed["reporting.split"] == "validation"
    assert listed["hardware.device"] == "auto", "it is this machine that scored"
