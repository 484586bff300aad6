"""What a checkpoint holds: plain tensors, numbers and texts, so that it loads with `weights_only=True`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from torch import Tensor

from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.nets.build import DamageNet, build_net
from xview2_siamese_unet.nets.decide import Thresholds
from xview2_siamese_unet.nets.normalise import Normalise
from xview2_siamese_unet.params.modelling import ClassesParams, ModelParams


class Checkpoint(TypedDict):
    """All that is needed to answer with a net, and to know where it comes from."""

    state: dict[str, Tensor]
    model: dict[str, Any]
    classes: dict[str, Any]
    channels: dict[str, list[float]]
    thresholds: dict[str, float]
    fingerprint: str
    recipe: dict[str, Any]
    dataset: str
    licence: str
    version: str
    epoch: int
    scores: dict[str, float]
    history: list[dict[str, float]]


def thresholds_of(checkpoint: Mapping[str, Any]) -> Thresholds:
    """Return the thresholds that go with the weights; one half where a checkpoint says nothing of them."""
    return Thresholds(**checkpoint.get("thresholds", {}))


def restore(checkpoint: Mapping[str, Any]) -> tuple[DamageNet, Normalise, ClassesParams]:
    """Return the net with its weights, what normalises its images, and what its classes mean.

    Raises:
        CheckpointError: a part is missing, or the weights do not fit the net that the file describes.
    """
    try:
        classes = ClassesParams.model_validate(checkpoint["classes"])
        net = build_net(ModelParams.model_validate(checkpoint["model"]), classes.damage_classes)
        net.load_state_dict(checkpoint["state"])
        normalise = Normalise(**checkpoint["channels"])
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            "checkpoint",
            found=f"weights that do not fit ({str(error).splitlines()[0]})",
            allowed="a checkpoint that the modelling pipeline of this version wrote",
            remedy="run kedro run --pipelines modelling with the same environment again",
        ) from error
    return net, normalise, classes
