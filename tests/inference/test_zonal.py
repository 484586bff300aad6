"""Zonal statistics of buildings against an exact computation with shapely, on rasters written as in an assessment."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exact_zonal import exact_zonal
from xview2_siamese_unet.config.inference import BuildingParams
from xview2_siamese_unet.inference.buildings import ABSTAINED, ASSESSED, NOT_ASSESSED, SHARES, assess_buildings
from xview2_siamese_unet.raster.cog import RasterContent, write_cog
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.io import BANDS, LEVELS, NO_DATA

SYSTEMS = ("EPSG:32614", "EPSG:32760", "EPSG:3857")
HEIGHT, WIDTH = 60, 540  # more columns than a block of the file


def write_probability(path: Path, grid: Grid, values: np.ndarray, side: int) -> Path:
    """Write probabilities (5, h, w) in blocks of `side` pixels, without blocks that have no data."""
    blocks = (
        (slice(top, top + block.shape[1]), slice(left, left + block.shape[2]), block)
        for top in range(0, grid.height, side)
        for left in range(0, grid.width, side)
        if (block := values[:, top : top + side, left : left + side]).min() < NO_DATA
    )
    write_cog(path, RasterContent(grid, BANDS, blocks, scale=1 / LEVELS))
    return path


def random_scene(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return probabilities (5, h, w) in steps of 1/254 with holes: single pixels, a rectangle and a diagonal."""
    shares = random.dirichlet(np.ones(5), (height, width)) * LEVELS
    values = np.moveaxis(np.rint(shares), 2, 0).astype(np.uint8)
    rows, columns = np.mgrid[:height, :width]
    hidden = random.random((height, width)) < random.choice([0, 0.2])
    hidden |= (columns > random.integers(width)) & (rows > random.integers(height))
    hidden |= rows * width > columns * height * random.uniform(1, 3)
    values[:, hidden] = NO_DATA
    return values


def random_footprints(random: np.random.Generator, grid: Grid, count: int) -> gpd.GeoDataFrame:
    """Return rotated rectangles, L shapes, rings and pairs of parts, some across an edge of the grid."""
    shapes = []
    for number in range(count):
        column, row = random.uniform(-4, grid.width + 4), random.uniform(-4, grid.height + 4)
        if number % 5 == 0:
            column = 512 + random.uniform(-3, 3)  # across a seam of the file
        width, height = random.uniform(0.4, 14, 2)
        shape = shapely.box(column - width, row - height, column + width, row + height)
        if number % 4 == 1:
            shape = shape.difference(shapely.box(column, row, column + width, row + height))
        if number % 4 == 2:
            shape = shape.difference(shapely.box(column - width / 2, row - height / 2, column + width / 2, row))
        if number % 4 == 3:
            shape = shapely.MultiPolygon([shape, shapely.box(column + width + 1, row, column + width + 3, row + 2)])
        shapes.append(shapely.affinity.rotate(shape, random.uniform(0, 90)))
    placed = shapely.transform(
        np.array(shapes), lambda xy: np.array([grid.left, grid.top]) + xy * [grid.pixel, -grid.pixel]
    )
    return footprints(list(placed), grid)


def footprints(shapes: list[shapely.Geometry], grid: Grid) -> gpd.GeoDataFrame:
    ids = [str(number) for number in range(len(shapes))]
    return gpd.GeoDataFrame({"building_id": ids, "footprint_source": "test"}, geometry=shapes, crs=grid.crs)


