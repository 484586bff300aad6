"""The checks of `kedro doctor` that need torch: GPUs, the net, its pretrained weights and its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from xview2_siamese_unet.cli.checks import Finding
from xview2_siamese_unet.cli.command import find_path
from xview2_siamese_unet.config.modelling import ClassesParams, EncoderParams, ModelParams
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.errors import ConfigError, ProjectError
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.hardware import device_warnings, pick_device
from xview2_siamese_unet.models.pretrained import find_packaged, read_from_hub


def check_training(loader: UserExperimentConfigLoader) -> Iterator[Finding]:
    """Yield a finding for each GPU, the net, its weights and the checkpoint."""
    if not torch.cuda.is_available():
        yield Finding("GPU", "note", "torch finds no GPU: training takes hours instead of minutes")
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        yield Finding("GPU", "good", f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}")
    yield from _net(loader)
    yield _weights(loader)
    yield _checkpoint(loader)


def _net(loader: UserExperimentConfigLoader) -> Iterator[Finding]:
    parameters = loader["parameters"]
    try:
        device = pick_device(parameters["hardware"]["device"])
        classes = ClassesParams.model_validate(parameters["classes"]).damage_classes
        net = build_net(ModelParams.model_validate(parameters["model"]), classes)
    except ConfigError as error:
        yield Finding("net", "bad", error.message, error.hint)
        return
    weights = sum(weight.numel() for weight in net.parameters())
    name, encoder = parameters["model"]["architecture"], parameters["model"]["encoder"]["name"]
    yield Finding("net", "good", f"{name} with {encoder}, {weights / 1e6:.1f} million weights, on {device}")
    for warning in device_warnings(parameters["hardware"]["device"]):
        yield Finding("device", "note", warning)


def _weights(loader: UserExperimentConfigLoader) -> Finding:
    encoder = EncoderParams.model_validate(loader["parameters"]["model"]["encoder"])
    weights, subject = encoder.weights, "pretrained weights"
    message = f"{encoder.name} from {weights.source}"
    if weights.source == "file" and not (weights.path and weights.path.is_file()):
        hint = "Correct model.encoder.weights.path."
        return Finding(subject, "bad", f"{message}: no file {weights.path}", hint)
    if weights.source == "hub":
        return Finding(subject, "note", f"{message}: the first training needs the network")
    try:
        if weights.source == "cache":
            read_from_hub(encoder)
        if weights.source == "package":
            message += f": {find_packaged(encoder.name)}"
    except ProjectError as error:
        return Finding(subject, "bad", f"{message}: {error.message}", error.hint)
    return Finding(subject, "good", message)


def _checkpoint(loader: UserExperimentConfigLoader) -> Finding:
    path = find_path(loader, "checkpoint")
    if path.is_file():
        return Finding("checkpoint", "good", f"{path}, {path.stat().st_size / 1e6:.0f} MB")
    env = "/".join(loader.user_and_experiment)
    return Finding("checkpoint", "note", "none of this experiment yet", f"Run kedro run --env {env}.")
