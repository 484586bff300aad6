from __future__ import annotations

import math

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import box

from made_campaign import tile_at
from xview2_siamese_unet.campaign.tiles import SIDE, Tile, in_zone, owners, parse_tile, tiles_over, zones_of


@given(st.integers(-1800, 1799), st.integers(-799, 839), st.integers(0, 99))
def test_a_point_lies_in_one_tile_of_its_zone(tenths_east: int, tenths_north: int, parts: int) -> None:
    longitude, latitude = tenths_east / 10 + parts / 1000, tenths_north / 10 + parts / 1000
    (tile,) = owners([shapely.Point(longitude, latitude)])
    assert tile is not None
    assert tile.zone % 100 == math.floor(longitude / 6) + 31
    assert (tile.zone < 32700) == (latitude >= 0)
    east, north = pyproj.Transformer.from_crs(4326, tile.zone, always_xy=True).transform(longitude, latitude)
    assert 0 <= east - tile.column * SIDE < SIDE
    assert 0 <= north - tile.row * SIDE < SIDE
    assert parse_tile(tile.name) == tile


@pytest.mark.parametrize(
    "name", ["", "32661_0001_0001", "32600_0001_0001", "32637_1", "../32637_0001_0001", "4326_0001_0001"]
)
def test_malformed_names_are_not_tiles(name: str) -> None:
    assert parse_tile(name) is None


@pytest.mark.parametrize(
    ("shape", "zones"),
    [
        (box(35.9, 37, 36.1, 37.1), [32636, 32637]),
        (box(35.9, -0.1, 36.1, 0.1), [32636, 32637, 32736, 32737]),
        (box(179.9, -16, 180.1, -15.9), [32701, 32760]),
        (shapely.union_all([box(179.9, -16, 180, -15.9), box(-180, -16, -179.9, -15.9)]), [32701, 32760]),
        (box(10, 50, 23, 51), [32632, 32633, 32634]),
    ],
)
def test_the_parts_in_all_zones_add_up_to_the_whole(shape: shapely.Geometry, zones: list[int]) -> None:
    parts = {zone: in_zone(shape, zone) for zone in zones_of([shape])}
    assert [zone for zone, part in parts.items() if part.area > 0] == zones
    geod = pyproj.Geod(ellps="WGS84")
    back = [
        shapely.transform(
            part,
            lambda xy, z=zone: np.column_stack(pyproj.Transformer.from_crs(z, 4326, always_xy=True).transform(*xy.T)),
        )
        for zone, part in parts.items()
        if part.area > 0
    ]
    area = sum(abs(geod.geometry_area_perimeter(part)[0]) for part in back)
    whole = sum(
        abs(geod.geometry_area_perimeter(shapely.segmentize(part, 0.005))[0]) for part in shapely.get_parts(shape)
    )
    assert area == pytest.approx(whole, rel=1e-5)


def test_tiles_over_a_shape_include_those_of_its_points() -> None:
    shape = in_zone(box(35.99, 37.0, 36.06, 37.05), 32637)
    tiles = tiles_over([shape, shapely.Polygon()], 32637)
    rng = np.random.default_rng(1)
    points = rng.uniform((36.0, 37.0), (36.06, 37.05), (500, 2))
    assert {tile_at(*point) for point in points.tolist()} <= {*tiles}
    assert all(tile.box.intersects(shape.envelope) for tile in tiles)
    assert Tile(32637, 100, 200).box.bounds == (250_000, 500_000, 252_500, 502_500)


def test_owners_are_the_tiles_of_points_inside() -> None:
    rng = np.random.default_rng(3)
    points = np.column_stack([rng.uniform(-180, 180, 200), rng.uniform(-75, 80, 200)])
    shapes = shapely.buffer(shapely.points(points), 1e-4, cap_style="square")
    assert owners([*shapes, shapely.Polygon()]) == [*(tile_at(*point) for point in points.tolist()), None]


def test_a_building_across_180_degrees_has_one_owner() -> None:
    jumps = shapely.Polygon([(179.9999, 0.1), (-179.9999, 0.1), (-179.9999, 0.1001), (179.9999, 0.1001)])
    (owner,) = owners([jumps])
    assert owner in {tile_at(179.99995, 0.10005), tile_at(-179.99995, 0.10005), tile_at(-180, 0.10005)}
