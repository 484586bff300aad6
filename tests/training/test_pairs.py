from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from small_store import write_store
from xview2_siamese_unet.config.modelling import Recipe, Unclassified
from xview2_siamese_unet.config.training import TrainingParams
from xview2_siamese_unet.damage import IGNORE
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training import pairs, resident
from xview2_siamese_unet.training.crops import Crops, WholeScenes, corners
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.draws import Draw
from xview2_siamese_unet.training.pairs import dilate, training_loader, unpack, whole_scenes_loader
from xview2_siamese_unet.training.processes import Shard
from xview2_siamese_unet.training.resident import Resident, take_in

NAMES = ["s0", "s1", "s2", "s3"]
MakeRecipe = Callable[..., Recipe]


def all_of(store: Store, weights: list[float] | None = None) -> TrainingData:
    return TrainingData("tiny", store, NAMES, NAMES, weights or [1.0] * 4, {}, {}, [])


def pixel(damage: int) -> torch.Tensor:
    return torch.tensor([1, 2, 3, 4, 5, 6, 1, damage], dtype=torch.uint8).view(1, 1, 1, 8)


@pytest.mark.parametrize(("policy", "code"), [("ignore", IGNORE), ("no_damage", 1), ("class", 5)])
def test_unclassified_pixels_are_what_the_experiment_says(policy: Unclassified, code: int) -> None:
    assert unpack(pixel(5), policy).damage.item() == code
    assert unpack(pixel(5), policy).building.item() == 1
    assert [unpack(pixel(damage), policy).damage.item() for damage in range(5)] == [0, 1, 2, 3, 4]


def test_unpack_takes_the_channels_apart() -> None:
    batch = unpack(pixel(2), "ignore")
    assert batch.pre.flatten().tolist() == [1, 2, 3]
    assert batch.post.flatten().tolist() == [4, 5, 6]
    assert (batch.pre.dtype, batch.damage.dtype) == (torch.float32, torch.int64)


@given(index=st.integers(0, 3), seed=st.integers(0, 2**62))
def test_a_crop_is_a_window_of_its_scene_in_all_channels(store: Store, index: int, seed: int) -> None:
    crop = Crops(store, NAMES, 32)[Draw(index, seed)].numpy()
    assert crop.shape == (32, 32, 8)
    scene = store.pixels[index]
    places = np.argwhere((scene[:33, :33] == crop[0, 0]).all(axis=-1))
    assert any(np.array_equal(scene[y : y + 32, x : x + 32], crop) for y, x in places)


def test_every_place_of_a_crop_comes_up() -> None:
    found = corners(64, 64, 32, 0, 600)
    assert set(found[:, 0]) == set(found[:, 1]) == set(range(33))


@pytest.mark.parametrize("side", [None, 64, 512])
def test_without_a_smaller_crop_the_whole_scene_is_taken(store: Store, side: int | None) -> None:
    assert np.array_equal(Crops(store, NAMES, side)[Draw(2, 9)].numpy(), store.pixels[2])


def test_whole_scenes_come_in_order(store: Store) -> None:
    scenes = WholeScenes(store, ["s3", "s1"])
    assert len(scenes) == 2
    assert np.array_equal(scenes[0].numpy(), store.pixels[3])


def test_workers_change_nothing_in_what_is_seen(store: Store, recipe: MakeRecipe) -> None:
    def batches(multiplier: float) -> list[torch.Tensor]:
        settings = recipe(dataloader={"num_workers_multiplier": multiplier}, training={"crops_per_scene": 2})
        loader = training_loader(all_of(store, [1, 2, 3, 4]), settings, cores=2)
        assert loader.num_workers == 2 * multiplier
        return list(loader)

    alone, shared = batches(0), batches(1)
    assert len(alone) == len(shared) == 4
    assert all(torch.equal(*pair) for pair in zip(alone, shared, strict=True))


def test_workers_follow_the_cores(store: Store, recipe: MakeRecipe) -> None:
    loader = training_loader(all_of(store), recipe(dataloader={"num_workers_multiplier": 0.25}), cores=4)
    assert loader.num_workers == 1


