"""Blended windows give the result of one pass over the whole image at every pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from xview2_siamese_unet.errors import StorageError
from xview2_siamese_unet.raster.windows import BlockStore, WindowPlan, read_block, stitch_row

FloatArray = npt.NDArray[np.float32]
SIZE, OVERLAP = 64, 32
REACH = OVERLAP // 4


def net(image: FloatArray) -> FloatArray:
    """Average over `REACH` pixels to each side, with zeros beyond the edge."""
    return uniform_filter(image, (2 * REACH + 1, 2 * REACH + 1, 0), mode="constant")


def tiled(image: FloatArray, plan: WindowPlan, store: BlockStore) -> FloatArray:
    padded = np.pad(image, ((plan.size, 2 * plan.size), (plan.size, 2 * plan.size), (0, 0)))
    whole = np.full_like(image, np.nan)
    for i in range(plan.rows):
        predictions = []
        for j in range(plan.columns):
            top, left = (first + plan.size for first in plan.corner(i, j))
            height, width = plan.extent(i, j)
            predictions.append(net(padded[top : top + height, left : left + width]))
        with store.read_row(i - 1) as before:
            row = stitch_row(plan, i, predictions, lambda j, before=before: read_block(before, "below", j))
            store.write_row(i, ({"block": each.block, "below": each.below} for each in row))
        with store.read_row(i) as row:
            for j in range(plan.columns):
                rows, columns = plan.block(i, j)
                block = read_block(row, "block", j)
                whole[rows, columns] = block[: rows.stop - rows.start, : columns.stop - columns.start]
    return whole


@pytest.mark.parametrize("height", [1, 31, 48, SIZE - 1, SIZE + 1, 511])
@pytest.mark.parametrize("width", [1, SIZE - 1, SIZE + 1, 97])
def test_windows_give_the_result_of_the_whole_image(height: int, width: int, tmp_path: Path) -> None:
    image = np.random.default_rng(height * width).random((height, width, 2), np.float32)
    whole = net(np.pad(image, ((REACH, REACH), (REACH, REACH), (0, 0))))[REACH:-REACH, REACH:-REACH]
    stitched = tiled(image, WindowPlan(height, width, SIZE, OVERLAP), BlockStore(tmp_path))
    np.testing.assert_allclose(stitched, whole, atol=1e-5, rtol=0)


@given(st.integers(1, 300), st.integers(0, 8), st.integers(2, 4))
def test_weights_of_neighbours_add_up_to_one(length: int, overlap: int, times: int) -> None:
    plan = WindowPlan(length, length, 32 * times, 4 * overlap)
    total = np.zeros((plan.rows + 2) * plan.size)
    for k in range(plan.rows):
        used, first = plan.vertical.used(k), plan.corner(k, 0)[0]
        total[first + used.start : first + used.stop] += plan.vertical.weights(k)
    np.testing.assert_allclose(total[:length], 1, atol=1e-6)


def test_windows_end_with_the_grid() -> None:
    plan = WindowPlan(1024, 70, 640, 128)
    assert [plan.corner(i, 0) + plan.extent(i, 0) for i in range(plan.rows)] == [(0, 0, 640, 96), (512, 0, 512, 96)]


@pytest.mark.parametrize("length", [1, 256, 639, 640])
def test_a_scene_that_fits_is_a_single_window_from_edge_to_edge(length: int) -> None:
    plan = WindowPlan(length, 640, 640, 128)
    assert (plan.rows, plan.columns) == (1, 1)
    assert plan.corner(0, 0) == (0, 0)
    assert plan.extent(0, 0) == (-(-length // 32) * 32, 640)
    assert plan.block(0, 0) == plan.used(0, 0) == (slice(0, length), slice(0, 640))


def test_blocks_cover_each_pixel_once() -> None:
    plan = WindowPlan(100, 250, 64, 16)
    count = np.zeros((100, 250), int)
    for i, j in np.ndindex(plan.rows, plan.columns):
        count[plan.block(i, j)] += 1
    assert (count == 1).all()


def test_windows_without_data_leave_gaps() -> None:
    plan = WindowPlan(40, 200, 64, 32)
    predictions = [np.ones((64, 64, 1), np.float32), *[None] * (plan.columns - 1)]
    row = list(stitch_row(plan, 0, predictions, lambda _: None))
    assert row[0].block is not None
    assert (row[0].block == 1).all()
    assert all(each.block is None for each in row[2:])


def test_an_unfinished_row_is_not_stored(tmp_path: Path) -> None:
    store = BlockStore(tmp_path)

    def columns() -> object:
        yield {"block": np.zeros(3)}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_row(0, columns())
    assert not store.has_row(0)
    store.write_row(0, [{"block": np.arange(3)}])
    with store.read_row(0) as row:
        assert read_block(row, "block", 0).tolist() == [0, 1, 2]
        assert read_block(row, "below", 0) is None


def test_a_removed_row_is_an_error(tmp_path: Path) -> None:
    store = BlockStore(tmp_path)
    with store.read_row(-1) as nothing:
        assert read_block(nothing, "below", 0) is None
    with pytest.raises(StorageError, match=r"row_000001\.zip is missing"):
        store.read_row(1)
