"""Footprints of public data sets: only rows around the images are read, with their licence and date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference import vector_formats
from xview2_siamese_unet.inference.around_images import around
from xview2_siamese_unet.inference.footprint_sources import describe_sources, sources_text
from xview2_siamese_unet.inference.footprints import UserLayer, read_footprint_layer
from xview2_siamese_unet.raster.grid import Grid

ROWS = 4000
GRID = Grid("EPSG:32615", 500_000, 4_000_000, 0.5, 400, 400)  # 200 m, west of the middle of 93° W, 36.1° N
PACIFIC = Grid("EPSG:32760", 817_300, 8_000_000, 0.5, 800, 800)  # Taveuni in Fiji


@pytest.fixture(autouse=True)
def small_files_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat files of more than a hundred rows as large."""
    monkeypatch.setattr(vector_formats, "MOST_ROWS", 100)


def country(path: Path, crs: str = "OGC:CRS84", **options: object) -> Path:
    """Write houses along a road, 50 m apart, in the layout of Overture: ids, sources, bounds."""
    left = 450_000 + 25.0 * np.arange(ROWS)
    shapes = gpd.GeoSeries(shapely.box(left, 3_999_950, left + 10, 3_999_960), crs=GRID.crs).to_crs(crs)
    sources = [overture_source(row) for row in range(ROWS)]
    ids = [f"08f{row:05d}" for row in range(ROWS)]
    frame = gpd.GeoDataFrame({"id": ids, "sources": sources}, geometry=shapes)
    if path.suffix == ".parquet":
        frame.to_parquet(path, **{"write_covering_bbox": True, "row_group_size": 200, **options})
    else:
        pyogrio.write_dataframe(frame.assign(sources=frame["sources"].map(json.dumps)), path, **options)
    return path


def overture_source(row: int) -> list[dict[str, Any]]:
    osm = {
        "property": "",
        "dataset": "OpenStreetMap",
        "license": "ODbL-1.0",
        "update_time": f"2026-01-{row % 28 + 1:02}",
    }
    height = {"property": "/properties/height", "dataset": "USGS Lidar", "license": None, "update_time": None}
    return [osm, height] if row % 2 else [osm]


def names(given: UserLayer) -> list[str]:
    return given.frame["building_id"].tolist()


# 300 m around the western edge of the grid, by the columns of `country`: 499,900 to 500,300.
NEAR = [f"08f{row:05d}" for row in range(ROWS) if 450_000 + 25 * row + 10 >= 499_900 and 450_000 + 25 * row <= 500_300]


@pytest.mark.parametrize("ending", ["parquet", "fgb", "gpkg", "shp", "geojson"])
@pytest.mark.parametrize("crs", ["OGC:CRS84", "EPSG:3857", "EPSG:32616"])
def test_only_rows_around_the_images_are_returned_of_a_large_file(tmp_path: Path, ending: str, crs: str) -> None:
    given = read_footprint_layer(country(tmp_path / f"country.{ending}", crs), GRID.crs, None, around(GRID))
    assert sorted(names(given)) == NEAR
    assert given.frame.total_bounds == pytest.approx([499_900, 3_999_950, 500_310, 3_999_960], abs=0.01)
    assert [f"{len(NEAR)} of {ROWS} rows" in warning for warning in given.warnings] == [True]


def test_rows_elsewhere_are_not_read(tmp_path: Path) -> None:
    """All other row groups are corrupt, so that reading them would fail."""
    path = country(tmp_path / "country.parquet")
    metadata = pq.ParquetFile(path).metadata
    content = bytearray(path.read_bytes())
    corrupt = [group for group in range(metadata.num_row_groups) if group != 10]  # rows 2000 to 2199
    for group in corrupt:
        chunks = [metadata.row_group(group).column(column) for column in range(metadata.num_columns)]
        first = min(chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks)
        length = sum(chunk.total_compressed_size for chunk in chunks)
        content[first : first + length] = b"\xff" * length
    path.write_bytes(content)
    inside = Grid(GRID.crs, 501_000, 4_000_000, 0.5, 400, 400)
    given = read_footprint_layer(path, GRID.crs, None, around(inside))
    assert names(given) == [f"08f{row:05d}" for row in range(2036, 2053)]
    with pytest.raises(DataError, match="cannot be read"):
        read_footprint_layer(path, GRID.crs, None)


