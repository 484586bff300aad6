from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import rasterize

from xview2_siamese_unet.damage import OVERLAP_PRIORITY, Damage
from xview2_siamese_unet.raster.rasterize import rasterize_buildings, rasterize_damage

SHAPE = (24, 32)
# Odd eighths: no vertex lies in a row of pixel centres, and binary fractions keep the arithmetic exact.
COORDINATE = st.integers(-20, 150).map(lambda n: (2 * n + 1) / 8)
RING = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=9)
CODES = st.sampled_from(OVERLAP_PRIORITY)


def polygons(rings: Sequence[object]) -> np.ndarray:
    array = np.empty(len(rings), object)
    array[:] = [ring if isinstance(ring, shapely.Geometry) else shapely.Polygon(ring) for ring in rings]
    return array


def even_odd(ring: list[tuple[float, float]], shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose centre is inside, by the crossing number algorithm."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = np.zeros(shape, bool)
    for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if y1 != y2:
            inside ^= ((y1 > y) != (y2 > y)) & (x <= (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside


@given(st.lists(st.tuples(RING, CODES), max_size=6))
def test_each_pixel_has_the_first_class_in_priority_that_contains_its_centre(drawn: list) -> None:
    expected = np.zeros(SHAPE, np.uint8)
    for code in reversed(OVERLAP_PRIORITY):
        for ring in (ring for ring, ring_code in drawn if ring_code is code):
            expected[even_odd(ring, SHAPE)] = code
    burnt = rasterize_damage(polygons([ring for ring, _ in drawn]), [code for _, code in drawn], SHAPE, "centre")
    assert burnt.dtype == np.uint8
    np.testing.assert_array_equal(burnt, expected)


@given(st.lists(RING, max_size=6))
def test_the_building_mask_is_the_union_of_all_polygons(rings: list) -> None:
    expected = np.any([np.zeros(SHAPE, bool), *(even_odd(ring, SHAPE) for ring in rings)], axis=0)
    np.testing.assert_array_equal(rasterize_buildings(polygons(rings), SHAPE, "centre"), expected)


POINTS = st.tuples(st.floats(-5, 40), st.floats(-5, 40))


@given(st.lists(st.lists(POINTS, min_size=3, max_size=8), min_size=1, max_size=5))
def test_the_mask_equals_that_of_gdal(rings: list) -> None:
    shapes = [(shapely.Polygon(ring), 1) for ring in rings]
    # GDAL also paints level edges that run exactly through pixel centres, so these cases are skipped.
    if any(y % 1 == 0.5 for ring in rings for _, y in ring):
        return
    expected = rasterize(shapes, out_shape=SHAPE, dtype="uint8")
    np.testing.assert_array_equal(rasterize_buildings(polygons(rings), SHAPE, "centre"), expected)


@pytest.mark.parametrize("rule", ["centre", "outline"])
def test_holes_and_several_parts_are_burnt(rule: str) -> None:
    ring = shapely.Polygon(shapely.box(2, 2, 20, 20).exterior, [shapely.box(6, 6, 16, 16).exterior])
    parts = shapely.MultiPolygon([ring, shapely.box(8, 8, 12, 12)])
    burnt = rasterize_buildings(polygons([parts]), SHAPE, rule)
    assert burnt[10, 10] == 1
    assert burnt[14, 14] == 0
    assert burnt[4, 4] == 1
    assert burnt[22, 22] == 0


def test_the_outline_rule_adds_touched_pixels() -> None:
    touched = rasterize_damage(polygons([shapely.box(2.6, 2.6, 5.4, 5.4)]), [Damage.DESTROYED], SHAPE, "outline")
    centred = rasterize_damage(polygons([shapely.box(2.6, 2.6, 5.4, 5.4)]), [Damage.DESTROYED], SHAPE, "centre")
    assert (touched[2:6, 2:6] == Damage.DESTROYED).all()
    assert np.count_nonzero(touched) == 16
    assert np.count_nonzero(centred) == 4


@pytest.mark.parametrize("rule", ["centre", "outline"])
def test_no_polygon_gives_background(rule: str) -> None:
    assert not rasterize_damage(polygons([]), [], SHAPE, rule).any()
    assert rasterize_buildings(polygons([]), SHAPE, rule).shape == SHAPE


@pytest.mark.parametrize("rule", ["centre", "outline"])
def test_polygons_are_clipped_at_the_edge_of_the_image(rule: str) -> None:
    assert rasterize_buildings(polygons([shapely.box(-9e6, -9e6, 9e6, 9e6)]), SHAPE, rule).all()
    assert not rasterize_buildings(polygons([shapely.box(50, 50, 60, 60)]), SHAPE, rule).any()
    corner = rasterize_buildings(polygons([shapely.box(-1.4e-05, -1, 1, 1)]), SHAPE, rule)
    assert np.argwhere(corner).tolist() == [[0, 0]]


@pytest.mark.parametrize("rule", ["centre", "outline"])
def test_overlapping_classes_do_not_depend_on_their_order_in_the_label(rule: str) -> None:
    for first, second in pairwise(OVERLAP_PRIORITY):
        for codes in ([first, second], [second, first]):
            burnt = rasterize_damage(polygons([shapely.box(1, 1, 9, 9)] * 2), codes, SHAPE, rule)
            assert set(np.unique(burnt)) == {0, first}
