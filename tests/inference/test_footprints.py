"""Polygons of the user: formats, layers, ids, geometry, and the errors and warnings about unusable ones."""

from __future__ import annotations

import json
import sqlite3
import struct
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from users_files import CASES, make_case
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.buildings import geodesic_areas
from xview2_siamese_unet.inference.footprints import (
    UserLayer,
    outside,
    read_area_layer,
    read_footprint_layer,
    read_polygons,
    read_zone_layer,
    row_names,
)

CRS = "EPSG:32615"
LEFT, TOP = 500_000, 4_000_000
FRAME = shapely.box(LEFT, TOP - 50, LEFT + 100, TOP)
LONG = 9007199254740993  # 2^53 + 1


def box(column: float, row: float, width: float = 20, height: float = 10) -> shapely.Polygon:
    return shapely.box(LEFT + column, TOP - row - height, LEFT + column + width, TOP - row)


BOXES = [box(5 * number, 5, 4) for number in range(5)]


def layer(ids: object, path: Path, name: str = "id", shapes: Sequence[Any] = BOXES, **options: object) -> Path:
    frame = gpd.GeoDataFrame({name: ids}, geometry=list(shapes), crs=CRS)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        pyogrio.write_dataframe(frame, path, **options)
    return path


def geojson(path: Path, features: Sequence[dict[str, Any]], shapes: Sequence[Any] | None = None) -> Path:
    """Write features with some members; shapes default to BOXES in degrees."""
    degrees = gpd.GeoSeries(BOXES, crs=CRS).to_crs("OGC:CRS84") if shapes is None else shapes
    text = [
        {"type": "Feature", "properties": {}, **members, "geometry": json.loads(shapely.to_geojson(shape))}
        for members, shape in zip(features, degrees, strict=False)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": text}), encoding="utf-8")
    return path


def ids(given: UserLayer) -> list[str | None]:
    return [None if pd.isna(value) else value for value in given.frame["building_id"]]


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "geojsonl", "fgb", "parquet"])
@pytest.mark.parametrize("values", [[1, 2, None, 4, 5], [LONG, LONG + 2, None, -4, 5], [1, 2, 3, 4, LONG]])
def test_whole_numbers_keep_their_digits(tmp_path: Path, ending: str, values: list[int | None]) -> None:
    path = layer(pd.array(values, dtype="Int64"), tmp_path / f"a.{ending}")
    given = read_footprint_layer(path, CRS, None)
    by_position = dict(zip(given.frame.geometry.centroid.x.round(), ids(given), strict=True))  # FlatGeobuf sorts rows
    wanted = [None if value is None else str(value) for value in values]
    assert [by_position[round(shape.centroid.x)] for shape in BOXES] == wanted
    assert ["1 of 5 rows have no value" in warning for warning in given.warnings] == [True] * (None in values)


def test_whole_numbers_in_a_shapefile_keep_their_digits(tmp_path: Path) -> None:
    given = read_footprint_layer(layer([7, 8, 9, 10, LONG], tmp_path / "a.shp"), CRS, None)
    assert ids(given) == ["7", "8", "9", "10", str(LONG)]


@pytest.mark.parametrize("encoding", ["cp1252", "UTF-8"])
@pytest.mark.parametrize("named", [True, False])
def test_accented_text_of_shapefiles_is_read(tmp_path: Path, encoding: str, named: bool) -> None:
    texts = ["Ñuñoa", "São", "Košice", "plain", "é"]
    path = layer(texts, tmp_path / "a.shp", "Región", encoding=encoding)
    if not named:
        path.with_suffix(".cpg").unlink()
    given = read_footprint_layer(path, CRS, "Región")
    assert ids(given) == texts
    assert read_zone_layer(path, "Región").frame["name"].tolist() == texts
    assert len(given.warnings) == (encoding == "cp1252" and not named)
    assert all("no .cpg" in warning for warning in given.warnings)


