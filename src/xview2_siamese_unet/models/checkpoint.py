"""What a checkpoint holds: plain tensors, numbers and texts, so that it loads with `weights_only=True`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import torch
from torch import Tensor

from xview2_siamese_unet.config.modelling import ClassesParams, HardwareParams, ModelParams
from xview2_siamese_unet.config.prediction import PredictionParams, Tta, VoteWeights
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.models.build import DamageNet, build_net
from xview2_siamese_unet.models.hardware import autocast_dtype, pick_device
from xview2_siamese_unet.models.normalise import Normalise
from xview2_siamese_unet.models.postprocess import Temperatures, Thresholds
from xview2_siamese_unet.models.predictor import Predictor, folded


class Checkpoint(TypedDict):
    """All that is needed to answer with a net, and to know where it comes from."""

    state: dict[str, Tensor]
    model: dict[str, Any]
    classes: dict[str, Any]
    channels: dict[str, list[float]]
    temperatures: dict[str, float]
    calibration: dict[str, float]
    thresholds: dict[str, float]
    prediction: dict[str, Any]
    pretrained: dict[str, str]
    events: list[str]
    data_fingerprint: str
    fingerprint: str
    recipe: dict[str, Any]
    dataset: str
    licence: str
    version: str
    commit: str
    epoch: int
    scores: dict[str, float]
    history: list[dict[str, float]]


def thresholds_of(checkpoint: Mapping[str, Any]) -> Thresholds:
    """Return the thresholds that go with the weights; one half where a checkpoint says nothing of them."""
    return Thresholds(**checkpoint.get("thresholds", {}))


def prediction_of(checkpoint: Mapping[str, Any]) -> PredictionParams:
    """Return how the net answers, with the weights of the vote as tuned."""
    return PredictionParams.model_validate(checkpoint.get("prediction", {}))


def vote_weights_of(checkpoint: Mapping[str, Any]) -> VoteWeights | None:
    """Return what the classes count where each predicted building gets one; nothing where each pixel keeps its own."""
    how = prediction_of(checkpoint)
    return how.vote_weights if how.vote == "connected" else None


def predictor_of(checkpoint: Mapping[str, Any], hardware: HardwareParams, *, tta: Tta | None = None) -> Predictor:
    """Return a trained net ready to answer, on the device and in the numbers that `hardware` asks for.

    Args:
        checkpoint: a trained net.
        hardware: where and in which numbers to compute.
        tta: views whose logits are averaged; nothing: those that the checkpoint was tuned with.

    Raises:
        CheckpointError: a part is missing, or the weights do not fit the net that the file describes.
    """
    device = pick_device(hardware.device)
    net, normalise, _ = restore(checkpoint)
    return Predictor(
        folded(net.eval()).to(memory_format=torch.channels_last),
        normalise,
        device=device,
        dtype=autocast_dtype(hardware, device),
        tta=tta or prediction_of(checkpoint).tta,
        temperatures=Temperatures(**checkpoint.get("temperatures", {})),
    )


def restore(checkpoint: Mapping[str, Any]) -> tuple[DamageNet, Normalise, ClassesParams]:
    """Return the net with its weights, what normalises its images, and what its classes mean.

    Raises:
        CheckpointError: a part is missing, or the weights do not fit the net that the file describes.
    """
    try:
        classes = ClassesParams.model_validate(checkpoint["classes"])
        # A checkpoint that says nothing of a bottleneck is older than the bottleneck.
        model = ModelParams.model_validate({"bottleneck": None, **checkpoint["model"]})
        net = build_net(model, classes.damage_classes)
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
