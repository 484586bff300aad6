from __future__ import annotations

import shutil
import signal
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy.ndimage import uniform_filter

from image_pair import fill
from run_command import run_python
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.errors import StorageError
from xview2_siamese_unet.inference.pair import harmonise
from xview2_siamese_unet.inference.prediction import encode
from xview2_siamese_unet.models.postprocess import Thresholds
from xview2_siamese_unet.models.vote import FinishedBlocks
from xview2_siamese_unet.raster.cog import RasterContent, write_cog
from xview2_siamese_unet.raster.io import BANDS, LEVELS, NO_DATA
from xview2_siamese_unet.raster.reader import Pair
from xview2_siamese_unet.raster.windows import BlockStore, WindowPlan

Write = Callable[..., Path]
Smooth = Callable[..., np.ndarray]


class Net:
    """A stand-in: buildings are bright pixels, damage is darkening, the receptive field is 8 pixels on each side."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
        self.batches.append(len(pre))
        size = (1, 17, 17)
        before, after = (
            uniform_filter(d.mean(axis=3, dtype=np.float32), size, mode="constant") / 255 for d in (pre, post)
        )
        building = 1 / (1 + np.exp(-20 * (before - 0.45)))
        damage = np.clip(before - after + 0.5, 0, 0.999)
        shares = np.stack([np.maximum(0.01, 1 - np.abs(damage * 4 - k - 0.5)) for k in range(4)], axis=3)
        shares /= shares.sum(axis=3, keepdims=True)
        return np.concatenate([1 - building[..., None], building[..., None] * shares], axis=3).astype(np.float32)


@pytest.fixture
def pair(write_raster: Write, smooth: Smooth) -> Pair:
    post = smooth(phase=0.7)
    post[150:, 200:] = 0
    params = InferenceParams(
        pre=write_raster("pre.tif", smooth()), post=write_raster("post.tif", post), registration="off"
    )
    return harmonise(params).pair


def blocks(pair: Pair, folder: Path, size: int = 64, overlap: int = 32, batch: int = 2) -> np.ndarray:
    plan = WindowPlan(pair.grid.height, pair.grid.width, size, overlap)
    store = BlockStore(folder)
    fill(pair, plan, Net(), store, batch)
    whole = np.full((6, pair.grid.height, pair.grid.width), NO_DATA, np.uint8)
    for rows, columns, codes, shares in FinishedBlocks(plan, store):
        whole[:, rows, columns] = [*shares, codes]
    return whole


def test_window_and_batch_sizes_do_not_change_the_prediction(pair: Pair, tmp_path: Path) -> None:
    one = blocks(pair, tmp_path / "one", size=512)
    for number, (size, overlap, batch) in enumerate([(64, 32, 1), (64, 32, 7), (96, 40, 3), (128, 64, 2)]):
        other = blocks(pair, tmp_path / str(number), size, overlap, batch)
        assert (other == NO_DATA).sum() == (one == NO_DATA).sum() > 0
        assert np.abs(other[:5].astype(int) - one[:5]).max() <= 1
        assert (other[5] == one[5]).mean() > 0.999


def test_no_data_in_either_image_is_no_data_in_the_products(pair: Pair, tmp_path: Path) -> None:
    whole = blocks(pair, tmp_path / "w")
    missing = np.zeros(whole.shape[1:], bool)
    missing[150:, 200:] = True
    np.testing.assert_array_equal(whole == NO_DATA, np.broadcast_to(missing, whole.shape))


def test_windows_without_data_are_not_predicted(write_raster: Write, smooth: Smooth, tmp_path: Path) -> None:
    sparse = np.zeros((400, 400, 3), np.uint8)
    sparse[:60, :60] = smooth(60, 60)
    path = write_raster("sparse.tif", sparse)
    pair = harmonise(InferenceParams(pre=path, post=path)).pair
    net = Net()
    fill(pair, WindowPlan(400, 400, 64, 16), net, BlockStore(tmp_path / "s"), 4)
    assert sum(net.batches) == 4


def test_blocks_that_are_deleted_during_a_run_are_an_error(pair: Pair, tmp_path: Path) -> None:
    plan, store = WindowPlan(pair.grid.height, pair.grid.width, 64, 32), BlockStore(tmp_path / "blocks")
    fill(pair, plan, Net(), store, 2)
    shutil.rmtree(store.folder)
    with pytest.raises(StorageError, match="is missing"):
        list(FinishedBlocks(plan, store))


def test_a_stopped_run_resumes_with_the_same_result(pair: Pair, tmp_path: Path) -> None:
    undisturbed = blocks(pair, tmp_path / "undisturbed")
    plan = WindowPlan(pair.grid.height, pair.grid.width, 64, 32)
    net, store = Net(), BlockStore(tmp_path / "stopped")
    total = plan.rows * plan.columns
    for stop in range(1, total, 5):

        def interrupted(pre: np.ndarray, post: np.ndarray, stop: int = stop) -> np.ndarray:
            if sum(net.batches) >= stop:
                raise KeyboardInterrupt
            return net(pre, post)

        with pytest.raises(KeyboardInterrupt):
            fill(pair, plan, interrupted, store, 2)
    again = Net()
    fill(pair, plan, again, store, 2)
    assert 0 < sum(again.batches) < total
    np.testing.assert_array_equal(blocks(pair, tmp_path / "stopped"), undisturbed)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
from test_predict_rows import Net, assess
net, left = Net(), int(sys.argv[4])
def dying(pre, post):
    if left and sum(net.batches) >= left:
        os.kill(os.getpid(), signal.SIGKILL)
    return net(pre, post)
assess(Path(sys.argv[2]), Path(sys.argv[3]), dying)
"""


