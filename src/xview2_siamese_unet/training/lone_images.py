"""One image at a time, of which some batch norms see a single value for each channel and have nothing to count."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.processes import launched_shard

_SIDE: Final = 64  # from which on only what is pooled on purpose is a single value, whatever the size


def refuse_lone_images(data: TrainingData, recipe: Recipe) -> None:
    """Look whether the net can learn from one image at a time, where each process gets no more.

    Args:
        data: what it would learn from.
        recipe: net, batch, crop and stages.

    Raises:
        ConfigError: a batch norm would see a single value for each channel.
    """
    training, world = recipe.training, launched_shard().world
    crops = len(data.train) * training.crops_per_scene
    # The rate is looked for in one process, whose norms count alone.
    together = training.batch_norm == "synchronise" and world > 1 and not training.lr_find
    enough = training.batch_size >= 2 * world and crops > world
    if enough or together or training.batch_norm == "freeze" or not (lone := _lone_norms(data, recipe)):
        return
    raised = []
    if training.batch_size < 2 * world:
        raised.append(f"training.batch_size to {2 * world} or more")
    if crops <= world:
        raised.append(f"training.crops_per_scene to {world // len(data.train) + 1} or more")
    raise ConfigError(
        "training.batch_size",
        found=f"one image at a time in each process (crops: {training.batch_size} in a batch, {crops} in an epoch; "
        f"processes: {world}), of which a batch norm of the net ({lone[0]}) sees a single value",
        allowed="two images or more at a time in each process, or frozen batch norms",
        remedy=f"set {' and '.join(raised)}, or training.batch_norm to freeze",
    )


def _lone_norms(data: TrainingData, recipe: Recipe) -> list[str]:
    """Return the names of the batch norms that see a single value of one crop, in any stage of the training."""
    net = build_net(recipe.model, recipe.classes.damage_classes).eval()
    lone: list[str] = []

    def look(name: str, values: Tensor) -> None:
        if values.numel() == values.shape[1]:
            lone.append(name)

    for name, layer in net.named_modules():
        if isinstance(layer, _BatchNorm):
            layer.register_forward_pre_hook(lambda _, given, name=name: look(name, given[0]))
    height, width = (min(recipe.training.crop or side, side, _SIDE) for side in (data.store.height, data.store.width))
    image = torch.zeros(1, 3, height, width)
    with torch.no_grad():
        if recipe.training.localization_epochs or not recipe.loss_weights.post:
            net.localise(image)
        if recipe.loss_weights.post:
            # Of both dates: where these share their weights, they may go through the net as two images.
            net.forward(image, image)
    return lone