def test_memory_is_pinned_where_there_is_a_gpu_and_it_is_asked_for(
    store: Store, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pinned(asked: bool) -> bool:
        return whole_scenes_loader(all_of(store), recipe(dataloader={"pin_memory": asked}), cores=1).pin_memory

    assert not pinned(True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (pinned(True), pinned(False)) == (True, False)


def test_validation_batches_hold_as_many_pixels_as_those_of_training(store: Store, recipe: MakeRecipe) -> None:
    def sizes(**training: object) -> list[int]:
        return [len(batch) for batch in whole_scenes_loader(all_of(store), recipe(training=training), cores=1)]

    assert sizes(batch_size=12, crop=32) == [3, 1]
    assert sizes(batch_size=2, crop=None) == [2, 2]
    assert sizes(batch_size=1, crop=32) == [1, 1, 1, 1]


def test_processes_validate_each_scene_once(store: Store, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []
    for rank in range(3):
        monkeypatch.setattr(pairs, "launched_shard", lambda rank=rank: Shard(rank, 3))
        parts.append(whole_scenes_loader(all_of(store), recipe(), 1))
    seen = [scene.sum().item() for part in parts for batch in part for scene in batch]
    assert sorted(seen) == sorted(int(store.pixels[row].sum(dtype=np.int64)) for row in range(4))


def test_a_batch_that_cannot_be_shared_is_refused(
    store: Store, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "launched_shard", lambda: Shard(0, 2))
    with pytest.raises(ConfigError, match=r"training\.batch_size: found 3 for 2 processes"):
        training_loader(all_of(store), recipe(training={"batch_size": 3}), 1)


def test_fewer_validation_scenes_than_processes_are_refused(
    store: Store, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in range(5):  # in all of them, or the others would wait
        monkeypatch.setattr(pairs, "launched_shard", lambda rank=rank: Shard(rank, 5))
        with pytest.raises(ConfigError, match="found 4 scenes for 5 processes"):
            whole_scenes_loader(all_of(store), recipe(), 1)


def test_of_several_crops_the_one_with_most_rare_classes_is_taken(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64, 8), np.uint8)
    pixels[:8, :8, 7] = 2
    pixels[56:, 56:, 7] = 1
    rare = write_store(tmp_path / "store", {"s": pixels})
    shares = {
        n: np.mean([bool((Crops(rare, ["s"], 32, n)[Draw(0, seed)][..., 7] == 2).any()) for seed in range(200)])
        for n in (1, 10)
    }
    assert shares[10] > 3 * shares[1] > 0


def test_buildings_grow_by_the_square_and_the_rarer_class_wins() -> None:
    damage = torch.zeros(1, 9, 12, dtype=torch.int64)
    damage[0, 4, 2], damage[0, 4, 5], damage[0, 4, 8], damage[0, 4, 11] = 4, 2, 1, 5
    grown = dilate(damage, 5)
    assert (grown[0, 2:7] == grown[0, 4]).all()
    assert not grown[0, [0, 1, 7, 8]].any()
    assert grown[0, 4].tolist() == [4, 4, 4, 2, 2, 2, 2, 2, 1, 1, 1, 5]
    assert torch.equal(dilate(damage, 1), damage)


def test_only_the_truth_of_damage_grows() -> None:
    pixels = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    pixels[0, 4, 4, 6], pixels[0, 4, 4, 7] = 1, 3
    batch = unpack(pixels, "ignore", 3)
    assert (batch.building.sum(), (batch.damage == 3).sum()) == (1, 9)


def test_an_even_square_is_refused() -> None:
    with pytest.raises(ValueError, match="an odd number of pixels"):
        TrainingParams(damage_dilation=4)


@pytest.mark.parametrize("candidates", [1, 4])
@pytest.mark.parametrize("crop", [32, None])
def test_crops_are_the_same_wherever_the_scenes_lie(
    store: Store, recipe: MakeRecipe, crop: int | None, candidates: int
) -> None:
    data = all_of(store, [1.0, 2.0, 3.0, 4.0])
    settings = recipe(training={"crop": crop, "crop_candidates": candidates, "crops_per_scene": 4})
    there = take_in(store, list(reversed(NAMES)), settings.dataloader.model_copy(update={"location": "device"}), "cpu")
    assert there is not None
    for make in (training_loader, whole_scenes_loader):
        host, device = list(make(data, settings, 1)), list(make(data, settings, 1, there))
        assert len(host) == len(device) > 1
        assert all(torch.equal(*pair) for pair in zip(host, device, strict=True))


@pytest.mark.parametrize(
    ("location", "device", "free", "inside"),
    [
        ("host", "cuda", 1e12, False),
        ("auto", "cpu", 1e12, False),
        ("auto", "cuda", 1e12, True),
        ("auto", "cuda", 4 * 64 * 64 * 8 / 0.59, True),
        ("auto", "cuda", 4 * 64 * 64 * 8 / 0.61, False),
        ("device", "cuda", 1e12, True),
        ("device", "cpu", None, True),
    ],
)
def test_scenes_stay_on_a_gpu_where_they_fit(
    *,
    store: Store,
    recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    location: str,
    device: str,
    free: float | None,
    inside: bool,
) -> None:
    monkeypatch.setattr(resident, "free_memory", lambda _: free)
    monkeypatch.setattr(resident, "Resident", lambda store, names, _: Resident(store, names, torch.device("cpu")))
    found = take_in(store, NAMES, recipe(dataloader={"location": location}).dataloader, device)
    assert (found is not None) == inside
    assert any("stay in host memory" in message for message in caplog.messages) == (
        (location, device, inside) == ("auto", "cuda", False)
    )


def test_scenes_that_do_not_fit_where_they_are_asked_for_are_refused(
    store: Store, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resident, "free_memory", lambda _: 1000)
    with pytest.raises(ConfigError, match=r"dataloader\.location: found device, where"):
        take_in(store, NAMES, recipe(dataloader={"location": "device"}).dataloader, "cuda")