@pytest.mark.parametrize("ending", ["geojson", "geojsonl", "fgb"])
def test_text_in_another_encoding_is_refused(tmp_path: Path, ending: str) -> None:
    path = layer(["Aeon", *"bcde"], tmp_path / f"a.{ending}")
    path.write_bytes(path.read_bytes().replace(b"Aeon", b"\xc6eon"))
    with pytest.raises(DataError, match=r"not valid UTF-8"):
        read_footprint_layer(path, CRS, None)


def test_unsigned_numbers_and_an_index_of_geoparquet_are_ids(tmp_path: Path) -> None:
    path = layer(np.array([2**64 - 1, 1, 2, 3, 4], np.uint64), tmp_path / "a.parquet")
    assert ids(read_footprint_layer(path, CRS, None))[0] == "18446744073709551615"
    frame = gpd.GeoDataFrame({"id": ["e", "d", "c", "b", "a"]}, geometry=BOXES, crs=CRS).set_index("id")
    frame.to_parquet(path)
    assert ids(read_footprint_layer(path, CRS, None)) == ["e", "d", "c", "b", "a"]
    frame.assign(id=list("vwxyz")).to_parquet(path)
    assert ids(read_footprint_layer(path, CRS, None)) == list("vwxyz")
    blocks = frame.assign(block=[1, 1, 1, 2, 2], no=[1, 2, 3, 1, 2])
    blocks.set_index("block", append=True).to_parquet(path)
    assert ids(read_footprint_layer(path, CRS, None)) == ["e", "d", "c", "b", "a"]
    assert read_zone_layer(path, "block").frame["name"].tolist() == ["1", "1", "1", "2", "2"]
    blocks.set_index(["block", "no"]).assign(block=list("ABCDE")).to_parquet(path)
    assert ids(read_footprint_layer(path, CRS, "block")) == list("ABCDE")


def test_whole_floating_point_ids_lose_their_decimals_and_inexact_ones_are_refused(tmp_path: Path) -> None:
    path = layer([1.0, np.nan, 3.0, 4.5, 5.0], tmp_path / "a.gpkg", "house")
    assert ids(read_footprint_layer(path, CRS, "house")) == ["1", None, "3", "4.5", "5"]
    layer([1.0, 2.0, 3.0, 4.0, 2.0**53], path.with_name("b.gpkg"), "house")
    with pytest.raises(DataError, match="not exact from 2\\^53"):
        read_footprint_layer(path.with_name("b.gpkg"), CRS, "house")


@pytest.mark.parametrize("ending", ["gpkg", "parquet"])
@pytest.mark.parametrize("dtype", ["float32", "Float32"])
def test_ids_in_single_precision_are_refused_from_2_to_the_24th_on(tmp_path: Path, ending: str, dtype: str) -> None:
    path = layer(pd.array([1, 2, 3.1, 4.7, 2**24 - 1], dtype=dtype), tmp_path / f"a.{ending}", "house")
    assert ids(read_footprint_layer(path, CRS, "house")) == ["1", "2", "3.1", "4.7", "16777215"]
    layer(pd.array([1, 2, 3, 4, 20260001], dtype=dtype), path, "house")
    with pytest.raises(DataError, match=r"not exact from 2\^24"):
        read_footprint_layer(path, CRS, "house")
    given = read_footprint_layer(layer(pd.array([1, 2, 3, 4, 20260001], dtype=dtype), path, "building_id"), CRS, None)
    assert ids(given) == ["1", "2", "3", "4", "5"]
    assert any("not exact from 2^24" in warning for warning in given.warnings)