@pytest.mark.slow
@given(
    pixel=st.floats(0.1, 3),
    left=st.floats(2e5, 8e5),
    top=st.floats(1e5, 9e6),
    side=st.sampled_from([64, 96, 512, 640]),
    seed=st.integers(0, 2**32 - 1),
)
@example(pixel=0.3, left=486000.0, top=2148000.0, side=512, seed=0)
@example(pixel=0.305, left=486000.0, top=2148000.0, side=512, seed=1)
@example(pixel=0.46, left=486000.0, top=2148000.0, side=512, seed=2)
@example(pixel=0.5, left=486000.0, top=2148000.0, side=512, seed=3)
@example(pixel=1.2, left=486000.0, top=2148000.0, side=512, seed=4)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_zonal_statistic_is_exact(
    tmp_path: Path, pixel: float, left: float, top: float, side: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    grid = Grid(str(random.choice(SYSTEMS)), left, top, pixel, WIDTH, HEIGHT)
    values = random_scene(random, HEIGHT, WIDTH)
    path = write_probability(tmp_path / "probability.tif", grid, values, side)
    polygons = random_footprints(random, grid, 20)
    assessed = assess_buildings(polygons, path, grid, BuildingParams())
    for row, shape in zip(assessed.itertuples(), polygons.geometry, strict=True):
        visible, means = exact_zonal(shape, grid, values)
        assert row.visible_fraction == pytest.approx(visible, abs=1e-4)
        if visible < 1e-6:
            assert row.status == NOT_ASSESSED
            continue
        assert row.built_fraction == pytest.approx(1 - means[0], abs=1e-4)
        assert (row.status == NOT_ASSESSED) == (visible < 0.5)
        if row.status == ASSESSED:
            shares = means[1:] / means[1:].sum()
            assert [getattr(row, name) for name in SHARES] == pytest.approx(shares, abs=1e-6)
            assert row.damage == shares.argmax() + 1


@pytest.mark.parametrize("pixel", [0.3, 0.5])
def test_pixels_without_data_have_no_vote(tmp_path: Path, pixel: float) -> None:
    grid = Grid("EPSG:32614", 486000.0, 2148000.0, pixel, 40, 20)
    values = np.zeros((5, 20, 40), np.uint8)
    values[4] = LEVELS  # destroyed in the west
    values[:, :, 20:] = NO_DATA
    path = write_probability(tmp_path / "probability.tif", grid, values, 64)
    west, across, east = (
        shapely.box(grid.left + (c - 5) * pixel, grid.top - 15 * pixel, grid.left + (c + 5) * pixel, grid.top - pixel)
        for c in (10, 20, 30)
    )
    polygons = footprints([west, across, east], grid)
    assessed = assess_buildings(polygons, path, grid, BuildingParams(min_visible=0.4))
    assert assessed["visible_fraction"].tolist() == [1, 0.5, 0]
    assert assessed["built_fraction"].tolist()[:2] == [1, 1]
    assert assessed["p_destroyed"].tolist()[:2] == [1, 1]
    assert assessed["status"].tolist() == [ASSESSED, ASSESSED, NOT_ASSESSED]
    assert assessed["reason"].dropna().to_dict() == {2: "no data"}


def test_a_footprint_on_bare_ground_leads_to_an_abstention(tmp_path: Path) -> None:
    grid = Grid("EPSG:32614", 486000.0, 2148000.0, 0.5, 40, 20)
    values = np.zeros((5, 20, 40), np.uint8)
    values[0, :, :20] = LEVELS  # certain background in the west, a building with 0.872 in the east
    values[0, :, 20:] = round(0.128 * LEVELS)
    values[1, :, 20:] = LEVELS - round(0.128 * LEVELS)
    path = write_probability(tmp_path / "probability.tif", grid, values, 64)
    boxes = [shapely.box(grid.left + x, grid.top - 8, grid.left + x + 5, grid.top - 2) for x in (2, 12)]
    polygons = gpd.GeoDataFrame(
        {"building_id": ["field", "house"], "footprint_source": "t"}, geometry=boxes, crs=grid.crs
    )
    assessed = assess_buildings(polygons, path, grid, BuildingParams())
    assert assessed["built_fraction"].tolist() == pytest.approx([0, 0.872], abs=1 / LEVELS)
    assert assessed["status"].tolist() == [ABSTAINED, ASSESSED]


def test_the_reason_names_the_area_of_interest(tmp_path: Path) -> None:
    grid = Grid("EPSG:32614", 486000.0, 2148000.0, 0.3, 40, 40)
    rows, columns = np.mgrid[:40, :40]
    values = np.zeros((5, 40, 40), np.uint8)
    values[1] = LEVELS
    values[:, columns > rows] = NO_DATA  # the area of interest is the half below the diagonal
    left, bottom, right, top = grid.bounds
    aoi = shapely.Polygon([(left, top), (left, bottom), (right, bottom)])
    path = write_probability(tmp_path / "probability.tif", grid, values, 64)
    inside, across, outside = (
        shapely.box(left + x, bottom + y, left + x + 3, bottom + y + 3) for x, y in ((0, 0), (7, 3), (8, 8))
    )
    assessed = assess_buildings(footprints([inside, across, outside], grid), path, grid, BuildingParams(), aoi)
    assert assessed["status"].tolist() == [ASSESSED, NOT_ASSESSED, NOT_ASSESSED]
    assert assessed["visible_fraction"].tolist() == pytest.approx(
        [1, exact_zonal(across, grid, values)[0], 0], abs=1e-4
    )
    assert "area of interest" in assessed["reason"][1]
    assert assessed["reason"][2] == "outside the area of interest"
