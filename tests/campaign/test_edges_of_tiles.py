"""Predicted outlines at the edges of tiles, where those of two assessments differ."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from made_campaign import tile_at
from xview2_siamese_unet.campaign.acquisition import Acquisition
from xview2_siamese_unet.campaign.jobs import Task
from xview2_siamese_unet.campaign.merge import columns_of, merged_buildings
from xview2_siamese_unet.campaign.plan import Job
from xview2_siamese_unet.campaign.tiles import SIDE, Tile
from xview2_siamese_unet.inference.geopackage import write_geopackage
from xview2_siamese_unet.xbd.georeference import utm_transformer, utm_zone

LonLat = tuple[float, float]
Outlines = Mapping[Tile, Sequence[shapely.Polygon]]
"""Tile → outlines of its assessment, in metres from an origin."""
WEST, EAST = Tile(32636, 305, 1639), Tile(32636, 306, 1639)
CORNER = utm_transformer(32636).transform(EAST.column * SIDE, EAST.row * SIDE, direction="INVERSE")
"""Four tiles meet here, and two at `EDGE`."""
EDGE = utm_transformer(32636).transform(EAST.column * SIDE, (EAST.row + 0.5) * SIDE, direction="INVERSE")


def write_assessments(folder: Path, outlines: Outlines, origin: LonLat) -> list[Task]:
    """Write an assessment for each tile."""
    zone = utm_zone(*origin)
    tasks = []
    for tile, shapes in outlines.items():
        task = Task(Job(tile.name, tile, 1, None, Acquisition("post", None, ())), folder, {}, "")
        task.scene.mkdir(parents=True)
        east, north = utm_transformer(zone).transform(*origin)
        frame = gpd.GeoSeries(shapes, crs=zone).translate(east, north).to_crs(tile.zone).to_frame("geometry")
        rows = frame.assign(building_id=[f"b{number}" for number in range(len(frame))], status="assessed")
        write_geopackage(task.scene / "buildings.gpkg", [("buildings", rows)], {}, "2023-01-01T00:00:00.000Z")
        tasks.append(task)
    return tasks


def merge(tasks: Sequence[Task], origin: LonLat) -> gpd.GeoDataFrame:
    """Return the merged table in metres from an origin."""
    columns = columns_of((task.scene for task in tasks), footprints=False)
    table = pd.concat([part.buildings for part in merged_buildings(tasks, {}, None, columns) if len(part.buildings)])
    zone = utm_zone(*origin)
    metres = table.to_crs(zone).reset_index(drop=True)
    return metres.set_geometry(metres.translate(*(-side for side in utm_transformer(zone).transform(*origin))))


def owner_of(shape: shapely.Polygon, origin: LonLat) -> Tile:
    """Return the tile of a point inside an outline."""
    to_metres = utm_transformer(utm_zone(*origin))
    east, north = to_metres.transform(*origin)
    point = shape.representative_point()
    longitude, latitude = to_metres.transform(east + point.x, north + point.y, direction="INVERSE")
    return tile_at((longitude + 180) % 360 - 180, latitude)


def buildings_of(outlines: Outlines) -> list[list[tuple[Tile, shapely.Polygon]]]:
    """Group outlines into buildings: connected components of outlines that intersect."""
    left = [(tile, shape) for tile, shapes in outlines.items() for shape in shapes]
    buildings = []
    while left:
        building, left = left[:1], left[1:]
        while more := [each for each in left if any(each[1].intersects(known) for _, known in building)]:
            building += more
            left = [each for each in left if each not in more]
        buildings.append(building)
    return buildings


def jittered(box: Sequence[float], rng: np.random.Generator) -> shapely.Polygon:
    """Return the outline of a building with random errors of up to 1.5 m."""
    return shapely.box(*(np.array(box) + rng.uniform(-1.5, 1.5, 4)))


@pytest.mark.parametrize(
    ("origin", "tiles", "zones"), [(CORNER, 4, 1), ((36.0, 37.0), 2, 2), ((180.0, -17.0), 2, 2), ((36.0, 0.0), 4, 4)]
)
def test_each_building_at_the_edge_of_tiles_counts_once(tmp_path: Path, origin: LonLat, tiles: int, zones: int) -> None:
    rng = np.random.default_rng(5)
    around = [shapely.box(x, y, x + 1, y + 1) for x in (-60, 60) for y in (-60, 60)]
    all_tiles = sorted({owner_of(point, origin) for point in around})
    assert (len(all_tiles), len({tile.zone for tile in all_tiles})) == (tiles, zones)
    middles = [(x, y) for x in range(-39, 40, 13) for y in range(-39, 40, 13)]
    boxes = [(x - 4, y - 4, x + 4, y + 4) for x, y in middles]
    outlines = {tile: [jittered(box, rng) for box in boxes] for tile in all_tiles}
    alone = shapely.box(50, 50, 58, 58)  # outlined only by a tile that does not own it
    outlines[all_tiles[-1 if owner_of(alone, origin) != all_tiles[-1] else 0]].append(alone)
    beyond = shapely.box(-58, -58, -50, -50)  # outlined only by the tile that owns it
    outlines[owner_of(beyond, origin)].append(beyond)

    buildings = buildings_of(outlines)
    assert len(buildings) == len(boxes) + 2
    owned = [sum(owner_of(shape, origin) == tile for tile, shape in building) for building in buildings]
    assert 0 in owned[: len(boxes)]  # would be lost if each tile counted only what it owns
    assert max(owned) > 1  # would be counted twice
    table = merge(write_assessments(tmp_path, outlines, origin), origin)
    counts = [
        sum(any(row.symmetric_difference(shape).area < 0.1 for _, shape in building) for row in table.geometry)
        for building in buildings
    ]
    expected = [int(bool(own) or len(building) > 1) for own, building in zip(owned, buildings, strict=True)]
    assert counts == expected
    assert len(table) == sum(expected) == len(boxes) + 1


def test_a_building_that_each_tile_leaves_to_the_other_counts_once(tmp_path: Path) -> None:
    outlines = {WEST: [shapely.box(-3, 0, 5, 8)], EAST: [shapely.box(-5, 0, 3, 8)]}
    tasks = write_assessments(tmp_path, outlines, EDGE)
    columns = columns_of((task.scene for task in tasks), footprints=False)
    parts = {part.tile: part.buildings for part in merged_buildings(tasks, {}, None, columns)}
    assert (len(parts[WEST]), parts[EAST]["scene"].tolist()) == (0, [WEST.name])
    assert parts[EAST]["why"].tolist() == ["rank 1"]


def test_neighbours_that_touch_across_an_edge_are_two_buildings(tmp_path: Path) -> None:
    pair = [shapely.box(-8, 0, 0, 8), shapely.box(0, 8, 8, 16)]
    one_more = shapely.box(-6, 30, 2, 38)  # overlaps by 1 m with a neighbour in the other assessment
    outlines = {WEST: [*pair, one_more], EAST: [*pair, shapely.box(1, 30, 9, 38)]}
    table = merge(write_assessments(tmp_path, outlines, EDGE), EDGE)
    assert sorted(table.geometry.bounds["minx"].round().tolist()) == [-8, -6, 0, 1]


def test_a_block_and_its_buildings_are_not_both_counted(tmp_path: Path) -> None:
    houses = [shapely.box(x, 0, x + 8, 8) for x in range(2, 30, 9)]
    outlines = {WEST: [shapely.box(-60, 0, 40, 8)], EAST: houses}
    assert len(merge(write_assessments(tmp_path, outlines, EDGE), EDGE)) == 1


def test_the_order_of_jobs_does_not_matter(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    boxes = [(-4, y, 4, y + 8) for y in range(0, 90, 13)]
    tasks = write_assessments(tmp_path, {tile: [jittered(box, rng) for box in boxes] for tile in (WEST, EAST)}, EDGE)
    pd.testing.assert_frame_equal(merge(tasks, EDGE), merge(tasks[::-1], EDGE))


@pytest.mark.slow  # seconds
@pytest.mark.usefixtures("usual_garbage_collection")
def test_memory_does_not_grow_with_the_number_of_tiles(tmp_path: Path) -> None:
    """Buildings cover the tiles and their edges."""
    first = Tile(32635, 155, 1639)
    origin = utm_transformer(first.zone).transform(first.column * SIDE, (first.row + 0.5) * SIDE, direction="INVERSE")
    peaks = []
    for count in (4, 12):
        outlines = {}
        for number in range(count):
            xs, ys = np.linspace(-90, SIDE + 90, 20) + number * SIDE, np.linspace(-900, 900, 20)
            outlines[first._replace(column=first.column + number)] = [
                shapely.box(x, y, x + 8, y + 8) for x in xs.tolist() for y in ys.tolist()
            ]
        tasks = write_assessments(tmp_path / str(count), outlines, origin)
        columns = columns_of((task.scene for task in tasks), footprints=False)
        tracemalloc.start()
        assert sum(len(part.buildings) for part in merged_buildings(tasks, {}, None, columns)) > 300 * count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