@pytest.mark.parametrize(
    ("features", "wanted", "warning"),
    [
        ([{"id": f"way/{number}"} for number in range(5)], [f"way/{number}" for number in range(5)], None),
        ([{"id": number} for number in (10, 20, 30, 40, 50)], ["10", "20", "30", "40", "50"], None),
        ([{"id": number} for number in range(5)], ["0", "1", "2", "3", "4"], None),
        ([{"id": number} for number in (-3, 2, 1, 0, 7)], ["-3", "2", "1", "0", "7"], None),
        ([{"id": 10}, {}, {"id": 30}, {"id": "x"}, {"id": LONG}], ["10", None, "30", "x", str(LONG)], "no value"),
        ([{"id": 10}, {"id": 10}, {"id": 30}, {}, {}], ["1", "2", "3", "4", "5"], "'id' repeats 1 of its values"),
        ([{}] * 5, ["1", "2", "3", "4", "5"], "row numbers"),
        (
            [{"properties": {"OBJECTID": 9 - n, "B": 1, "ID": n * 2}} for n in range(5)],
            ["0", "2", "4", "6", "8"],
            None,
        ),
        ([{"properties": {"OBJECTID": 9 - n, "B": 1}} for n in range(5)], ["9", "8", "7", "6", "5"], None),
        (
            [{"properties": {"id": 1, "OBJECTID": n}} for n in range(5)],
            ["0", "1", "2", "3", "4"],
            "'id' repeats 4 .*'OBJECTID' is used",
        ),
        ([{"properties": {"id": n}, "id": "no"} for n in range(5)], ["0", "1", "2", "3", "4"], None),
        ([{"properties": {"id": n}} for n in ("a", "b", None, "", "e")], ["a", "b", None, "", "e"], "2 of 5 rows"),
        ([{"properties": {"id": n}} for n in (11, 11, 12, 13, 14)], ["1", "2", "3", "4", "5"], "repeats 1 .*numbers"),
    ],
)
def test_ids_of_geojson_are_members_or_properties(
    tmp_path: Path, features: list[dict[str, Any]], wanted: list[str | None], warning: str | None
) -> None:
    given = read_footprint_layer(geojson(tmp_path / "a.geojson", features), CRS, None)
    assert ids(given) == wanted
    assert len(given.warnings) == (warning is not None)
    assert warning is None or pd.Series(given.warnings).str.contains(warning).all()


def test_the_key_of_a_geopackage_is_an_id_unless_there_is_another(tmp_path: Path) -> None:
    path = layer([70, 60, 50, 40, 30], tmp_path / "a.gpkg", "houses")
    with closing(sqlite3.connect(path)) as file, file:
        for (trigger,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f'DROP TRIGGER "{trigger}"')
        file.execute("DELETE FROM a WHERE fid = 2")
    given = read_footprint_layer(path, CRS, None)
    assert (ids(given), given.warnings) == (["1", "3", "4", "5"], ())
    assert ids(read_footprint_layer(path, CRS, "houses")) == ["70", "50", "40", "30"]


def test_ids_are_a_column_or_row_numbers() -> None:
    frame = gpd.GeoDataFrame({"osm": [7, 9], "same": [1, 1]}, geometry=BOXES[:2], crs=CRS)
    table = UserLayer(frame, (), ("osm", "same"))
    assert row_names(table, None, ("building_id", "id"), "x")[0] == ["1", "2"]
    assert row_names(table, "osm", (), "x") == (["7", "9"], [])
    for column, message in {"nope": "no column 'nope'", "same": "repeats"}.items():
        with pytest.raises(DataError, match=message):
            row_names(table, column, (), "x")


def roads(path: Path) -> Path:
    lines = [shapely.LineString([(LEFT, TOP), (LEFT + 9, TOP - 9)])]
    pyogrio.write_dataframe(gpd.GeoDataFrame({"id": [1]}, geometry=lines, crs=CRS), path, layer="roads")
    return path