def test_rows_elsewhere_are_not_read_by_gdal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes: list[Any] = []
    read = pyogrio.read_dataframe
    monkeypatch.setattr(
        pyogrio, "read_dataframe", lambda *args, **kw: boxes.append(kw.get("bbox")) or read(*args, **kw)
    )
    for ending in ("fgb", "gpkg"):
        read_footprint_layer(country(tmp_path / f"country.{ending}"), GRID.crs, None, around(GRID))
    west, south, east, north = np.array(boxes).T
    assert west == pytest.approx([-93.0011] * 2, abs=1e-4)
    assert (east - west < 0.0046).all()
    assert (north - south < 0.0037).all()


def test_an_overture_copy_of_duckdb_without_declared_bounds_is_read(tmp_path: Path) -> None:
    path = country(tmp_path / "country.parquet")
    table = pq.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    del geo["columns"]["geometry"]["covering"]
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path, row_group_size=200)
    given = read_footprint_layer(path, GRID.crs, None, around(GRID))
    assert sorted(names(given)) == NEAR
    assert len(given.warnings) == 1


def test_a_file_without_bounds_is_read_whole_with_a_warning(tmp_path: Path) -> None:
    path = country(tmp_path / "country.parquet", write_covering_bbox=False)
    given = read_footprint_layer(path, GRID.crs, None, around(GRID))
    assert sorted(names(given)) == NEAR
    assert given.warnings[0] == "country.parquet has no column of bounds (bbox): it was read whole"


def test_a_small_file_keeps_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_formats, "MOST_ROWS", ROWS)
    given = read_footprint_layer(country(tmp_path / "country.parquet"), GRID.crs, None, around(GRID))
    assert len(given.frame) == ROWS
    assert given.warnings == ()


def test_only_files_that_are_read_whole_have_a_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_formats, "_MEGABYTES", 0)
    for name in ("a.parquet", "a.fgb", "a.gpkg"):
        path = country(tmp_path / name)
        assert len(read_footprint_layer(path, GRID.crs, None, around(GRID)).frame) == len(NEAR)
        with pytest.raises(DataError, match="at most 0 MB are read"):
            read_footprint_layer(path, GRID.crs, None)
    with pytest.raises(DataError, match="at most 0 MB are read"):
        read_footprint_layer(country(tmp_path / "b.parquet", write_covering_bbox=False), GRID.crs, None, around(GRID))


@pytest.mark.parametrize("ending", ["parquet", "fgb", "geojson"])
def test_rows_around_images_across_180_degrees_are_read(tmp_path: Path, ending: str) -> None:
    # West of the line, east of it (written as -180 and as 181), and on the other side of the Earth.
    west, south, east, _ = (
        gpd.GeoSeries([shapely.box(*PACIFIC.bounds)], crs=PACIFIC.crs).to_crs("EPSG:4326").total_bounds
    )
    assert (west, east) == pytest.approx((-180, 180), abs=0.01)
    lefts = [179.9999, -179.9999, 180.0001, *np.linspace(-170, 170, 200)]
    shapes = [shapely.box(left, south + 0.0005, left + 0.0001, south + 0.0006) for left in lefts]
    frame = gpd.GeoDataFrame({"id": [f"b{n}" for n in range(len(shapes))]}, geometry=shapes, crs="OGC:CRS84")
    path = tmp_path / f"islands.{ending}"
    frame.to_parquet(path, write_covering_bbox=True) if ending == "parquet" else pyogrio.write_dataframe(frame, path)
    assert sorted(names(read_footprint_layer(path, PACIFIC.crs, None, around(PACIFIC)))) == ["b0", "b1", "b2"]


