"""Batch norms: batches that are too small for them, and synchronisation between ranks."""

from __future__ import annotations

from typing import Final

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models.build import DamageNet, build_net
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.distributed import get_world_size

_SIDE: Final = 64  # pixels; at this size, only global pooling leaves a single value


def synchronise(net: DamageNet, device: str) -> DamageNet:
    """Return the net with batch norms that use the statistics of all ranks.

    Raises:
        ConfigError: the device is the CPU.
    """
    if device == "cpu":
        raise ConfigError(
            "training.batch_norm synchronise needs GPUs, but this training runs on CPUs.",
            hint="Set training.batch_norm to learn, or train on GPUs.",
        )
    # Not by Lightning's `sync_batchnorm`, which drops the activation inside of timm's BatchNormAct2d.
    synchronised: DamageNet = convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
    return synchronised


def refuse_single_images(data: TrainingData, recipe: Recipe) -> None:
    """Refuse batches of one image if a batch norm would get one value for each channel.

    Raises:
        ConfigError: a batch norm would.
    """
    training, world_size = recipe.training, get_world_size()
    crops = len(data.train) * training.crops_per_scene
    # The range test runs in one process, whose batch norms see its own images only.
    synchronised = training.batch_norm == "synchronise" and world_size > 1 and not training.lr_find
    enough = training.batch_size >= 2 * world_size and crops > world_size
    if enough or synchronised or training.batch_norm == "freeze" or not (norms := _single_value_norms(data, recipe)):
        return
    raised = []
    if training.batch_size < 2 * world_size:
        raised.append(f"training.batch_size to {2 * world_size} or more")
    if crops <= world_size:
        raised.append(f"training.crops_per_scene to {world_size // len(data.train) + 1} or more")
    raise ConfigError(
        f"Each process trains on one image at a time (training.batch_size {training.batch_size}, crops in an epoch "
        f"{crops}, processes {world_size}), so batch norm {norms[0]} gets a single value for each channel.",
        hint=f"Set {' and '.join(raised)}, or training.batch_norm to freeze.",
    )


def _single_value_norms(data: TrainingData, recipe: Recipe) -> list[str]:
    """Return the batch norms that get one value for each channel of one crop."""
    net = build_net(recipe.model, recipe.classes.damage_classes).eval()
    single: list[str] = []

    def check(name: str, values: Tensor) -> None:
        if values.numel() == values.shape[1]:
            single.append(name)

    for name, layer in net.named_modules():
        if isinstance(layer, _BatchNorm):
            layer.register_forward_pre_hook(lambda _, inputs, name=name: check(name, inputs[0]))
    height, width = (min(recipe.training.crop or side, side, _SIDE) for side in (data.store.height, data.store.width))
    image = torch.zeros(1, 3, height, width)
    with torch.no_grad():
        if recipe.training.localization_epochs or not recipe.loss_weights.post:
            net.localise(image)
        if recipe.loss_weights.post:
            net.forward(image, image)  # with shared weights both images may form one batch
    return single