def test_the_only_layer_of_polygons_is_read_and_one_of_several_must_be_named(tmp_path: Path) -> None:
    path = roads(tmp_path / "city.gpkg")
    with pytest.raises(DataError, match=r"no polygons: roads \(LineString\)"):
        read_polygons(path, CRS, "x")
    layer(list("abcde"), path, layer="houses", append=True)
    given = read_footprint_layer(path, CRS, None)
    assert ids(given) == list("abcde")
    assert given.warnings == ("city.gpkg: the layer houses is read, and not roads, which holds no polygons",)
    layer(["one"], path, layer="blocks", shapes=[FRAME], append=True)
    for read in (lambda it: read_footprint_layer(it, CRS, None), lambda it: read_zone_layer(it, None), read_area_layer):
        with pytest.raises(DataError, match=r"roads .*, houses .*, blocks .*layername=houses"):
            read(path)
        read(Path(f"{path}|layername=blocks"))
    assert ids(read_footprint_layer(Path(f"{path}|layername=houses"), CRS, None)) == list("abcde")
    with pytest.raises(DataError, match=r"no layer 'x'.*houses"):
        read_polygons(Path(f"{path}|layername=x"), CRS, "x")


def test_polygons_inside_collections_are_read(tmp_path: Path) -> None:
    nested = shapely.GeometryCollection([shapely.GeometryCollection([BOXES[0]]), shapely.MultiPolygon(BOXES[2:4])])
    mixed = shapely.GeometryCollection([BOXES[1], BOXES[1].centroid, BOXES[1].exterior])
    points = shapely.GeometryCollection([BOXES[1].centroid])
    path = layer([1, 2, 3], tmp_path / "a.gpkg", shapes=[nested, mixed, points], geometry_type="GeometryCollection")
    given = read_polygons(path, CRS, "x")
    assert given.frame.area.tolist() == pytest.approx([120, 40, 0])
    assert given.warnings == (
        "a.gpkg: 2 of 3 rows are collections, of which only the polygons are used",
        "a.gpkg: 1 of 3 rows hold no polygon",
    )


def test_curves_become_polygons(tmp_path: Path) -> None:
    path = layer([LONG], tmp_path / "a.gpkg", shapes=BOXES[:1])
    circle = [(0, 0), (2, 2), (4, 0), (2, -2), (0, 0)]
    curve = b"\1" + struct.pack("<II", 10, 1) + b"\1" + struct.pack("<II10d", 8, 5, *np.ravel(circle))
    with closing(sqlite3.connect(path)) as file, file:
        for (trigger,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f'DROP TRIGGER "{trigger}"')
        file.execute("UPDATE a SET geom = ?", (b"GP\0\1" + struct.pack("<i", 32615) + curve,))
        file.execute("UPDATE gpkg_geometry_columns SET geometry_type_name = 'GEOMETRY'")
    given = read_footprint_layer(path, CRS, None)
    assert given.frame.area[0] == pytest.approx(np.pi * 4, rel=0.002)
    assert ids(given) == [str(LONG)]


def test_repaired_and_unusable_geometries_are_counted(tmp_path: Path) -> None:
    west, south, east, north = BOXES[0].bounds
    bow = shapely.Polygon([(west, south), (east, north), (east, south), (west, north)])
    high = shapely.force_3d(BOXES[1], 7)
    flat = shapely.Polygon([(west, north), (east, north), (west + 1, north), (west, north)])
    nowhere = shapely.Polygon([(west, north), (east, np.inf), (east, south)])
    shapes = [bow, high, flat, nowhere, None, shapely.Point(west, south), BOXES[4]]
    given = read_polygons(layer(range(7), tmp_path / "a.parquet", shapes=shapes), CRS, "x")
    assert given.frame.area.tolist() == pytest.approx([20, 40, 0, 0, 0, 0, 40])
    assert not given.frame.has_z.any()
    words = ("1 of 7 rows have heights", "2 of 7 rows hold no polygon", "1 of 7 rows cannot be placed")
    words += ("1 of 7 rows were not valid", "1 of 7 rows have no area")
    assert len(given.warnings) == 5
    assert all(warning.removeprefix("a.parquet: ").startswith(words) for warning in given.warnings)


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "geojsonl", "fgb", "shp", "parquet"])
def test_rows_without_any_geometry_are_kept(tmp_path: Path, ending: str) -> None:
    index = {"SPATIAL_INDEX": "NO"} if ending == "fgb" else {}
    path = layer(list("abc"), tmp_path / f"a.{ending}", shapes=[None] * 3, geometry_type="Polygon", **index)
    given = read_footprint_layer(path, CRS, None)
    assert (ids(given), given.frame.is_empty.tolist()) == (list("abc"), [True] * 3)
    assert any("3 of 3 rows hold no polygon" in warning for warning in given.warnings)