@pytest.mark.parametrize("ending", ["parquet", "fgb"])
def test_a_country_elsewhere_is_refused_in_one_sentence(tmp_path: Path, ending: str) -> None:
    far = Grid("EPSG:32633", 500_000, 5_000_000, 0.5, 400, 400)
    with pytest.raises(DataError, match=rf"None of the {ROWS} rows of .*country\.{ending}.* lies in the images"):
        read_footprint_layer(country(tmp_path / f"country.{ending}"), far.crs, None, around(far))


@pytest.mark.parametrize("ending", ["parquet", "gpkg"])
def test_a_large_file_in_a_local_reference_system_is_refused(tmp_path: Path, ending: str) -> None:
    frame = gpd.GeoDataFrame({"id": range(200)}, geometry=[shapely.box(0, 0, 1, 1)] * 200)
    frame = frame.set_crs(
        'ENGCRS["Local",EDATUM["x"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
    )
    path = tmp_path / f"local.{ending}"
    frame.to_parquet(path, write_covering_bbox=True) if ending == "parquet" else pyogrio.write_dataframe(frame, path)
    with pytest.raises(DataError, match=r"system that does not cover the images"):
        read_footprint_layer(path, GRID.crs, None, around(GRID))


@pytest.mark.parametrize("ending", ["parquet", "fgb", "gpkg", "geojson"])
def test_licence_and_date_of_overture_are_read(tmp_path: Path, ending: str) -> None:
    given = read_footprint_layer(country(tmp_path / f"a.{ending}"), GRID.crs, None, around(GRID))
    rows = [int(name[3:]) for name in names(given)]
    assert list(given.sources) == [
        {
            "dataset": "OpenStreetMap",
            "licence": "ODbL-1.0",
            "date": f"2026-01-{max(row % 28 + 1 for row in rows):02}",
            "buildings": len(rows),
        },
        {"dataset": "USGS Lidar", "licence": None, "date": None, "buildings": sum(row % 2 for row in rows)},
    ]
    assert sources_text(given.sources).endswith("; USGS Lidar (licence not stated, date not stated)")


def test_licence_and_date_in_the_metadata_of_a_file_are_read(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"id": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326")
    whole = {"dataset": "Roofs", "licence": "CC BY 4.0", "date": "2026-02-01", "buildings": 1}
    stated = {"TITLE": "Roofs", "License": "CC BY 4.0", "date": "2026-02-01"}
    for ending in ("gpkg", "fgb"):
        path = tmp_path / f"a.{ending}"
        pyogrio.write_dataframe(frame, path, layer_metadata=stated)
        assert read_footprint_layer(path, "EPSG:4326", None).sources == (whole,)
    frame.to_parquet(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, **stated}), tmp_path / "a.parquet")
    assert read_footprint_layer(tmp_path / "a.parquet", "EPSG:4326", None).sources == (whole,)
    text = json.loads(frame.to_json())
    overpass = {
        "type": "FeatureCollection",
        "generator": "overpass",
        "copyright": 'ODbL "1.0"',
        "timestamp": "2026-02-01",
    }
    (tmp_path / "a.geojson").write_text(json.dumps({**overpass, "features": text["features"]}))
    assert read_footprint_layer(tmp_path / "a.geojson", "EPSG:4326", None).sources == (
        {"dataset": None, "licence": 'ODbL "1.0"', "date": "2026-02-01", "buildings": 1},
    )


def test_a_sources_column_without_lists_is_read_as_text() -> None:
    assert describe_sources(["survey", "survey", None, "", "3", float("nan"), 4, True], {}, 8) == [
        {"dataset": "survey", "licence": None, "date": None, "buildings": 2}
    ]
    assert describe_sources([], {"licence": " "}, 5) == []
