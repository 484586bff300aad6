from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from xview2_siamese_unet.config.modelling import Recipe, Unclassified
from xview2_siamese_unet.damage import IGNORE
from xview2_siamese_unet.errors import ConfigError, StorageError
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.crops import load_to_device
from xview2_siamese_unet.training.data import (
    TrainingData,
    dilate,
    shared_memory_errors,
    training_loader,
    unpack_batch,
    validation_loader,
)

NAMES = ["s0", "s1", "s2", "s3"]
MakeRecipe = Callable[..., Recipe]
Launch = Callable[[int, int], None]


def all_of(store: Store, weights: list[float] | None = None) -> TrainingData:
    return TrainingData("tiny", store, NAMES, NAMES, weights or [1.0] * 4, {}, {}, [])


def pixel(damage: int) -> torch.Tensor:
    return torch.tensor([1, 2, 3, 4, 5, 6, 1, damage], dtype=torch.uint8).view(1, 1, 1, 8)


@pytest.mark.parametrize(("unclassified", "code"), [("ignore", IGNORE), ("no_damage", 1), ("class", 5)])
def test_un_classified_pixels_get_the_code_of_the_parameter(unclassified: Unclassified, code: int) -> None:
    assert unpack_batch(pixel(5), unclassified).damage.item() == code
    assert unpack_batch(pixel(5), unclassified).building.item() == 1
    assert [unpack_batch(pixel(damage), unclassified).damage.item() for damage in range(5)] == [0, 1, 2, 3, 4]


def test_unpack_splits_the_channels() -> None:
    batch = unpack_batch(pixel(2), "ignore")
    assert batch.pre.flatten().tolist() == [1, 2, 3]
    assert batch.post.flatten().tolist() == [4, 5, 6]
    assert (batch.pre.dtype, batch.damage.dtype) == (torch.float32, torch.int64)


@pytest.mark.slow
def test_workers_do_not_change_the_batches(store: Store, recipe: MakeRecipe) -> None:
    def batches(multiplier: float) -> list[torch.Tensor]:
        settings = recipe(dataloader={"num_workers_multiplier": multiplier}, training={"crops_per_scene": 2})
        loader = training_loader(all_of(store, [1, 2, 3, 4]), settings, cores=1)
        assert loader.num_workers == multiplier
        return list(loader)

    alone, shared = batches(0), batches(1)
    assert len(alone) == len(shared) == 4
    assert all(torch.equal(*pair) for pair in zip(alone, shared, strict=True))


def test_batch_size_crop_and_crops_per_scene_shape_an_epoch(store: Store, recipe: MakeRecipe) -> None:
    def shapes(**training: object) -> list[tuple[int, ...]]:
        return [tuple(batch.shape) for batch in training_loader(all_of(store), recipe(training=training), 1)]

    assert shapes(batch_size=2, crop=32) == [(2, 32, 32, 8)] * 2
    assert shapes(batch_size=4, crop=None, crops_per_scene=3) == [(4, 64, 64, 8)] * 3


def test_workers_follow_the_cores(store: Store, recipe: MakeRecipe) -> None:
    loader = training_loader(all_of(store), recipe(dataloader={"num_workers_multiplier": 0.25}), cores=4)
    assert loader.num_workers == 1


