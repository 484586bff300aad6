"""Batches of one image: refused if a batch norm would see a single value."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.trainer import Folders, fit, refuse_single_images

MakeRecipe = Callable[..., Recipe]
POOLED = {"decoder": "upernet", "decoder_channels": (16, 16, 16)}
TWIN = POOLED | {"share_weights": False}
ONE = {"epochs": 1, "batch_size": 1, "crop": 64}


@pytest.fixture
def lone(data: TrainingData) -> TrainingData:
    """Of one scene to learn from."""
    return data._replace(train=["s0"], sample_weights=[1.0])


@pytest.mark.parametrize(
    ("model", "training"),
    [(TWIN, ONE), (POOLED, ONE | {"localization_epochs": 1}), ({}, ONE | {"crop": 32, "localization_epochs": 1})],
    ids=["a pooled branch", "a pooled branch in the first stage alone", "the deepest level of a small crop"],
)
def test_a_batch_norm_that_would_see_one_value_is_refused_before_training(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, model: dict[str, Any], training: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"one image at a time .*Set training\.batch_size to 2 or more"):
        fit(data, recipe(model=model, training=training), folders, cores=1)
    assert not folders.checkpoints.exists()


@pytest.mark.parametrize(
    ("model", "training"),
    [
        (TWIN, ONE | {"batch_size": 2}),
        (TWIN, ONE | {"batch_norm": "freeze"}),
        (POOLED, ONE),  # both dates go through the net in one batch
        ({}, ONE | {"localization_epochs": 1}),
    ],
    ids=["two images", "frozen", "shared weights", "no pooled branch"],
)
def test_one_image_is_learnt_from_where_every_batch_norm_sees_more(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, model: dict[str, Any], training: dict[str, Any]
) -> None:
    assert len(fit(data, recipe(model=model, training=training), folders, cores=1)["history"]) == 1


def test_a_batch_that_the_scenes_do_not_fill_counts_as_what_it_holds(
    lone: TrainingData, folders: Folders, recipe: MakeRecipe
) -> None:
    training = ONE | {"batch_size": 4}
    with pytest.raises(ConfigError, match=r"Set training\.crops_per_scene to 2 or more,"):
        fit(lone, recipe(model=TWIN, training=training), folders, cores=1)
    settings = recipe(model=TWIN, training=training | {"crops_per_scene": 2})
    assert len(fit(lone, settings, folders, cores=1)["history"]) == 1


def test_the_last_batch_of_an_epoch_is_never_smaller(data: TrainingData, folders: Folders, recipe: MakeRecipe) -> None:
    settings = recipe(model=TWIN, training=ONE | {"batch_size": 3})  # of four scenes
    assert len(fit(data, settings, folders, cores=1)["history"]) == 1


def test_what_counts_is_the_share_of_each_process(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, launch: Callable[[int, int], None]
) -> None:
    launch(0, 2)
    with pytest.raises(
        ConfigError, match=r"training\.batch_size 2, .*processes 2.*Set training\.batch_size to 4 or more"
    ):
        fit(data, recipe(model=TWIN, training=ONE | {"batch_size": 2}), folders, cores=1)


@pytest.mark.parametrize(("lr_find", "refused"), [(False, False), (True, True)])
def test_norms_that_count_over_all_processes_see_more_but_not_while_a_rate_is_looked_for(
    *,
    data: TrainingData,
    recipe: MakeRecipe,
    launch: Callable[[int, int], None],
    lr_find: bool,
    refused: bool,
) -> None:
    launch(0, 2)
    changes = {"batch_size": 2, "batch_norm": "synchronise", "lr_find": lr_find}
    with pytest.raises(ConfigError, match="one image at a time") if refused else nullcontext():
        refuse_single_images(data, recipe(model=TWIN, training=ONE | changes))
