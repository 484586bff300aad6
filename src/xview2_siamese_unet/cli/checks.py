"""What `kedro doctor` looks at: one function for each part of the machine and of the configuration."""

from __future__ import annotations

import os
import platform
import shutil
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final, Literal, NamedTuple

import psutil
import rasterio
import torch
from rasterio.env import GDALVersion

from xview2_siamese_unet.atomic import nearest_existing
from xview2_siamese_unet.cli.configuration import conf_folder, find_path, find_project
from xview2_siamese_unet.config.modelling import ClassesParams, EncoderParams, ModelParams
from xview2_siamese_unet.environments import UserExperimentConfigLoader, layer_files
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.models.build import build_net, read_from_hub
from xview2_siamese_unet.models.hardware import device_warnings, pick_device
from xview2_siamese_unet.parallel import usable_cores
from xview2_siamese_unet.xbd.archives import is_archive
from xview2_siamese_unet.xbd.scenes import list_pairs

_PACKAGES: Final = ("xview2-siamese-unet", "kedro", "torch", "segmentation-models-pytorch", "rasterio")
_LITTLE_DISK: Final = 5e9
_GDAL: Final = "3.6"  # from which the COG driver writes sparse files


class Finding(NamedTuple):
    """What one look found."""

    what: str
    state: Literal["good", "note", "bad"]
    found: str
    remedy: str = ""


def run_checks(loader: UserExperimentConfigLoader) -> Iterator[Finding]:
    """Yield a finding for each part that a run needs.

    Raises:
        ConfigError: a configuration that cannot be read, which is a finding of its own.
    """
    yield from _versions()
    yield from _machine()
    yield from _layers(loader)
    yield from _storage(loader)
    yield from _dataset(loader)
    yield from _net(loader)
    yield from _weights(loader)
    yield _checkpoint(loader)


def _versions() -> Iterator[Finding]:
    named = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    yield Finding("versions", "good", f"Python {platform.python_version()}, {named}")
    enough = GDALVersion.runtime() >= GDALVersion.parse(_GDAL)
    yield Finding(
        "GDAL",
        "good" if enough else "bad",
        rasterio.__gdal_version__,
        "" if enough else f"install rasterio with GDAL {_GDAL} or later",
    )


def _machine() -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    yield Finding(
        "machine",
        "good",
        f"{usable_cores()} cores, {memory.available / 1e9:.0f} of {memory.total / 1e9:.0f} GB of memory free",
    )
    if not torch.cuda.is_available():
        yield Finding("GPU", "note", "none that torch can use: training takes hours where a GPU takes minutes")
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        yield Finding("GPU", "good", f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}")


def _layers(loader: UserExperimentConfigLoader) -> Iterator[Finding]:
    folders = [conf_folder() / layer for layer in loader.layers]
    said = [
        f"{folder.name}" if folder.parent == conf_folder() else f"{folder.parent.name}/{folder.name}"
        for folder in folders
    ]
    read = [
        name if layer_files(str(conf_folder()), layer) else f"({name}: nothing)"
        for name, layer in zip(said, loader.layers, strict=True)
    ]
    loader["parameters"], loader["catalog"]  # raises what is wrong with them
    yield Finding("configuration", "good", " < ".join(read))


def _storage(loader: UserExperimentConfigLoader) -> Iterator[Finding]:
    storage = find_project() / loader["globals"]["storage"]
    there = nearest_existing(storage)
    if not os.access(there, os.W_OK):
        yield Finding(
            "storage", "bad", f"{storage}, which nobody may write here", "set storage in users/<user>/globals.yml"
        )
        return
    free = shutil.disk_usage(there).free
    yield Finding(
        "storage",
        "good" if free > _LITTLE_DISK else "bad",
        f"{storage}, {free / 1e9:.0f} GB free",
        "" if free > _LITTLE_DISK else "free space, or set storage to a larger disk",
    )


def _dataset(loader: UserExperimentConfigLoader) -> Iterator[Finding]:
    dataset = loader["globals"]["dataset"]
    if dataset["source"] == "sample":
        yield Finding("dataset", "good", f"{dataset['name']}: the built-in sample, fabricated in the first run")
        return
    root = find_project() / (dataset["root"] or "")
    if is_archive(root):
        yield Finding("dataset", "good", f"{dataset['name']}: {root}, unpacked in the first run")
        return
    try:
        pairs, problems = list_pairs(root)
    except DataError as error:
        yield Finding("dataset", "bad", error.message, error.hint)
        return
    tiers = Counter(pair.tier for pair in pairs)
    counted = ", ".join(f"{tier} {count}" for tier, count in tiers.items())
    yield Finding("dataset", "good", f"{dataset['name']} in {root}, pairs: {counted}")
    skipped = loader["parameters"]["data_processing"]["on_problem"] == "skip"
    for problem in problems[:3]:
        yield Finding("dataset", "note" if skipped else "bad", problem.message, problem.hint)
    if len(problems) > 3:
        yield Finding("dataset", "note", f"{len(problems) - 3} more problems like these")


def _net(loader: UserExperimentConfigLoader) -> Iterator[Finding]:
    said = loader["parameters"]
    try:
        device = pick_device(said["hardware"]["device"])
        classes = ClassesParams.model_validate(said["classes"]).damage_classes
        net = build_net(ModelParams.model_validate(said["model"]), classes)
    except ConfigError as error:
        yield Finding("net", "bad", error.message, error.hint)
        return
    weights = sum(weight.numel() for weight in net.parameters())
    name, encoder = said["model"]["architecture"], said["model"]["encoder"]["name"]
    yield Finding("net", "good", f"{name} with {encoder}, {weights / 1e6:.1f} million weights, on {device}")
    for warning in device_warnings(said["hardware"]["device"]):
        yield Finding("device", "note", warning)


def _weights(loader: UserExperimentConfigLoader) -> Iterator[Finding]:
    encoder = EncoderParams.model_validate(loader["parameters"]["model"]["encoder"])
    weights, what = encoder.weights, "pretrained weights"
    said = f"{encoder.name} from {weights.source}"
    if weights.source == "file" and not (weights.path and weights.path.is_file()):
        yield Finding(what, "bad", f"{said}: no file {weights.path}", "correct model.encoder.weights.path")
    elif weights.source == "hub":
        yield Finding(what, "note", f"{said}: the first training needs the network")
    elif weights.source == "cache":
        yield _cached(encoder, what, said)
    else:
        yield Finding(what, "good", said)


def _cached(encoder: EncoderParams, what: str, said: str) -> Finding:
    try:
        read_from_hub(encoder)
    except ConfigError as error:
        return Finding(what, "bad", f"{said}: {error.found or error.message}", error.hint)
    return Finding(what, "good", said)


def _checkpoint(loader: UserExperimentConfigLoader) -> Finding:
    path = find_path(loader, "checkpoint")
    name = "/".join(loader.user_and_experiment)
    if path.is_file():
        return Finding("checkpoint", "good", f"{path}, {path.stat().st_size / 1e6:.0f} MB")
    return Finding("checkpoint", "note", "none of this experiment yet", f"kedro run --env {name}")
