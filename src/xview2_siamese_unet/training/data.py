"""Training data, its dataloaders, and batches on the device.

A scene is bytes (h, w, 8) until it is on the device: pre RGB, post RGB, building, damage. That is a quarter of the
traffic of floats, and no arithmetic in the workers.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Subset

from xview2_siamese_unet.config.modelling import DataloaderParams, Recipe, Unclassified
from xview2_siamese_unet.damage import IGNORE, OVERLAP_PRIORITY, Damage
from xview2_siamese_unet.errors import ConfigError, StorageError
from xview2_siamese_unet.models.tensors import Codes, ImageTensor, SceneTensor, Targets
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.crops import Crops, DeviceCrops, DeviceScenes, WholeScenes
from xview2_siamese_unet.training.distributed import get_rank, get_world_size
from xview2_siamese_unet.training.samplers import CropSampler

Loader = DataLoader[Tensor]
T = TypeVar("T")


class TrainingData(NamedTuple):
    """Training and validation scenes, with their weights and statistics.

    Attributes:
        name: of the dataset, for the checkpoint.
        store: the scenes.
        train: names of the training scenes.
        validation: names of the validation scenes, none of them in `train`.
        sample_weights: of the scenes of `train`, (n,).
        class_weights: `pre` (2,) and `post` (k,).
        channels: `mean` and `std` of red, green and blue, in grey values.
        events: disasters of `train` and `validation`, as the labels name them.
    """

    name: str
    store: Store
    train: list[str]
    validation: list[str]
    sample_weights: list[float]
    class_weights: dict[str, list[float]]
    channels: dict[str, list[float]]
    events: list[str]


class Batch(NamedTuple):
    """Both images, 0–255, and the codes of both masks."""

    pre: ImageTensor
    post: ImageTensor
    building: Targets
    damage: Targets


def unpack_batch(pixels: SceneTensor, unclassified: Unclassified, dilation: int = 1) -> Batch:
    """Split bytes into images, as channels_last views, and targets.

    Args:
        pixels: of a batch.
        unclassified: what un-classified pixels of the damage target become.
        dilation: side of the square by which buildings of the damage target grow.
    """
    images = pixels[..., :6].permute(0, 3, 1, 2).float()
    damage = damage_target(pixels[..., 7], unclassified, dilation)
    return Batch(images[:, :3], images[:, 3:], pixels[..., 6].long(), damage)


def damage_target(codes: Codes, unclassified: Unclassified, dilation: int = 1) -> Targets:
    """Return the target of damage codes; see `unpack_batch`."""
    damage = dilate(codes.long(), dilation)
    code = {"ignore": IGNORE, "no_damage": int(Damage.NO_DAMAGE), "class": int(Damage.UNCLASSIFIED)}[unclassified]
    return damage.where(damage != Damage.UNCLASSIFIED, code)


def dilate(damage: Targets, side: int) -> Targets:
    """Grow buildings of damage codes by a square; the higher priority wins.

    A label seldom matches its roof to the pixel, least of all in the post-disaster image.
    """
    if side == 1:
        return damage
    order, ranks = _priorities(damage.device)
    rank = ranks[damage]
    grown = functional.max_pool2d(rank.float().unsqueeze(1), side, stride=1, padding=side // 2).squeeze(1)
    return order[grown.long()]


@cache
def _priorities(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return codes by priority, and the rank of each code, copied to the device once."""
    order = torch.tensor([Damage.BACKGROUND, *reversed(OVERLAP_PRIORITY)], device=device)
    return order, order.argsort()


def training_loader(data: TrainingData, recipe: Recipe, cores: int, device: DeviceScenes | None = None) -> Loader:
    """Return the loader of this rank's training crops.

    Args:
        data: training scenes.
        recipe: batch, crop, sampler and workers.
        cores: that this process may use.
        device: the scenes, if they are in the memory of the device.

    Raises:
        ConfigError: the batch size is not a multiple of the world size.
    """
    training, world_size = recipe.training, get_world_size()
    if training.batch_size % world_size:
        raise ConfigError(
            f"training.batch_size {training.batch_size} cannot be shared evenly by {world_size} processes.",
            hint=f"Set training.batch_size to a multiple of {world_size}.",
        )
    sampler = CropSampler(data.sample_weights, training)
    own, crop = training.batch_size // world_size, (training.crop, training.crop_candidates)
    if device is not None:
        crops = DeviceCrops(device, data.train, *crop)
        return DataLoader(crops, batch_size=own, sampler=sampler, collate_fn=_as_it_is)
    workers = _workers(recipe.dataloader, cores)
    return DataLoader(Crops(data.store, data.train, *crop), batch_size=own, sampler=sampler, **workers)


def validation_loader(data: TrainingData, recipe: Recipe, cores: int, device: DeviceScenes | None = None) -> Loader:
    """Return the loader of this rank's whole validation scenes; see `training_loader`.

    A batch has about as many pixels as one of training.

    Raises:
        ConfigError: there are fewer scenes than processes.
    """
    store, world_size = data.store, get_world_size()
    if len(data.validation) < world_size:
        raise ConfigError(
            f"{len(data.validation)} validation scenes are too few for {world_size} processes.",
            hint="Launch fewer processes, or raise data_processing.split.validation.",
        )
    crop = min(recipe.training.crop or store.width, store.width)
    batch = max(1, recipe.training.batch_size // world_size * crop**2 // (store.height * store.width))
    own = data.validation[get_rank() :: world_size]
    if device is not None:
        return DataLoader(Subset(device.pixels, device.rows(own)), batch_size=batch)  # type: ignore[arg-type]
    return DataLoader(WholeScenes(store, own), batch_size=batch, **_workers(recipe.dataloader, cores))


def all_gather(value: T) -> list[T]:
    """Return the value of each rank, such as the counts of its part of the validation scenes."""
    if not torch.distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


@contextmanager
def shared_memory_errors() -> Iterator[None]:
    """Explain the error of workers that fill up /dev/shm, through which they send batches.

    Raises:
        StorageError: /dev/shm is full.
    """
    try:
        yield
    except RuntimeError as error:
        # A worker raises the first message, or a bus error kills it with the second. Either may be a link of the chain,
        # because torch raises again while Lightning ends the workers.
        if not re.search(r"shared memory\(shm\)|out of shared memory", "".join(traceback.format_exception(error))):
            raise
        raise StorageError(
            "The dataloader workers ran out of shared memory (/dev/shm), which is small in containers.",
            hint="Start the container with a larger --shm-size, or set dataloader.num_workers_multiplier: 0.",
        ) from error


def _as_it_is(batch: Any) -> Tensor:  # noqa: ANN401  torch expects a list of samples; this is a whole batch
    whole: Tensor = batch
    return whole


def _workers(params: DataloaderParams, cores: int) -> dict[str, Any]:
    workers = round(params.num_workers_multiplier * cores)
    return {
        "num_workers": workers,
        "multiprocessing_context": "spawn" if workers else None,  # a fork after torch has computed hangs
        "persistent_workers": workers > 0,
        "pin_memory": params.pin_memory and torch.cuda.is_available(),
    }
