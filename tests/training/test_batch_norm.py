"""Batch norms: batches of one image, and synchronisation between ranks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import new_module
from torch.nn.modules.batchnorm import _BatchNorm

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.training.batch_norm import refuse_single_images
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.trainer import Folders, fit, make_trainer

MakeRecipe = Callable[..., Recipe]
Launch = Callable[[int, int], None]
POOLED = {"decoder": "upernet", "decoder_channels": (16, 16, 16)}
TWIN = POOLED | {"share_weights": False}
ONE = {"epochs": 1, "batch_size": 1, "crop": 64}


@pytest.fixture
def one_scene(data: TrainingData) -> TrainingData:
    """Training data of one scene."""
    return data._replace(train=["s0"], sample_weights=[1.0])


@pytest.mark.parametrize(
    ("model", "training"),
    [(TWIN, ONE), (POOLED, ONE | {"localization_epochs": 1}), ({}, ONE | {"crop": 32, "localization_epochs": 1})],
    ids=["a pooled branch", "a pooled branch only in the first stage", "the deepest level of a small crop"],
)
def test_a_batch_norm_with_a_single_value_is_refused_before_training(
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
        (POOLED, ONE),  # both images form one batch
        ({}, ONE | {"localization_epochs": 1}),
    ],
    ids=["two images", "frozen", "shared weights", "no pooled branch"],
)
def test_one_image_is_enough_if_every_batch_norm_sees_more_values(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, model: dict[str, Any], training: dict[str, Any]
) -> None:
    assert len(fit(data, recipe(model=model, training=training), folders, cores=1)["history"]) == 1


def test_a_batch_that_the_scenes_do_not_fill_counts_by_its_crops(
    one_scene: TrainingData, folders: Folders, recipe: MakeRecipe
) -> None:
    training = ONE | {"batch_size": 4}
    with pytest.raises(ConfigError, match=r"Set training\.crops_per_scene to 2 or more,"):
        fit(one_scene, recipe(model=TWIN, training=training), folders, cores=1)
    settings = recipe(model=TWIN, training=training | {"crops_per_scene": 2})
    assert len(fit(one_scene, settings, folders, cores=1)["history"]) == 1


def test_the_last_batch_of_an_epoch_is_never_smaller(data: TrainingData, folders: Folders, recipe: MakeRecipe) -> None:
    settings = recipe(model=TWIN, training=ONE | {"batch_size": 3})  # of four scenes
    assert len(fit(data, settings, folders, cores=1)["history"]) == 1


def test_the_batch_share_of_each_rank_is_checked(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, launch: Launch
) -> None:
    launch(0, 2)
    with pytest.raises(
        ConfigError, match=r"training\.batch_size 2, .*processes 2.*Set training\.batch_size to 4 or more"
    ):
        fit(data, recipe(model=TWIN, training=ONE | {"batch_size": 2}), folders, cores=1)


@pytest.mark.parametrize(("lr_find", "refused"), [(False, False), (True, True)])
def test_synchronised_norms_see_more_values_except_in_the_range_test(
    *,
    data: TrainingData,
    recipe: MakeRecipe,
    launch: Launch,
    lr_find: bool,
    refused: bool,
) -> None:
    launch(0, 2)
    changes = {"batch_size": 2, "batch_norm": "synchronise", "lr_find": lr_find}
    with pytest.raises(ConfigError, match="one image at a time") if refused else nullcontext():
        refuse_single_images(data, recipe(model=TWIN, training=ONE | changes))


@pytest.mark.parametrize("name", ["tu-efficientnet_lite0", "tu-test_resnet"])
def test_synchronised_batch_norms_keep_their_activations(
    data: TrainingData, recipe: MakeRecipe, tmp_path: Path, launch: Launch, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    launch(0, 2)
    monkeypatch.setattr("lightning.Trainer", dict)  # the machine may have no GPU
    settings = recipe(model={"encoder": {"name": name}}, training={"batch_norm": "synchronise"})
    module = new_module(data, settings)
    images = 255 * torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for _ in range(3):
            module.net(*images)  # statistics that differ from layer to layer
        before = module.eval().net(*images)
    arguments = make_trainer(module, "cuda", tmp_path, tmp_path)
    with torch.no_grad():
        after = module.eval().net(*images)
    norms = [layer for layer in module.net.modules() if isinstance(layer, _BatchNorm)]
    assert norms
    assert all(isinstance(layer, torch.nn.SyncBatchNorm) for layer in norms)
    assert not arguments.get("sync_batchnorm")  # Lightning would convert them again
    assert all(torch.equal(*pair) for pair in zip(after, before, strict=True))
    restored = build_net(settings.model, settings.classes.damage_classes)
    restored.load_state_dict(module.net.state_dict())
    with torch.no_grad():
        assert all(torch.equal(*pair) for pair in zip(restored.eval()(*images), before, strict=True))


@pytest.mark.parametrize("kind", ["learn", "freeze"])
def test_batch_norms_are_not_synchronised_otherwise(
    data: TrainingData, recipe: MakeRecipe, tmp_path: Path, launch: Launch, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    launch(0, 2)
    monkeypatch.setattr("lightning.Trainer", dict)
    module = new_module(data, recipe(training={"batch_norm": kind}))
    make_trainer(module, "cuda", tmp_path, tmp_path)
    assert not any(isinstance(layer, torch.nn.SyncBatchNorm) for layer in module.net.modules())


def test_batch_norms_of_cpus_cannot_be_synchronised(
    data: TrainingData, recipe: MakeRecipe, tmp_path: Path, launch: Launch
) -> None:
    launch(0, 2)
    module = new_module(data, recipe(training={"batch_norm": "synchronise"}))
    with pytest.raises(ConfigError, match=r"training\.batch_norm synchronise needs GPUs"):
        make_trainer(module, "cpu", tmp_path, tmp_path)