def test_a_file_without_rows_gives_a_warning(tmp_path: Path) -> None:
    given = read_footprint_layer(layer([], tmp_path / "a.gpkg", shapes=[], geometry_type="Polygon"), CRS, None)
    assert len(given.frame) == 0
    assert any("has no rows" in warning for warning in given.warnings)


def test_coordinates_outside_their_reference_system_are_refused(tmp_path: Path) -> None:
    metres = geojson(tmp_path / "metres.geojson", [{}] * 5, BOXES)
    degrees = gpd.GeoSeries(BOXES, crs=CRS).to_crs("OGC:CRS84")
    swapped = geojson(
        tmp_path / "swapped.geojson", [{}] * 5, shapely.transform(degrees.to_numpy(), lambda xy: xy[:, ::-1])
    )
    for read in (lambda it: read_footprint_layer(it, CRS, None), lambda it: read_zone_layer(it, None), read_area_layer):
        with pytest.raises(DataError, match=r"x 500000 to 500024 and y .*degrees.*true coordinate reference system"):
            read(metres)
        with pytest.raises(DataError, match=r"Latitude and longitude are swapped"):
            read(swapped)


def test_footprints_elsewhere_keep_their_geometry_and_give_a_warning(tmp_path: Path) -> None:
    far = [shapely.affinity.translate(shape, 90_000, 0) for shape in BOXES]
    given = read_footprint_layer(layer(range(5), tmp_path / "a.gpkg", shapes=far), CRS, None)
    assert given.frame.area.tolist() == pytest.approx([40] * 5)
    assert next(outside(given, FRAME, "footprints", "the overlap")).startswith(
        "none of the 5 footprints lies in the overlap"
    )
    here = read_footprint_layer(layer(range(5), tmp_path / "b.gpkg"), CRS, None)
    assert not list(outside(here, FRAME, "footprints", "the overlap"))


def test_swapped_latitude_and_longitude_give_a_warning(tmp_path: Path) -> None:
    dresden = shapely.box(13.73, 51.05, 13.74, 51.06)
    path = geojson(tmp_path / "a.geojson", [{"id": 1}], [shapely.transform(dresden, lambda xy: xy[:, ::-1])])
    given = read_footprint_layer(path, "EPSG:32633", None)
    frame = gpd.GeoSeries([dresden], crs=4326).to_crs(32633)[0]
    assert "swapped" in next(outside(given, frame, "footprints", "the overlap"))


def test_footprints_outside_their_reference_system_are_counted(tmp_path: Path) -> None:
    shapes = [*gpd.GeoSeries(BOXES[:2], crs=CRS).to_crs("OGC:CRS84"), shapely.box(500, 100, 501, 101)]
    given = read_footprint_layer(geojson(tmp_path / "a.geojson", [{"id": n} for n in range(3)], shapes), CRS, None)
    assert given.frame.is_empty.tolist() == [False, False, True]
    assert any("1 of 3 rows cannot be placed" in warning for warning in given.warnings)


