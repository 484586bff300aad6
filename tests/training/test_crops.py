from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from small_store import write_store
from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training import crops
from xview2_siamese_unet.training.crops import Crops, DeviceCrops, DeviceScenes, WholeScenes, corners, load_to_device
from xview2_siamese_unet.training.samplers import CropIndex

HEIGHT, WIDTH = 96, 128
SCENES = ["s0", "s1", "s2", "s3"]
MakeRecipe = Callable[..., Recipe]
NAMES = ["nothing", "squares", "corner", "sparse", "noise", "edge"]


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Masks with few, many or only equally rare crops, and images that differ."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (len(NAMES), HEIGHT, WIDTH, 8), dtype=np.uint8)
    damage = pixels[..., 7]
    damage[:4] = 0
    for top, left in rng.integers((HEIGHT, WIDTH), size=(12, 2)):
        damage[1, top : top + 6, left : left + 6] = rng.integers(1, 6)
    damage[2, :8, :8] = 2
    damage[3, ::16, ::16] = 4
    damage[4] %= 6
    damage[5] = 3
    damage[5, :, :20] = 0
    pixels[..., 6] = damage > 0
    return write_store(tmp_path_factory.mktemp("masks") / "store", dict(zip(NAMES, pixels, strict=True)))


def plain(scene: np.ndarray, seed: int, side: int, candidates: int) -> np.ndarray:
    random, weights = np.random.default_rng(seed), np.array([0, 1, 5, 5, 2, 0])
    tried = [random.integers((HEIGHT - side + 1, WIDTH - side + 1)) for _ in range(candidates)]
    cut = [scene[top : top + side, left : left + side] for top, left in tried]
    rarities = [int(weights[crop[..., 7]].sum()) for crop in cut]
    return cut[rarities.index(max(rarities))]


@pytest.mark.parametrize("candidates", [1, 2, 3, 10])
@pytest.mark.parametrize("side", [1, 5, 16, 40, 63])
def test_the_first_of_the_rarest_crops_is_used_on_host_and_device(masks: Store, side: int, candidates: int) -> None:
    host = Crops(masks, NAMES, side, candidates)
    device = DeviceCrops(DeviceScenes(masks, NAMES, torch.device("cpu")), NAMES, side, candidates)
    indices = [CropIndex(seed % len(NAMES), seed) for seed in range(60)]
    wanted = [plain(masks.pixels[index.scene], index.seed, side, candidates) for index in indices]
    assert np.array_equal(np.stack([host[index].numpy() for index in indices]), wanted)
    assert np.array_equal(device.__getitems__(indices).numpy(), wanted)


@pytest.mark.parametrize(("side", "candidates"), [(5, 1), (5, 10), (40, 10)])
def test_lines_of_the_candidates_are_prefetched_once(
    masks: Store, monkeypatch: pytest.MonkeyPatch, side: int, candidates: int
) -> None:
    spans: list[range] = []
    monkeypatch.setattr(Store, "prefetch", lambda _, row, top, bottom: spans.append(range(top, bottom)))
    for seed in range(20):
        spans.clear()
        Crops(masks, NAMES, side, candidates)[CropIndex(1, seed)]
        random = np.random.default_rng(seed)
        tops = [random.integers((HEIGHT - side + 1, WIDTH - side + 1))[0] for _ in range(candidates)]
        prefetched = [line for span in spans for line in span]
        assert prefetched == sorted({line for top in tops for line in range(top, top + side)})


@given(index=st.integers(0, 3), seed=st.integers(0, 2**62))
def test_a_crop_is_a_window_of_its_scene_in_all_channels(store: Store, index: int, seed: int) -> None:
    crop = Crops(store, SCENES, 32)[CropIndex(index, seed)].numpy()
    assert crop.shape == (32, 32, 8)
    scene = store.pixels[index]
    positions = np.argwhere((scene[:33, :33] == crop[0, 0]).all(axis=-1))
    assert any(np.array_equal(scene[y : y + 32, x : x + 32], crop) for y, x in positions)


def test_every_position_of_a_crop_occurs() -> None:
    found = corners(64, 64, 32, 0, 600)
    assert set(found[:, 0]) == set(found[:, 1]) == set(range(33))


@pytest.mark.parametrize("side", [None, 64, 512])
def test_without_a_smaller_crop_the_whole_scene_is_used(store: Store, side: int | None) -> None:
    assert np.array_equal(Crops(store, SCENES, side)[CropIndex(2, 9)].numpy(), store.pixels[2])


def test_whole_scenes_are_read_in_order(store: Store) -> None:
    scenes = WholeScenes(store, ["s3", "s1"])
    assert len(scenes) == 2
    assert np.array_equal(scenes[0].numpy(), store.pixels[3])


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
def test_scenes_are_loaded_to_a_gpu_if_they_fit(
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
    monkeypatch.setattr(crops, "free_memory", lambda _: free)
    on_cpu = partial(DeviceScenes, device=torch.device("cpu"))
    monkeypatch.setattr(crops, "DeviceScenes", lambda store, names, _: on_cpu(store, names))
    loaded = load_to_device(store, SCENES, recipe(dataloader={"location": location}).dataloader, device)
    assert (loaded is not None) == inside
    assert any("stay in host memory" in message for message in caplog.messages) == (
        (location, device, inside) == ("auto", "cuda", False)
    )


def test_scenes_that_do_not_fit_on_the_device_are_refused(
    store: Store, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crops, "free_memory", lambda _: 1000)
    with pytest.raises(ConfigError, match=r"dataloader\.location is device, but 0\.0 GB"):
        load_to_device(store, SCENES, recipe(dataloader={"location": "device"}).dataloader, "cuda")
