"""Buildings: outlines, class votes and summary numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from shapely.affinity import translate

from image_pair import pair_of
from xview2_siamese_unet.config.inference import BuildingParams
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.buildings import (
    SHARES,
    add_shift,
    assess_buildings,
    building_outlines,
    geodesic_areas,
    model_buildings,
    valid_area,
)
from xview2_siamese_unet.inference.footprints import read_footprint_layer, read_zone_layer
from xview2_siamese_unet.inference.summary import assign_zones, summary_numbers, summary_table, summary_warnings
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.reader import ShiftField

Write = Callable[..., Path]
GRID = Grid("EPSG:32615", 500_000, 4_000_000, 0.5, 200, 100)


def box(column: float, row: float, width: float = 20, height: float = 10) -> shapely.Polygon:
    """Return a rectangle, given in pixels of GRID."""
    left, top = GRID.left + column * GRID.pixel, GRID.top - row * GRID.pixel
    return shapely.box(left, top - height * GRID.pixel, left + width * GRID.pixel, top)


def frame(*shapes: shapely.Geometry) -> gpd.GeoDataFrame:
    ids = [f"b{number}" for number in range(len(shapes))]
    return gpd.GeoDataFrame({"building_id": ids, "footprint_source": "test"}, geometry=list(shapes), crs=GRID.crs)


@pytest.fixture
def probability(write_raster: Write) -> Path:
    """Left third: destroyed with full confidence; middle: no-damage or minor-damage; right: no data."""
    shares = np.zeros((100, 200, 5), np.uint8)
    shares[:, :70, 4] = 254
    shares[:, 70:140, 1:3] = 100
    shares[:, 70:140, 0] = 54
    shares[:, 70:140, 2] += 20
    shares[:, 70:140, 0] -= 20
    shares[:, 140:] = 255
    return write_raster("probability.tif", shares, nodata=255)


def test_vote_weighs_pixels_by_coverage(probability: Path) -> None:
    shapes = [box(5, 5), box(100, 50), box(60.5, 20, 20, 10)]
    assessed = assess_buildings(frame(*shapes), probability, GRID, BuildingParams())
    assert assessed["damage"].tolist() == [4, 2, 4]
    assert assessed["damage_label"].tolist() == ["destroyed", "minor-damage", "destroyed"]
    np.testing.assert_allclose(assessed[list(SHARES)].sum(axis=1), 1, atol=1e-6)
    assert assessed["confidence"][1] == pytest.approx(120 / 220, abs=1e-4)
    mass = np.array([0, 100, 120, 0, 254 * 9.5 / 10.5])[1:]
    assert assessed["p_destroyed"][2] == pytest.approx(mass[3] / mass.sum(), abs=1e-4)


def test_buildings_that_cannot_be_assessed_are_null_with_a_reason(probability: Path) -> None:
    shapes = [box(150, 10), box(120, 10, 60, 10), box(500, 10), shapely.Polygon(), box(130, 40, 15, 10)]
    assessed = assess_buildings(frame(*shapes), probability, GRID, BuildingParams())
    assert assessed["building_id"].tolist() == ["b0", "b1", "b2", "b3", "b4"]
    assert assessed["damage"].isna().tolist() == [True, True, True, True, False]
    assert assessed["status"].tolist() == ["not_assessed"] * 4 + ["assessed"]
    assert assessed["reason"].tolist()[:4] == [
        "no data",
        "only 33% of it is visible in both images",
        "outside the overlap of the images",
        "no polygon",
    ]
    assert assessed["visible_fraction"].tolist() == pytest.approx([0, 1 / 3, 0, 0, 2 / 3], abs=1e-3)


def test_a_low_confidence_leads_to_an_abstention(probability: Path, write_raster: Write) -> None:
    assessed = assess_buildings(frame(box(100, 50)), probability, GRID, BuildingParams(abstain_below=0.6))
    assert assessed["status"].tolist() == ["abstained"]
    assert assessed["damage"].isna().all()
    assert assessed["confidence"][0] == pytest.approx(120 / 220, abs=1e-4)
    background = np.zeros((100, 200, 5), np.uint8)
    background[..., 0] = 254
    empty = write_raster("background.tif", background, nodata=255)
    assessed = assess_buildings(frame(box(100, 50)), empty, GRID, BuildingParams())
    assert assessed["reason"].tolist() == ["the model predicts no building here"]


@pytest.mark.parametrize("side", [16, 37, 200])
def test_a_building_over_block_borders_appears_once(write_raster: Write, side: int) -> None:
    codes = np.zeros((100, 200), np.uint8)
    codes[10:60, 20:90] = 3
    codes[30:40, 40:60] = 0
    codes[70:80, 100:130] = 1
    codes[75:85, 120:150] = 4  # touches the one before: one building
    codes[90:92, 0:2] = 2  # 1 m²
    codes[5:8, 180:200] = 255
    path = write_raster("damage.tif", codes, nodata=255)
    polygons, small = building_outlines(path, min_area=2, side=side)
    whole, _ = building_outlines(path, min_area=2)
    assert small == 1
    assert shapely.equals_exact(polygons, whole, 1e-9).all()
    expected = [(50 * 70 - 10 * 20) / 4, (10 * 30 + 10 * 30 - 5 * 10) / 4]
    assert shapely.area(polygons).tolist() == pytest.approx(expected)
    ids = model_buildings(polygons, GRID)["building_id"]
    assert ids.is_unique
    assert ids.tolist() == model_buildings(whole, GRID)["building_id"].tolist()


@pytest.mark.parametrize("seed", range(6))
def test_a_building_across_block_borders_is_one_for_any_pixel_size(write_raster: Write, seed: int) -> None:
    random = np.random.default_rng(seed)
    pixel, east = random.uniform(0.25, 0.8), random.uniform(3e5, 7e5)
    codes = np.zeros((40, 700), np.uint8)
    for border in range(64, 700, 64):
        codes[10:30, border - 15 : border + 15] = 1
    path = write_raster("damage.tif", codes, Affine(pixel, 0, east, 0, -pixel, 4_000_000))
    whole, blocked = (building_outlines(path, min_area=0, side=side)[0] for side in (2048, 64))
    assert len(whole) == 10
    assert shapely.equals_exact(blocked, whole, 1e-9).all()


def test_a_scene_without_buildings_gives_an_empty_layer(write_raster: Write, probability: Path) -> None:
    path = write_raster("damage.tif", np.zeros((100, 200), np.uint8), nodata=255)
    polygons, _ = building_outlines(path, min_area=0)
    assessed = assess_buildings(model_buildings(polygons, GRID), probability, GRID, BuildingParams())
    assert len(assessed) == 0
    assert summary_numbers(summary_table(assessed))["all"]["buildings"] == 0
    zones = gpd.GeoDataFrame({"name": ["A"]}, geometry=[shapely.box(-94, 36, -93, 37)], crs="OGC:CRS84")
    assert summary_table(assessed, assign_zones(assessed, zones))["buildings"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("epsg", [32615, 32633, 3857])
def test_areas_are_those_of_the_ellipsoid(epsg: int) -> None:
    one = gpd.GeoDataFrame(geometry=[box(0, 0, 40, 40)], crs="EPSG:32615")
    assert geodesic_areas(one.to_crs(epsg))[0] == pytest.approx(400, rel=0.005)


def test_invalid_footprints_are_repaired_or_not_assessed(tmp_path: Path, probability: Path) -> None:
    whole, square = box(5, 5), box(100, 50)
    west, south, east, north = whole.bounds
    spike = shapely.Polygon([*whole.exterior.coords[:2], (east, north + 5), *whole.exterior.coords[1:]])
    flat = shapely.Polygon([(west, north), (east, north), (west + 1, north), (west, north)])
    point = shapely.Polygon([(west, north)] * 4)
    twice = shapely.MultiPolygon([whole, shapely.box(west, south, east - 2, north)])
    nowhere = shapely.Polygon([(west, north), (east, np.inf), (east, south)])
    given = gpd.GeoDataFrame(geometry=[spike, flat, point, twice, nowhere, square], crs=GRID.crs)
    given.to_parquet(tmp_path / "given.parquet")
    assessed = assess_buildings(
        read_footprint_layer(tmp_path / "given.parquet", GRID.crs, None).frame, probability, GRID, BuildingParams()
    )
    assert shapely.area(assessed.geometry).tolist() == pytest.approx([50, 0, 0, 50, 0, 50])
    assert assessed["damage"].isna().tolist() == [False, True, True, False, True, False]
    assert assessed["reason"].dropna().to_dict() == {1: "no polygon", 2: "no polygon", 4: "no polygon"}
    assert assessed.geometry.iloc[5].wkt == square.wkt  # valid footprints are unchanged


def test_numbers_add_up_and_count_each_building_once(probability: Path) -> None:
    shapes = [box(5, 5), box(100, 50), box(150, 10), translate(box(5, 5), 1000, 0), shapely.Polygon()]
    table = summary_table(assess_buildings(frame(*shapes), probability, GRID, BuildingParams()))
    numbers = [column for column in table if column not in ("level", "name") and "share" not in column]
    whole, cells = table.iloc[0], table.iloc[1:]
    assert whole["buildings"] == 5
    assert whole[numbers].tolist() == cells[numbers].sum().tolist()
    assert whole[["destroyed", "minor-damage", "not_assessed"]].tolist() == [1, 1, 3]
    assert whole["damaged_share_of_all"] == 2 / 5
    assert whole["damaged_share_of_assessed"] == 1
    assert set(cells["name"]) == {"E500000N3999500", "E501000N3999500", "nowhere"}


def test_zones_count_each_building_once_and_those_outside(probability: Path, tmp_path: Path) -> None:
    shapes = [box(5, 5), box(100, 50), box(150, 10), shapely.Polygon()]
    left, right = (
        shapely.box(499_990, 3_999_900, 500_040, 4_000_010),
        shapely.box(500_000, 3_999_900, 500_060, 4_000_010),
    )
    zones = gpd.GeoDataFrame({"Nom": ["A", "B"]}, geometry=[left, right], crs=GRID.crs)
    zones.to_file(tmp_path / "zones.gpkg", engine="pyogrio")
    given = read_zone_layer(tmp_path / "zones.gpkg", "Nom").frame
    assessed = assess_buildings(frame(*shapes), probability, GRID, BuildingParams())
    zoned = assign_zones(assessed, given)
    table = summary_table(assessed, zoned)
    rows = table[table["level"] == "zone"].set_index("name")
    assert rows["buildings"].to_dict() == {"A": 1, "B": 1, "outside of all zones": 2}
    assert rows["not_assessed"].tolist() == [0, 0, 2]
    warnings = summary_warnings(assessed, zoned)
    assert warnings == [
        "2 of 4 buildings were not assessed: 1 no data, 1 no polygon",
        "1 building lies in more than one zone and counts in the first of them in the file",
    ]
    numbers = summary_numbers(table, warnings)
    assert numbers["warnings"] == warnings
    assert [row["name"] for row in numbers["zones"]] == ["A", "B", "outside of all zones"]
    kinds = {row["class"]: row for row in numbers["classes"]}
    assert kinds["not_assessed"] == {
        "class": "not_assessed",
        "buildings": 2,
        "share_of_all": 0.5,
        "share_of_assessed": None,
    }
    assert (kinds["destroyed"]["share_of_all"], kinds["destroyed"]["share_of_assessed"]) == (0.25, 0.5)
    assert sum(row["share_of_all"] for row in numbers["classes"]) == 1
    numbered = read_zone_layer(tmp_path / "zones.gpkg", None)
    assert numbered.frame["name"].tolist() == ["1", "2"]
    assert "row numbers" in numbered.warnings[0]
    with pytest.raises(DataError, match=r"zone_column.* no column 'Name'.*Nom"):
        read_zone_layer(tmp_path / "zones.gpkg", "Name")


def strip(column: float, width: float) -> shapely.Polygon:
    return box(column, 0, width, 100)


def test_rows_of_one_name_are_one_zone_in_the_order_of_first_appearance(probability: Path, tmp_path: Path) -> None:
    """Each house is 20 px wide, so that the point inside lies 10 px from its left edge."""
    houses = frame(*(box(column, 5) for column in (0, 25, 50, 75, 100, 150)))
    names = ["Centro", "Norte", "Centro", "Norte", "Sur", None, "Centro"]
    shapes = [strip(0, 20), strip(50, 20), strip(25, 20), strip(75, 45), strip(100, 20), strip(150, 20), strip(100, 20)]
    zones = gpd.GeoDataFrame({"name": names, "id": range(7)}, geometry=shapes, crs=GRID.crs)
    zones.to_file(tmp_path / "zones.gpkg", engine="pyogrio")
    for column in (None, "name"):
        given = read_zone_layer(tmp_path / "zones.gpkg", column)
        assert any("5 of 7 rows share 2 of the names; " in each for each in given.warnings)
        assert any("1 of 7 rows have no value" in each for each in given.warnings)
        assessed = assess_buildings(houses, probability, GRID, BuildingParams())
        zoned = assign_zones(assessed, given.frame)
        table = summary_table(assessed, zoned)
        rows = table[table["level"] == "zone"].set_index("name")["buildings"]
        assert list(rows.items()) == [("Centro", 3), ("Norte", 2), ("Sur", 0), ("", 1), ("outside of all zones", 0)]
        assert "1 building lies in more than one zone" in summary_warnings(assessed, zoned)[-1]


def test_zones_may_have_numbers_as_names_and_no_geometry(probability: Path, tmp_path: Path) -> None:
    zones = gpd.GeoDataFrame({"name": [7.0, 8.0, 7.0]}, geometry=[strip(0, 20), None, strip(50, 20)], crs=GRID.crs)
    zones.to_parquet(tmp_path / "zones.parquet")
    given = read_zone_layer(tmp_path / "zones.parquet", None)
    assert any("1 of 3 rows hold no polygon" in warning for warning in given.warnings)
    assessed = assess_buildings(frame(box(0, 5), box(50, 5), box(100, 5)), probability, GRID, BuildingParams())
    table = summary_table(assessed, assign_zones(assessed, given.frame))
    rows = table[table["level"] == "zone"].set_index("name")["buildings"]
    assert rows.to_dict() == {"7": 2, "8": 0, "outside of all zones": 1}


def test_the_valid_area_covers_pixels_with_data(write_raster: Write) -> None:
    codes = np.full((100, 200), 255, np.uint8)
    codes[20:60, 10:110] = 0
    path = write_raster("damage.tif", codes, nodata=255)
    assert valid_area(path, GRID).area.sum() == pytest.approx(40 * 100 / 4)
    with rasterio.open(path) as raster:
        assert raster.transform == Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)


def test_the_shift_of_a_building_includes_the_local_shift(write_raster: Write) -> None:
    image = np.full((40, 60, 3), 90, np.uint8)
    pair = pair_of(write_raster("pre.tif", image), write_raster("post.tif", image)).pair
    field = ShiftField((40.0, 60.0), np.full((2, 2), 3.0), np.full((2, 2), 4.0))
    outlines = gpd.GeoDataFrame(geometry=[shapely.box(500_002, 3_999_990, 500_006, 3_999_995)], crs=pair.grid.crs)
    assert add_shift(outlines, replace(pair, shift=(0, 0), field=field))["shift_px"].tolist() == [5.0]