def test_geojson_lines_are_read_with_any_ending(tmp_path: Path) -> None:
    features = [{"id": number, "properties": {"note": "a\u2028b"}} for number in (5, 4, 3, 2, 1)]
    whole = json.loads(geojson(tmp_path / "a.geojson", features).read_text())
    lines = [json.dumps(feature, ensure_ascii=False) for feature in whole["features"]]
    for name, text in {
        "b.geojson": "\n".join(lines),
        "b.ndjson": "\r\n".join([*lines, "", ""]),
        "b.geojsonl": "".join(f"\x1e{line}\n" for line in lines),
    }.items():
        (tmp_path / name).write_text(text)
        given = read_footprint_layer(tmp_path / name, CRS, None)
        assert (ids(given), given.warnings) == (["5", "4", "3", "2", "1"], ()), name
    (tmp_path / "torn.geojsonl").write_text("\n".join([*lines[:4], lines[4][:60]]))
    with pytest.raises(DataError, match="5 entries, of which 4 are features"):
        read_footprint_layer(tmp_path / "torn.geojsonl", CRS, None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.geojson", "a.geojsonl", "lines.json"])
@pytest.mark.parametrize("members", ["id", "properties"])
def test_geojson_in_other_unicode_encodings_is_read(tmp_path: Path, encoding: str, name: str, members: str) -> None:
    texts = ["Ñuñoa", "way/2", "a\u2028b", "東京", "way/5"]
    features = [{"id": text} if members == "id" else {"properties": {"id": text}} for text in texts]
    whole = json.loads(geojson(tmp_path / "plain.geojson", features).read_text())
    lines = "\n".join(json.dumps(feature, ensure_ascii=False) for feature in whole["features"])
    text = json.dumps(whole, ensure_ascii=False) if name == "a.geojson" else lines
    (tmp_path / name).write_bytes(text.encode(encoding))
    given = read_footprint_layer(tmp_path / name, CRS, None)
    assert (ids(given), given.warnings) == (texts, ())


@pytest.mark.parametrize("other", [None, {"id": 9, "properties": {}}, {"type": "feature", "id": 9}, 5])
def test_an_entry_of_a_collection_that_is_not_a_feature_is_refused(tmp_path: Path, other: object) -> None:
    path = geojson(tmp_path / "a.geojson", [{"id": number} for number in range(5)])
    whole = json.loads(path.read_text())
    if isinstance(other, dict):
        other["geometry"] = whole["features"][0]["geometry"]
    path.write_text(json.dumps({**whole, "features": [*whole["features"], other]}))
    with pytest.raises(DataError, match="6 entries, of which 5 are features"):
        read_footprint_layer(path, CRS, None)


@pytest.mark.parametrize("text", ["geometry", "feature"])
def test_geojson_without_a_collection_is_read(tmp_path: Path, text: str) -> None:
    path = geojson(tmp_path / "a.geojson", [{"id": "way/7"}])
    feature = json.loads(path.read_text())["features"][0]
    path.write_text(json.dumps(feature if text == "feature" else feature["geometry"]))
    given = read_footprint_layer(path, CRS, None)
    assert ids(given) == ["way/7" if text == "feature" else "1"]
    assert len(given.warnings) == (text == "geometry")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.kml", "is KML.*ogr2ogr a.gpkg a.kml"),
        ("a.csv", "is CSV.*GEOM_POSSIBLE_NAMES"),
        ("a.zip", "ZIP archive. Unpack it"),
        ("a.gdb", "file geodatabase.*ogr2ogr a.gpkg a.gdb"),
        ("a.pickle", "is not a supported vector format.*Convert it"),
    ],
)
def test_the_error_for_another_format_states_how_to_convert_it(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).mkdir() if name == "a.gdb" else (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=words):
        read_polygons(tmp_path / name, CRS, "x")