def test_memory_is_pinned_only_with_a_gpu(store: Store, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def pinned(pin_memory: bool) -> bool:
        return validation_loader(all_of(store), recipe(dataloader={"pin_memory": pin_memory}), cores=1).pin_memory

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not pinned(True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (pinned(True), pinned(False)) == (True, False)


def test_validation_batches_hold_as_many_pixels_as_those_of_training(store: Store, recipe: MakeRecipe) -> None:
    def sizes(**training: object) -> list[int]:
        return [len(batch) for batch in validation_loader(all_of(store), recipe(training=training), cores=1)]

    assert sizes(batch_size=12, crop=32) == [3, 1]
    assert sizes(batch_size=2, crop=None) == [2, 2]
    assert sizes(batch_size=1, crop=32) == [1, 1, 1, 1]


def test_ranks_validate_each_scene_once(store: Store, recipe: MakeRecipe, launch: Launch) -> None:
    parts = []
    for rank in range(3):
        launch(rank, 3)
        parts.append(validation_loader(all_of(store), recipe(), 1))
    sums = [scene.sum().item() for part in parts for batch in part for scene in batch]
    assert sorted(sums) == sorted(int(store.pixels[row].sum(dtype=np.int64)) for row in range(4))


def test_a_batch_that_ranks_cannot_share_equally_is_refused(store: Store, recipe: MakeRecipe, launch: Launch) -> None:
    launch(0, 2)
    with pytest.raises(ConfigError, match=r"training\.batch_size 3 .* 2 processes"):
        training_loader(all_of(store), recipe(training={"batch_size": 3}), 1)


def test_fewer_validation_scenes_than_processes_are_refused(store: Store, recipe: MakeRecipe, launch: Launch) -> None:
    for rank in range(5):  # on all ranks, or the others would wait
        launch(rank, 5)
        with pytest.raises(ConfigError, match=r"4 validation scenes .* 5 processes"):
            validation_loader(all_of(store), recipe(), 1)


def test_dilation_grows_buildings_by_a_square_and_the_rarer_class_wins() -> None:
    damage = torch.zeros(1, 9, 12, dtype=torch.int64)
    damage[0, 4, 2], damage[0, 4, 5], damage[0, 4, 8], damage[0, 4, 11] = 4, 2, 1, 5
    grown = dilate(damage, 5)
    assert (grown[0, 2:7] == grown[0, 4]).all()
    assert not grown[0, [0, 1, 7, 8]].any()
    assert grown[0, 4].tolist() == [4, 4, 4, 2, 2, 2, 2, 2, 1, 1, 1, 5]
    assert torch.equal(dilate(damage, 1), damage)


def test_dilation_changes_only_the_damage_truth() -> None:
    pixels = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    pixels[0, 4, 4, 6], pixels[0, 4, 4, 7] = 1, 3
    batch = unpack_batch(pixels, "ignore", 3)
    assert (batch.building.sum(), (batch.damage == 3).sum()) == (1, 9)


@pytest.mark.parametrize("candidates", [1, 4])
@pytest.mark.parametrize("crop", [32, None])
def test_batches_are_the_same_from_host_and_device_memory(
    store: Store, recipe: MakeRecipe, crop: int | None, candidates: int
) -> None:
    data = all_of(store, [1.0, 2.0, 3.0, 4.0])
    settings = recipe(training={"crop": crop, "crop_candidates": candidates, "crops_per_scene": 4})
    params = settings.dataloader.model_copy(update={"location": "device"})
    on_device = load_to_device(store, list(reversed(NAMES)), params, "cpu")
    assert on_device is not None
    for make in (training_loader, validation_loader):
        host, device = list(make(data, settings, 1)), list(make(data, settings, 1, on_device))
        assert len(host) == len(device) > 1
        assert all(torch.equal(*pair) for pair in zip(host, device, strict=True))


FULL = [
    "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
    "RuntimeError: unable to allocate shared memory(shm) for file </torch_9_1_0>: No space left on device (28)\n",
    "DataLoader worker (pid 9) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
    "shared memory. Please try to raise your shared memory limit.",
]


@pytest.mark.parametrize("chained", [False, True], ids=["last", "followed by another"])
@pytest.mark.parametrize("text", FULL, ids=["refused", "bus error"])
def test_the_error_for_full_shared_memory_names_the_remedies(text: str, chained: bool) -> None:
    error = RuntimeError(text)
    if chained:
        error, error.__context__ = RuntimeError("DataLoader worker (pid 9) is killed by signal: Terminated."), error
    with pytest.raises(StorageError, match="shared memory") as caught, shared_memory_errors():
        raise error
    assert "--shm-size" in caught.value.hint
    assert "dataloader.num_workers_multiplier: 0" in caught.value.hint


def test_other_errors_of_a_step_are_raised_unchanged() -> None:
    with pytest.raises(RuntimeError, match="out of resource"), shared_memory_errors():
        raise RuntimeError("out of resource: shared memory, Required: 147456, Hardware limit: 101376")  # Triton's
