"""A pixel belongs to an area of interest if its centre lies in it, in any window."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyproj
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from xview2_siamese_unet.raster.grid import Area, Grid, clip
from xview2_siamese_unet.raster.reader import PairReader

WIDTH, HEIGHT = 150, 120
PIXELS = st.floats(0.1, 3.0) | st.sampled_from([0.1, 0.3, 0.305, 0.31, 0.35, 0.4, 0.46, 0.5, 0.55, 0.6, 1.0, 1.2])
ORIGINS = st.tuples(st.floats(2e5, 8e5), st.floats(1e5, 9e6)) | st.just((500_000.0, 4_000_000.0))


class FullImage:
    """An image with data in every pixel."""

    def __init__(self, grid: Grid, aoi: Any) -> None:  # noqa: ANN401
        self.pair = SimpleNamespace(grid=grid, aoi=aoi)

    def read_bytes(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        assert top < HEIGHT
        assert left < WIDTH
        return np.zeros((height, width, 3), np.uint8), np.ones((height, width), bool)


def windows_of(grid: Grid, aoi: Any, top: int, left: int, side: int) -> np.ndarray:  # noqa: ANN401
    """Return the mask of the grid from square windows; the first one starts above and left of the grid."""
    reader: Any = PairReader(FullImage(grid, aoi), FullImage(grid, aoi))
    whole = np.zeros((grid.height + 2 * side, grid.width + 2 * side), bool)
    for row in range(-top, grid.height, side):
        for column in range(-left, grid.width, side):
            whole[side + row : 2 * side + row, side + column : 2 * side + column] = reader.read(
                row, column, side, side
            ).valid
    return whole[side : side + grid.height, side : side + grid.width]


def centres_in(grid: Grid, shape: Any) -> np.ndarray:  # noqa: ANN401
    x = grid.left + (np.arange(grid.width) + 0.5) * grid.pixel
    y = grid.top - (np.arange(grid.height) + 0.5) * grid.pixel
    return shapely.contains_xy(shape, *np.meshgrid(x, y))


@given(PIXELS, ORIGINS, st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 40), st.integers(41, 97))
def test_an_area_of_interest_is_the_same_in_any_window(
    pixel: float, origin: tuple[float, float], seed: int, top: int, left: int, side: int
) -> None:
    grid = Grid("EPSG:32615", *origin, pixel, WIDTH, HEIGHT)
    draw = np.random.default_rng(seed)
    angles = np.sort(draw.uniform(0, 2 * math.pi, 12))
    radii = draw.uniform(0.2, 0.7, 12) * max(WIDTH, HEIGHT)
    outer = np.column_stack([WIDTH / 2 + radii * np.cos(angles), HEIGHT / 2 + radii * np.sin(angles)])
    star = shapely.make_valid(shapely.Polygon(outer))
    hole = shapely.Point(WIDTH / 2, HEIGHT / 2).buffer(8)
    corner, size = np.array(origin), np.array([pixel, -pixel])
    aoi = shapely.transform(star.difference(hole), lambda columns_rows: corner + columns_rows * size)
    expected = centres_in(grid, aoi)
    found = windows_of(grid, aoi, top, left, side)
    # A centre that is closer to an edge than the rounding of coordinates near 10^6 m may fall on either side.
    near_an_edge = centres_in(grid, aoi.boundary.buffer(1e-6 * pixel + 1e-8))
    np.testing.assert_array_equal(found[~near_an_edge], expected[~near_an_edge])
    np.testing.assert_array_equal(found, windows_of(grid, aoi, 0, 0, 200))


@given(PIXELS, st.floats(4e5, 6e5), st.floats(1e5, 9e6), st.integers(0, 2**32 - 1))
def test_an_area_of_interest_may_be_in_degrees(pixel: float, left: float, top: float, seed: int) -> None:
    grid = Grid("EPSG:32615", left, top, pixel, WIDTH, HEIGHT)
    turn = pyproj.Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    x, y = left + (np.arange(WIDTH) + 0.5) * pixel, top - (np.arange(HEIGHT) + 0.5) * pixel
    corners = np.random.default_rng(seed).uniform(-0.2, 1.2, (2, 3)) * [[WIDTH * pixel], [-HEIGHT * pixel]]
    triangle = shapely.Polygon(np.column_stack(turn.transform(left + corners[0], top + corners[1])))
    longitude, latitude = turn.transform(*np.meshgrid(x, y))
    expected = shapely.contains_xy(triangle, longitude, latitude)
    aoi = clip(Area(CRS.from_epsg(4326), triangle), shapely.box(*grid.bounds), CRS.from_string(grid.crs))
    if aoi.is_empty:  # refused before anything is read
        assert not expected.any()
        return
    found = windows_of(grid, aoi, 3, 7, 64)
    assert (found != expected).sum() <= 2  # PROJ and the densified edges agree to 0.01 mm


def test_a_part_that_only_touches_the_grid_is_dropped() -> None:
    grid = Grid("EPSG:32615", 500_000, 4_000_000, 0.5, WIDTH, HEIGHT)
    west, south, east, north = grid.bounds
    inside, outside = (
        shapely.box(west + 10, south + 10, west + 20, south + 20),
        shapely.box(east, south, east + 9, north),
    )
    utm = CRS.from_string(grid.crs)
    aoi = clip(Area(utm, shapely.MultiPolygon([inside, outside])), shapely.box(*grid.bounds), utm)
    assert aoi.equals(inside)
    assert windows_of(grid, aoi, 0, 0, 64).sum() == 20 * 20