def test_missing_parts_of_a_shapefile_are_named(tmp_path: Path) -> None:
    path = layer([1, 2, 3, 4, 5], tmp_path / "a.shp")
    path.with_suffix(".prj").unlink()
    with pytest.raises(DataError, match="no coordinate reference system"):
        read_polygons(path, CRS, "x")
    path.with_suffix(".shx").unlink()
    with pytest.raises(DataError, match=r"lacks the file a\.shx"):
        read_polygons(path, CRS, "x")


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "geojsonl", "fgb", "parquet", "shp"])
def test_file_names_with_special_characters_are_read(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "Über wow! #2 & 100% 'x' [v1]?"
    folder.mkdir()
    layer(list("abcde"), tmp_path / f"a.{ending}", **({"SPATIAL_INDEX": "NO"} if ending == "fgb" else {}))
    for file in tmp_path.glob("a.*"):
        file.rename(folder / file.name)
    assert ids(read_footprint_layer(folder / f"a.{ending}", CRS, None)) == list("abcde")
    for file in folder.glob("a.*"):
        file.rename(folder / f"wow!;x{file.suffix}")
    if ending == "shp":
        with pytest.raises(DataError, match="rename"):
            read_polygons(folder / "wow!;x.shp", CRS, "x")
    else:
        assert ids(read_footprint_layer(folder / f"wow!;x.{ending}", CRS, None)) == list("abcde")


def test_unusable_footprints_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "table.geojson"
    table.write_text('{"type": "FeatureCollection", "features": [')
    with pytest.raises(DataError, match=r"table.geojson \(footprints\) cannot be read") as refused:
        read_polygons(table, CRS, "footprints")
    assert "16 MB" not in str(refused.value)
    with pytest.raises(DataError, match="no such file"):
        read_polygons(tmp_path / "missing.gpkg", CRS, "footprints")


def test_a_polygon_of_ten_million_vertices_is_refused_at_once_in_little_memory(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows does not measure the peak of a process")
    huge = tmp_path / "huge.geojson"
    with huge.open("w") as file:
        file.write('{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},"geometry":')
        file.write('{"type":"Polygon","coordinates":[[')
        for _ in range(100):
            file.write("[10.5,20.5]," * 100_000)
        file.write("[10.5,20.5]]]}}]}")
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="larger than 16 MB"):
        read_polygons(huge, CRS, "footprints")
    assert time.monotonic() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes
    huge.unlink()


def test_a_text_file_above_the_size_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "sparse.geojson"
    with path.open("wb") as file:
        file.truncate(501 * 10**6)
    with pytest.raises(DataError, match=r"has 501 MB; at most 500 MB are read"):
        read_polygons(path, CRS, "footprints")


def test_points_and_lines_are_not_buildings(tmp_path: Path) -> None:
    mixed = [BOXES[0], shapely.Point(1, 1), BOXES[0].boundary]
    given = read_footprint_layer(layer(["a", "b", "c"], tmp_path / "mixed.parquet", shapes=mixed), CRS, None)
    assert given.frame.geometry.is_empty.tolist() == [False, True, True]
    assert ids(given) == ["a", "b", "c"]
    with pytest.raises(DataError, match="holds no polygon"):
        read_area_layer(layer(["b"], tmp_path / "point.parquet", shapes=mixed[1:2]))


def test_corrupt_geometries_are_refused(tmp_path: Path) -> None:
    path = layer([1], tmp_path / "cut.parquet", shapes=BOXES[:1])
    table = pq.read_table(path)
    cut = pa.array([table["geometry"][0].as_py()[:30]])
    column = table.schema.get_field_index("geometry")
    pq.write_table(table.set_column(column, table.schema.field(column), cut), path)
    with pytest.raises(DataError, match=r"cannot be read: ParseException"):
        read_polygons(path, CRS, "footprints")


def test_footprints_in_a_local_reference_system_are_refused(tmp_path: Path) -> None:
    local = gpd.GeoDataFrame(geometry=BOXES, crs='LOCAL_CS["Local",UNIT["metre",1]]')
    local.to_parquet(tmp_path / "local.parquet")
    with pytest.raises(DataError, match=r"Local, a system without a position on Earth"):
        read_polygons(tmp_path / "local.parquet", CRS, "footprints")


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the cases in ../shared/cases")
def test_multipatches_are_refused_and_collections_read_for_a_real_scene(tmp_path: Path) -> None:
    make_case("19", tmp_path)
    with pytest.raises(DataError, match=r"MultiPatch.*ogr2ogr -nlt MULTIPOLYGON"):
        read_polygons(tmp_path / "roofs.shp", "EPSG:32614", "x")
    polygons = read_polygons(tmp_path / "collection.geojson", "EPSG:32614", "x").frame
    assert geodesic_areas(polygons).tolist() == pytest.approx([171.2, 110.8], abs=0.05)
