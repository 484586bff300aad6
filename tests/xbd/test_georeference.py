from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from tiny_scenes import EPSG, LEFT, PIXEL, TOP, degrees, square, wkt

from xview2_siamese_unet.xbd.georeference import fit_georeference, utm_zone
from xview2_siamese_unet.xbd.labels import parse_polygons

RING = square(100, 200, 50)


@pytest.mark.parametrize("epsg", [EPSG, 32617, 32750, 32601, 32660])
def test_the_grid_comes_back_from_one_building(epsg: int) -> None:
    place = fit_georeference(parse_polygons([wkt(RING)], ""), parse_polygons([wkt(degrees(RING, epsg))], ""))
    assert place is not None
    assert place.epsg == epsg
    assert (place.left, place.top, place.pixel) == pytest.approx((LEFT, TOP, PIXEL), abs=1e-3)
    assert place.residual < 1e-3


@given(st.floats(0.3, 3), st.floats(300_000, 700_000), st.floats(1_000_000, 8_000_000))
def test_any_north_up_grid_comes_back(pixel: float, left: float, top: float) -> None:
    back = pyproj.Transformer.from_crs(f"EPSG:{EPSG}", "OGC:CRS84", always_xy=True)
    rings = [square(0, 0, 40), square(900, 700, 60)]
    there = [wkt([back.transform(left + pixel * x, top - pixel * y) for x, y in ring]) for ring in rings]
    place = fit_georeference(parse_polygons([wkt(ring) for ring in rings], ""), parse_polygons(there, ""))
    assert place is not None
    assert (place.left, place.top, place.pixel) == pytest.approx((left, top, pixel), abs=1e-2)
    assert place.residual < 1e-3


def moved(ring: list[tuple[float, float]], metres: float) -> list[tuple[float, float]]:
    (longitude, latitude), *rest = degrees(ring)
    return [(longitude, latitude + metres / 111_000), *rest]


@pytest.mark.parametrize(
    ("xy", "lng_lat"),
    [
        ([], []),
        ([RING], [moved(RING, 20)]),
        ([RING], [degrees(RING)[1:-1] + degrees(RING)[1:2]]),
        ([[(5, 5)] * 4], [[(1, 1)] * 4]),
        ([RING], [[(1, 1)] * 5]),
        ([RING], [square(179.9, 89, 0.5)]),
        ([RING], [square(1e6, 1e6, 0.5)]),
        ([RING], [[(y, x) for x, y in degrees(RING)]]),
    ],
    ids=["no building", "20 m off", "fewer vertices", "a point", "one place", "pole", "no degrees", "axes swapped"],
)
def test_no_place_is_better_than_a_wrong_one(xy: list, lng_lat: list) -> None:
    pixels, there = (np.array([shapely.Polygon(ring) for ring in rings], object) for rings in (xy, lng_lat))
    assert fit_georeference(pixels, there) is None


@pytest.mark.parametrize(
    ("longitude", "latitude", "epsg"),
    [(-180, 1, 32601), (179.9, 0, 32660), (180, 0, 32601), (-90.5, 14.4, 32615), (119.8, -0.9, 32750), (186, 1, 32602)],
)
def test_zones(longitude: float, latitude: float, epsg: int) -> None:
    assert utm_zone(longitude, latitude) == epsg