def assess(images: Path, out: Path, predict: Callable[..., np.ndarray]) -> None:
    params = InferenceParams(pre=images / "pre.tif", post=images / "post.tif", registration="off")
    pair = harmonise(params).pair
    plan, store = WindowPlan(pair.grid.height, pair.grid.width, 64, 32), BlockStore(out / "blocks")
    fill(pair, plan, predict, store, 2)
    write_cog(out / "damage.tif", RasterContent(pair.grid, ("damage",), FinishedBlocks(plan, store).codes()))


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_same_bytes(pair: Pair, tmp_path: Path) -> None:
    images, undisturbed, killed = tmp_path, tmp_path / "undisturbed", tmp_path / "killed"
    assess(images, undisturbed, Net())
    for left in (3, 17, 30, 0):
        done = run_python(tmp_path, "-c", KILLED, str(Path(__file__).parent), str(images), str(killed), str(left))
        assert done.returncode == (-signal.SIGKILL if left else 0), done.stderr
        assert (killed / "damage.tif").exists() == (not left)
    assert (killed / "damage.tif").read_bytes() == (undisturbed / "damage.tif").read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("usual_garbage_collection")
def test_memory_does_not_grow_with_the_scene(write_raster: Write, smooth: Smooth, tmp_path: Path) -> None:
    peaks = []
    for side in (1000, 3000):
        sparse = np.zeros((side, side, 3), np.uint8)
        for k in range(0, side - 400, side // 3):
            sparse[k : k + 400, k : k + 400] = smooth(400, 400)
        path = write_raster(f"{side}.tif", sparse, tiled=True)
        pair = harmonise(InferenceParams(pre=path, post=path, registration="off")).pair
        plan, store = WindowPlan(side, side, 256, 64), BlockStore(tmp_path / str(side))
        tracemalloc.start()
        fill(pair, plan, Net(), store, 2)
        write_cog(tmp_path / "d.tif", RasterContent(pair.grid, ("d",), FinishedBlocks(plan, store).codes()))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_probabilities_are_encoded_as_bytes_with_a_class() -> None:
    shares = np.array([[[0.4, 0.1, 0.2, 0.05, 0.25], [0.6, 0.1, 0.1, 0.1, 0.1], [0, 0, 0, 1, 0]]], np.float32)
    block = encode(shares, np.array([[True, True, False]]), Thresholds())
    assert block[:, 0, 0].tolist() == [round(p * LEVELS) for p in (0.4, 0.1, 0.2, 0.05, 0.25)] + [4]
    assert block[5].tolist() == [[4, 0, NO_DATA]]
    assert (block[:, 0, 2] == NO_DATA).all()
    assert encode(shares, np.ones((1, 3), bool), Thresholds(0.65, 0.3))[5].tolist() == [[4, 0, 3]]
    assert encode(shares, np.ones((1, 3), bool), Thresholds(0.35, 0.35))[5].tolist() == [[4, 1, 3]]


def test_cogs_are_valid_and_describe_their_bands(pair: Pair, tmp_path: Path) -> None:
    from rio_cogeo.cogeo import cog_validate  # noqa: PLC0415

    plan, store = WindowPlan(pair.grid.height, pair.grid.width, 64, 32), BlockStore(tmp_path / "blocks")
    fill(pair, plan, Net(), store, 2)
    damage, probability = tmp_path / "damage.tif", tmp_path / "probability.tif"
    colours = {code: (code, 9, 9, 255) for code in range(5)}
    write_cog(damage, RasterContent(pair.grid, ("damage",), FinishedBlocks(plan, store).codes(), colours))
    stored = FinishedBlocks(plan, store).shares()
    write_cog(probability, RasterContent(pair.grid, BANDS, stored, scale=1 / LEVELS))
    for path in (damage, probability):
        assert cog_validate(path, strict=True)[0]
    with rasterio.open(damage) as raster:
        assert raster.colormap(1)[3] == (3, 9, 9, 255)
        assert (raster.nodata, raster.dtypes, raster.crs.to_epsg()) == (NO_DATA, ("uint8",), 32615)
        codes = raster.read(1)
    with rasterio.open(probability) as raster:
        shares = raster.read()
        assert raster.descriptions == BANDS
        assert raster.scales == (1 / LEVELS,) * 5
        assert raster.transform == pair.grid.transform
    with_data = codes != NO_DATA
    assert np.abs(shares[:, with_data].astype(int).sum(axis=0) - LEVELS).max() <= 2
    building = with_data & (codes > 0) & (np.sort(shares[1:], axis=0)[-1] - np.sort(shares[1:], axis=0)[-2] > 1)
    np.testing.assert_array_equal(shares[1:].argmax(axis=0)[building] + 1, codes[building])
    assert sorted(path.name for path in tmp_path.glob(".*")) == []
