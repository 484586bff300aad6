from __future__ import annotations

import math

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.grid import Extent, Grid, common_grid, is_utm, pixel_size, raster_outline

UTM = CRS.from_epsg(32615)
DEGREES = CRS.from_epsg(4326)


def extent(crs: CRS, transform: Affine, width: int = 200, height: int = 100) -> Extent:
    return Extent(crs, raster_outline(transform, width, height), transform)


def north_up(left: float, top: float, pixel: float) -> Affine:
    return Affine(pixel, 0, left, 0, -pixel, top)


@given(
    st.floats(-30, 30), st.floats(-20, 20), st.floats(0.2, 2.0), st.floats(0.2, 2.0), st.sampled_from(["pre", "post"])
)
def test_the_grid_has_whole_pixels_of_the_coarser_image_inside_both(
    east: float, north: float, pixel: float, factor: float, coarse: str
) -> None:
    left, top = 500_000.3, 4_000_000.7
    one, other = north_up(left, top, pixel), north_up(left + east, top + north, pixel * factor)
    pre, post = (extent(UTM, one), extent(UTM, other)) if coarse == "pre" else (extent(UTM, other), extent(UTM, one))
    if not pre.outline.buffer(-2 * pixel).intersects(post.outline.buffer(-2 * pixel * factor)):
        return
    grid = common_grid(pre, post)
    # The pre-disaster image if both are equally coarse.
    own = one if factor < 1 or (factor == 1 and coarse == "pre") else other
    assert grid.pixel == pytest.approx(max(pixel, pixel * factor))
    for value in ((grid.left - own.c) / grid.pixel, (grid.top - own.f) / grid.pixel):
        assert value == pytest.approx(round(value), abs=1e-5)
    overlap = pre.outline.intersection(post.outline).bounds
    half = grid.pixel / 2 * (1 + 1e-4)
    west, south, east_edge, north_edge = grid.bounds
    assert overlap[0] - half <= west <= overlap[0] + half
    assert overlap[1] - half <= south <= overlap[1] + half
    assert overlap[2] - half <= east_edge <= overlap[2] + half
    assert overlap[3] - half <= north_edge <= overlap[3] + half


def test_images_in_degrees_get_the_utm_zone_of_their_overlap() -> None:
    pre = extent(DEGREES, north_up(-94.5, 37.07, 5e-6), 1000, 1000)
    post = extent(DEGREES, north_up(-94.499, 37.07, 6e-6), 1000, 1000)
    grid = common_grid(pre, post)
    assert grid.crs == "EPSG:32615"
    metres_of_a_degree = 111_000
    assert grid.pixel == pytest.approx(6e-6 * metres_of_a_degree * math.sqrt(math.cos(math.radians(37))), rel=0.01)


def test_an_image_in_a_utm_zone_keeps_its_zone_and_pixels() -> None:
    nad = CRS.from_epsg(26915)
    pre = extent(nad, north_up(366_700.2, 4_104_000.4, 0.6), 1024, 1024)
    post = extent(DEGREES, north_up(-94.4995, 37.0751, 5e-6), 2048, 2048)
    grid = common_grid(pre, post)
    assert grid.crs == "EPSG:26915"
    assert ((grid.left - 366_700.2) / 0.6) == pytest.approx(round((grid.left - 366_700.2) / 0.6), abs=1e-6)


def test_a_given_pixel_size_is_used() -> None:
    both = extent(UTM, north_up(500_000, 4_000_000, 0.5))
    grid = common_grid(both, both, 1.0)
    assert (grid.pixel, grid.width, grid.height) == (1.0, 100, 50)


@pytest.mark.parametrize("crs", [UTM, DEGREES])
def test_images_that_do_not_overlap_are_refused(crs: CRS) -> None:
    step = 1e5 if crs == UTM else 1.0
    pixel = 0.5 if crs == UTM else 5e-6
    pre, post = (extent(crs, north_up(5 + k * step, 40, pixel)) for k in range(2))
    with pytest.raises(DataError, match="do not overlap"):
        common_grid(pre, post)


def test_images_on_opposite_sides_of_the_earth_are_refused() -> None:
    pre = extent(UTM, north_up(500_000, 4_000_000, 0.5))
    post = extent(DEGREES, north_up(87, 0, 5e-6))
    with pytest.raises(DataError, match="do not overlap"):
        common_grid(pre, post)


def test_the_pixel_size_of_a_rotated_raster_is_the_root_of_its_pixel_area() -> None:
    rotated = Affine.translation(500_000, 4_000_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
    assert pixel_size(extent(UTM, rotated), UTM) == pytest.approx(0.5)
    assert pixel_size(extent(UTM, rotated), CRS.from_epsg(32616)) == pytest.approx(0.5, rel=0.01)


def test_window_is_clipped_to_the_grid() -> None:
    grid = Grid("EPSG:32615", 100, 200, 0.5, 40, 20)
    window = grid.window(90, 195, 105, 300)
    assert (window.col_off, window.row_off, window.width, window.height) == (0, 0, 10, 10)
    assert grid.window(1000, 0, 1001, 1).width == 0


def test_only_utm_zones_in_metres_are_utm() -> None:
    assert is_utm(UTM)
    assert is_utm(CRS.from_epsg(26915))
    assert not is_utm(DEGREES)
    assert not is_utm(CRS.from_epsg(3857))
