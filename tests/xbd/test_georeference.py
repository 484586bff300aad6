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
def test_the_georeference_is_recovered_from_one_building(epsg: int) -> None:
    georeference = fit_georeference(parse_polygons([wkt(RING)], ""), parse_polygons([wkt(degrees(RING, epsg))], ""))
    assert georeference is not None
    assert georeference.epsg == epsg
    assert (georeference.left, georeference.top, georeference.pixel) == pytest.approx((LEFT, TOP, PIXEL), abs=1e-3)
    assert georeference.residual < 1e-3


@given(st.floats(0.3, 3), st.floats(300_000, 700_000), st.floats(1_000_000, 8_000_000))
def test_any_north_up_georeference_is_recovered(pixel: float, left: float, top: float) -> None:
    back = pyproj.Transformer.from_crs(f"EPSG:{EPSG}", "OGC:CRS84", always_xy=True)
    rings = [square(0, 0, 40), square(900, 700, 60)]
    in_degrees = [wkt([back.transform(left + pixel * x, top - pixel * y) for x, y in ring]) for ring in rings]
    georeference = fit_georeference(parse_polygons([wkt(ring) for ring in rings], ""), parse_polygons(in_degrees, ""))
    assert georeference is not None
    assert (georeference.left, georeference.top, georeference.pixel) == pytest.approx((left, top, pixel), abs=1e-2)
    assert georeference.residual < 1e-3


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
    ids=["no building", "20 m off", "fewer vertices", "a point", "one point", "pole", "no degrees", "axes swapped"],
)
def test_inconsistent_degrees_give_no_georeference(xy: list, lng_lat: list) -> None:
    pixels, in_degrees = (np.array([shapely.Polygon(ring) for ring in rings], object) for rings in (xy, lng_lat))
    assert fit_georeference(pixels, in_degrees) is None


@pytest.mark.parametrize(
    ("longitude", "latitude", "epsg"),
    [(-180, 1, 32601), (179.9, 0, 32660), (180, 0, 32601), (-90.5, 14.4, 32615), (119.8, -0.9, 32750), (186, 1, 32602)],
)
def test_the_utm_zone_follows_from_longitude_and_latitude(longitude: float, latitude: float, epsg: int) -> None:
    assert utm_zone(longitude, latitude) == epsg
