"""Placement of rasters in a VRT; `tests/campaign/test_mosaic.py` reads VRTs pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.vrt import Rectangle, matching_rectangles, mosaic_grid

CRS = "EPSG:32636"


def random_grids(rng: np.random.Generator, pixels: list[float]) -> list[Grid]:
    corners = rng.uniform((500_000, 4_000_000), (500_200, 4_000_200), (len(pixels), 2))
    sizes = rng.integers(20, 200, (len(pixels), 2)).tolist()
    return [Grid(CRS, *corner, pixel, *size) for corner, pixel, size in zip(corners, pixels, sizes, strict=True)]


def on_ground(rectangle: Rectangle, grid: Grid) -> np.ndarray:
    """Return west, north, east and south of pixels in metres."""
    left, top, width, height = rectangle
    corners = [grid.transform @ corner for corner in ((left, top), (left + width, top + height))]
    return np.array(corners).ravel()


@pytest.mark.parametrize("seed", range(8))
def test_pixels_of_one_size_are_copied_and_shifted_by_half_a_pixel_at_most(seed: int) -> None:
    grids = random_grids(np.random.default_rng(seed), [0.5, 0.5, 0.5 * (1 + 1e-9)])
    mosaic = mosaic_grid(grids)
    assert (mosaic.crs, mosaic.pixel) == (CRS, 0.5)
    for grid in grids:
        source, target = matching_rectangles(grid, mosaic)
        assert source == (0, 0, grid.width, grid.height)
        assert target[2:] == source[2:]
        assert np.abs(on_ground(source, grid) - on_ground(target, mosaic)).max() <= 0.25 + 1e-6
        assert min(target) >= 0
        assert target[0] + target[2] <= mosaic.width
        assert target[1] + target[3] <= mosaic.height


@pytest.mark.parametrize("seed", range(8))
def test_larger_pixels_fill_the_mosaic_pixels_inside_them(seed: int) -> None:
    grids = random_grids(np.random.default_rng(seed), [0.3, 0.47, 1.1])
    mosaic = mosaic_grid(grids)
    for grid in grids[1:]:
        source, target = matching_rectangles(grid, mosaic)
        np.testing.assert_allclose(on_ground(source, grid), on_ground(target, mosaic), atol=1e-6)
        assert all(isinstance(value, int) for value in target)
        missing = np.abs(on_ground((0, 0, grid.width, grid.height), grid) - on_ground(target, mosaic))
        assert (missing < 0.3).all()  # less than a pixel of the mosaic at each edge


def test_a_mosaic_is_the_bounding_box_of_its_rasters() -> None:
    grids = [Grid(CRS, 0, 100, 0.5, 10, 10), Grid(CRS, 20.1, 90, 1, 5, 4)]
    assert mosaic_grid(grids) == Grid(CRS, 0, 100, 0.5, 51, 28)
