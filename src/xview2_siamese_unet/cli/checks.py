"""The checks of `kedro doctor`, one function for each part of a run."""

from __future__ import annotations

import os
import platform
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final, Literal, NamedTuple

import psutil
import rasterio
from kedro.io import DatasetError
from rasterio.env import GDALVersion

from xview2_siamese_unet import __version__
from xview2_siamese_unet.atomic import nearest_existing
from xview2_siamese_unet.cli.command import open_catalog
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader, layer_files
from xview2_siamese_unet.datasets.partitions import Partitions
from xview2_siamese_unet.errors import DataError, cause_of
from xview2_siamese_unet.models.card import runtime_version
from xview2_siamese_unet.packages import FEATURES, TORCH
from xview2_siamese_unet.parallel import usable_cores
from xview2_siamese_unet.project import find_project
from xview2_siamese_unet.xbd.archives import is_archive
from xview2_siamese_unet.xbd.scenes import list_pairs

_PACKAGES: Final = ("kedro", "torch", "segmentation-models-pytorch", "rasterio")
_MIN_DISK: Final = 5e9
_MIN_GDAL: Final = "3.6"  # the first whose COG driver writes sparse files


class Finding(NamedTuple):
    """The result of one check."""

    subject: str
    state: Literal["good", "note", "bad"]
    message: str
    hint: str = ""


def run_checks(loader: UserExperimentConfigLoader) -> Iterator[Finding]:
    """Yield a finding for each part that a run needs.

    Raises:
        ConfigError: a configuration that cannot be read.
    """
    yield from _versions()
    yield from _features()
    yield from _machine()
    yield _layers(loader)
    yield _storage(loader)
    yield from _dataset(loader)
    yield from _training(loader)


def _versions() -> Iterator[Finding]:
    installed = (name for name in _PACKAGES if find_spec(name.replace("-", "_")))
    packages = ", ".join([f"xview2_siamese_unet {__version__}", *(f"{name} {version(name)}" for name in installed)])
    yield Finding("versions", "good", f"Python {platform.python_version()}, {packages}")
    if runtime := runtime_version():
        yield Finding("ONNX Runtime", "good", f"{runtime}, for model cards with ONNX networks")
    if GDALVersion.runtime() >= GDALVersion.parse(_MIN_GDAL):
        yield Finding("GDAL", "good", rasterio.__gdal_version__)
    else:
        yield Finding("GDAL", "bad", rasterio.__gdal_version__, f"Install rasterio with GDAL {_MIN_GDAL} or later.")


def _features() -> Iterator[Finding]:
    for feature in FEATURES:
        if missing := feature.missing:
            message = f"{', '.join(missing)}: needed for {feature.name}"
            yield Finding("not installed", "note", message, f"To add: {feature.install}")


def _machine() -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    free = f"{memory.available / 1e9:.0f} of {memory.total / 1e9:.0f} GB of memory free"
    yield Finding("machine", "good", f"{usable_cores()} cores, {free}")


def _layers(loader: UserExperimentConfigLoader) -> Finding:
    names = [layer if layer_files(str(loader.conf_source), layer) else f"({layer}: nothing)" for layer in loader.layers]
    loader["parameters"], loader["catalog"]  # raises an error if they are invalid
    return Finding("configuration", "good", " < ".join(names))


def _storage(loader: UserExperimentConfigLoader) -> Finding:
    storage = find_project().folder / loader["globals"]["storage"]
    existing = nearest_existing(storage)
    if not os.access(existing, os.W_OK):
        return Finding("storage", "bad", f"{storage} is not writable", "Set storage in users/<user>/globals.yml.")
    free = shutil.disk_usage(existing).free
    message = f"{storage}, {free / 1e9:.0f} GB free"
    if free > _MIN_DISK:
        return Finding("storage", "good", message)
    return Finding("storage", "bad", message, "Free space, or set storage to a larger disk.")


def _dataset(loader: UserExperimentConfigLoader) -> Iterator[Finding]:
    dataset = loader["globals"]["dataset"]
    if dataset["source"] == "sample":
        yield Finding("dataset", "good", f"{dataset['name']}: the built-in sample, made in the first run")
        return
    if dataset["source"] == "other":
        yield _other_dataset(loader, dataset["name"])
        return
    root = find_project().folder / (dataset["root"] or "")
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


def _other_dataset(loader: UserExperimentConfigLoader, name: str) -> Finding:
    """Report the scenes that the class of the catalog entry `download` lists."""
    kind = loader["catalog"]["download"]["type"]
    try:
        scenes = open_catalog("/".join(loader.user_and_experiment)).load("download")
    except DatasetError as error:
        cause = cause_of(error)
        if cause is None:
            problem = " ".join(str(error).split())  # Kedro's have several lines
            return Finding("dataset", "bad", f"{name}: {kind} lists no scenes: {problem}", "Correct the class.")
        return Finding("dataset", "bad", cause.message, cause.hint)
    if not isinstance(scenes, Partitions):
        hint = "Name a subclass of OtherLayout as its type in catalog.yml."
        return Finding("dataset", "bad", f"{name}: the entry download is not a dataset in another layout", hint)
    return Finding("dataset", "good", f"{name}: {len(scenes)} scenes of {kind}, converted in the first run")


def _training(loader: UserExperimentConfigLoader) -> Iterable[Finding]:
    """Return the findings about training, if it is installed."""
    if TORCH.missing:
        return ()
    findings: Iterable[Finding] = import_module("xview2_siamese_unet.cli.training_checks").check_training(loader)
    return findings
