"""Labels from the page, QGIS or a spreadsheet; errors and warnings about those that do not match."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
import shapely

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.labelling.labels import exclude_validation, read_labels, require_classes, validation_ids

CRS = "EPSG:32615"
IDS = ["a", "b 2", "3", "4", "5", "6"]


def box(number: float, width: float = 8) -> shapely.Polygon:
    return shapely.box(500_000 + 10 * number, 4_000_000, 500_000 + 10 * number + width, 4_000_008)


@pytest.fixture
def buildings() -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"building_id": IDS}, geometry=[box(n) for n in range(len(IDS))], crs=CRS)


def pairs(labels: pd.DataFrame) -> list[tuple[str, int | None]]:
    assert labels.columns.tolist() == ["building_id", "damage"]
    assert labels["damage"].dtype == "Int8"
    return [(one, None if pd.isna(code) else int(code)) for one, code in labels.itertuples(index=False)]


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def shapes(path: Path, geometries: list[Any], labels: list[Any], crs: str = CRS, **columns: object) -> Path:
    frame = gpd.GeoDataFrame({**columns, "label": labels}, geometry=geometries, crs=CRS).to_crs(crs)
    pyogrio.write_dataframe(frame, path)
    return path


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("building_id,damage\n3,4\na,1\n4,u\n", "utf-8"),
        ("building_id;damage\r\n3;4\r\na;1\r\n4;u\r\n", "utf-8-sig"),
        ("sep=;\r\nid;Class\r\n3;4,0\r\na;1,0\r\n4;?\r\n", "utf-8-sig"),
        ("ID\tlabel\r\n3.0\t4.0\r\na\tNo Damage\r\n4,0\tun-classified\r\n", "utf-16"),
        (
            '"note, of one","label","building_id"\n"x, y","destroyed"," 3"\n"","intact","a"\n"","cannot_tell","4"\n',
            "utf-8",
        ),
    ],
)
def test_labels_are_read_from_spreadsheets(
    tmp_path: Path, buildings: gpd.GeoDataFrame, content: str, encoding: str
) -> None:
    labels = read_labels(text(tmp_path / "labels.csv", content, encoding), buildings)
    assert pairs(labels) == [("3", 4), ("a", 1), ("4", None)]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["1", "1.0", "1,00", "no-damage", "No damage", "NO_DAMAGE", "Undamaged", "no visible damage"], 1),
        (["2", "minor-damage", "Minor Damage", "minor_damage", "minor"], 2),
        (["3", "major-damage", "MajorDamage", "major"], 3),
        (["4", "destroyed", " Destroyed "], 4),
        (["no-building", "No Building", "no_building"], 0),
        (["5", "u", "U", "?", "cannot tell", "can't tell", "unknown", "un-classified"], None),
    ],
)
def test_spellings_of_a_class_are_accepted(
    tmp_path: Path, buildings: gpd.GeoDataFrame, words: list[str], code: int | None
) -> None:
    for word in words:
        labels = read_labels(text(tmp_path / "labels.csv", f'building_id,label\na,"{word}"\n'), buildings)
        assert pairs(labels) == [("a", code)], word


@pytest.mark.parametrize("word", ["0", "6", "-1", "1.5", "0.1", "damaged", "1-2", "-", "destroyed?!x"])
def test_an_unknown_class_is_refused(tmp_path: Path, buildings: gpd.GeoDataFrame, word: str) -> None:
    path = text(tmp_path / "labels.csv", f"building_id,label\na,1\n3,{word}\n4,{word}\n")
    with pytest.raises(DataError, match=r"^Unknown damage class .* in labels.csv \(2 of 3 rows") as refused:
        read_labels(path, buildings)
    assert repr(word) in str(refused.value)
    assert "1 no-damage, 2 minor-damage" in refused.value.hint


def test_no_building_is_a_separate_label(
    tmp_path: Path, buildings: gpd.GeoDataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    labels = read_labels(text(tmp_path / "x.csv", "building_id,label\na,no-building\n3,u\n4,2\n"), buildings)
    assert pairs(labels) == [("a", 0), ("3", None), ("4", 2)]
    assert not caplog.messages
    with pytest.raises(DataError, match="disagree; the first is 'a': no-building and cannot-tell"):
        read_labels(text(tmp_path / "x.csv", "building_id,label\na,no-building\na,u\n"), buildings)


@pytest.mark.parametrize(
    ("rows", "kept", "warning"),
    [
        (
            "a,1\nzz,2\nyy,2\n",
            [("a", 1)],
            "2 of 3 rows name buildings that this assessment does not have, such as 'zz'",
        ),
        ("a,1\n3,\n4,\n", [("a", 1)], "2 of 3 rows have no label yet"),
        ("3,None\n4,nan\na,1\n5,NULL\n6,<NA>\n", [("a", 1)], "4 of 5 rows have no label yet (empty, none, nan or"),
        ("a,1\n,3\n", [("a", 1)], "1 of 2 rows belong to no building"),
        ("3,2\na,1\n3,minor\n", [("3", 2), ("a", 1)], "1 of 3 labels repeat another one"),
    ],
)
def test_rows_that_do_not_match_are_counted(
    tmp_path: Path,
    buildings: gpd.GeoDataFrame,
    caplog: pytest.LogCaptureFixture,
    rows: str,
    kept: list[tuple[str, int]],
    warning: str,
) -> None:
    assert pairs(read_labels(text(tmp_path / "x.csv", f"id,label\n{rows}"), buildings)) == kept
    (message,) = caplog.messages
    assert message.startswith(f"x.csv: {warning}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("building_id,label\nzz,1\nyy,2\n", r"None of the 2 ids in x.csv .* 'zz'"),
        (
            "building_id,label\na,1\n3,2\na,4\n",
            r"1 buildings in x.csv have labels that disagree; the first is 'a': no-damage and",
        ),
        ("building_id,label\na,1\na,u\n", "no-damage and cannot-tell"),
        ("building_id,label,class\na,1,1\n", "several columns that may hold labels: label, class"),
        ("building_id,stratum\na,1\n", "no column label, damage or class"),
        ("name,label\na,1\n", "no column building_id"),
        ("building_id,damage,p_none,p_minor,p_major,p_destroyed\na,1,1,0,0,0\n", "holds the predictions of an"),
        ("building_id,damage,damage_label,run_id\na,1,no-damage,ff\n", "holds the predictions of an assessment"),
        ("", "x.csv is empty"),
        ("building_id,label,label\na,1,2\n", "x.csv has several columns 'label'"),
        ("building_id,note,label, Note\na,x,1,y\n", "x.csv has several columns 'note'"),
        ("building_id,label\na,1,oops\n3,2\n", "1 of 2 rows of x.csv have more fields than its 2 columns; .* 'a'"),
        ('building_id,label\n"a,1\n', "cannot be read"),
        ("building_id,label\na,1,2\nb,1,2,3,4\n", "2 of 2 rows of x.csv have more fields"),
    ],
)
def test_unusable_tables_are_refused_in_one_sentence(
    tmp_path: Path, buildings: gpd.GeoDataFrame, content: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as refused:
        read_labels(text(tmp_path / "x.csv", content), buildings)
    assert refused.value.hint
    assert "\n" not in str(refused.value)


def test_rows_may_be_shorter_or_longer_than_the_header(tmp_path: Path, buildings: gpd.GeoDataFrame) -> None:
    """Spreadsheets leave out what is empty at the end of a row, or write a separator for it."""
    path = text(tmp_path / "x.csv", "building_id,label,note\na,1\n\n3,2,seen,,\n4\n")
    assert pairs(read_labels(path, buildings)) == [("a", 1), ("3", 2)]


def test_other_encodings_and_missing_files_are_refused(tmp_path: Path, buildings: gpd.GeoDataFrame) -> None:
    with pytest.raises(DataError, match="not valid UTF-8"):
        read_labels(text(tmp_path / "x.csv", "building_id,label\nä,1\n", "cp1252"), buildings)
    with pytest.raises(DataError, match="no such file"):
        read_labels(tmp_path / "none.csv", buildings)
    with pytest.raises(DataError, match="no such file"):
        read_labels(tmp_path / "none.gpkg", buildings)
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(200_000_000)
    with pytest.raises(DataError, match="more than 100 MB"):
        read_labels(tmp_path / "large.csv", buildings)


def test_a_label_next_to_predictions_is_read(tmp_path: Path, buildings: gpd.GeoDataFrame) -> None:
    """A column was added to a copy of buildings.gpkg in QGIS."""
    path = shapes(
        tmp_path / "copy.gpkg",
        [box(n) for n in range(3)],
        ["destroyed", None, "no damage"],
        building_id=["a", "b 2", "3"],
        damage=[1, 1, 1],
        p_none=[0.9, 0.8, 0.7],
        confidence=[0.9, 0.8, 0.7],
    )
    assert pairs(read_labels(path, buildings)) == [("a", 4), ("3", 1)]


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "fgb"])
@pytest.mark.parametrize("crs", [CRS, "OGC:CRS84", "EPSG:3857"])
@pytest.mark.parametrize("kind", ["points", "polygons"])
def test_shapes_belong_to_the_footprint_they_lie_in(
    tmp_path: Path, buildings: gpd.GeoDataFrame, ending: str, crs: str, kind: str
) -> None:
    drawn = [box(4.1), box(0.1, 9.5), box(1.2, 3)]
    geometries = [each.centroid for each in drawn] if kind == "points" else drawn
    path = shapes(tmp_path / f"l.{ending}", geometries, [4, 1, 2], "OGC:CRS84" if ending == "geojson" else crs)
    labels = pairs(read_labels(path, buildings))
    assert (sorted(labels) if ending == "fgb" else labels) == [("5", 4), ("a", 1), ("b 2", 2)]  # FlatGeobuf sorts rows


def test_row_numbers_are_not_ids(tmp_path: Path, buildings: gpd.GeoDataFrame) -> None:
    """`fid` 3 is the third row, not the building with id 3."""
    path = shapes(tmp_path / "l.gpkg", [box(n).centroid for n in (5, 4, 0)], [1, 2, 3])
    assert pairs(read_labels(path, buildings)) == [("6", 1), ("5", 2), ("a", 3)]


def test_shapes_without_exactly_one_footprint_are_counted(
    tmp_path: Path, buildings: gpd.GeoDataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    twice = pd.concat([buildings, buildings.iloc[[5]].assign(building_id="7")], ignore_index=True)
    twice.loc[4, "building_id"] = None
    line = shapely.LineString([(500_000, 4_000_000), (500_100, 4_000_000)])
    geometries = [box(0), box(-20), box(0, 60), box(5), box(5).centroid, line, box(2).centroid, box(4).centroid]
    path = shapes(tmp_path / "l.gpkg", geometries, [4, 1, 1, 1, 1, 1, 2, 3])
    assert pairs(read_labels(path, twice)) == [("a", 4), ("3", 2)]
    assert caplog.messages == [
        "l.gpkg: 2 of 8 shapes lie in several footprints",
        "l.gpkg: 1 of 8 shapes are lines",
        "l.gpkg: 1 of 8 shapes lie in a footprint without an id",
        "l.gpkg: 2 of 8 shapes lie in no footprint, or with less than half of their area",
        "l.gpkg: 6 of 8 rows belong to no building; they are left out",
    ]


def test_ids_that_repeat_are_refused(tmp_path: Path, buildings: gpd.GeoDataFrame) -> None:
    twice = pd.concat([buildings, buildings.iloc[[2]]], ignore_index=True)
    with pytest.raises(DataError, match="1 ids of the assessment belong to several buildings; the first is '3'"):
        read_labels(text(tmp_path / "x.csv", "building_id,label\na,1\n"), twice)


def test_shapes_outside_the_assessed_area_are_refused(tmp_path: Path, buildings: gpd.GeoDataFrame) -> None:
    points = gpd.GeoSeries([box(n).centroid for n in range(2)], crs=CRS).to_crs("OGC:CRS84")
    feature = [
        {"type": "Feature", "properties": {"label": 1}, "geometry": {"type": "Point", "coordinates": [p.y, p.x]}}
        for p in points
    ]
    path = text(tmp_path / "x.geojson", json.dumps({"type": "FeatureCollection", "features": feature}))
    with pytest.raises(DataError, match="Latitude and longitude are swapped"):
        read_labels(path, buildings)
    away = shapes(tmp_path / "away.gpkg", [box(100), box(200)], [1, 2])
    with pytest.raises(DataError, match="none of the 2 labels lies in the assessed area"):
        read_labels(away, buildings)


def test_one_of_several_layers_must_be_named(tmp_path: Path, buildings: gpd.GeoDataFrame) -> None:
    path = tmp_path / "l.gpkg"
    for name, code in (("anna", 1), ("ben", 4)):
        frame = gpd.GeoDataFrame({"label": [code]}, geometry=[box(0).centroid], crs=CRS)
        pyogrio.write_dataframe(frame, path, layer=name, append=path.exists())
    with pytest.raises(DataError, match=r"several layers that may hold polygons or points: anna .*, ben "):
        read_labels(path, buildings)
    assert pairs(read_labels(Path(f"{path}|layername=ben"), buildings)) == [("a", 4)]


def test_an_export_of_the_predictions_is_detected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    codes = [1 + n % 4 for n in range(30)]
    frame = gpd.GeoDataFrame(
        {"building_id": [f"i{n}" for n in range(30)], "damage": pd.array(codes, dtype="Int8")},
        geometry=[box(n) for n in range(30)],
        crs=CRS,
    )
    path = tmp_path / "x.csv"
    frame[["building_id", "damage"]].to_csv(path, index=False)
    with pytest.raises(DataError, match="holds the predictions of this assessment, not labels: its 30 classes"):
        read_labels(path, frame)
    frame[["building_id", "damage"]].iloc[:25].to_csv(path, index=False)
    assert read_labels(path, frame)["damage"].tolist() == codes[:25]
    assert caplog.messages == ["x.csv: all 25 labels equal the predictions; check that a person entered them"]
    caplog.clear()
    frame[["building_id"]].assign(damage="u").to_csv(path, index=False)
    assert read_labels(path, frame.assign(damage=pd.array([None] * 30, dtype="Int8")))["damage"].isna().all()
    frame[["building_id", "damage"]].to_csv(path, index=False)
    frame.loc[3, "damage"] = 1
    read_labels(path, frame)
    assert not caplog.messages


def test_labels_of_the_validation_sample_are_excluded_from_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert validation_ids(tmp_path) == []
    (tmp_path / "validation").mkdir()
    text(tmp_path / "validation" / "sample.csv", "building_id,stratum,weight\n007,1,2.5\nb,1,2.5\n")
    assert validation_ids(tmp_path) == ["007", "b"]
    labels = pd.DataFrame({"building_id": ["7", "007", "b"], "damage": pd.array([1, 2, 3], dtype="Int8")})
    with caplog.at_level(logging.WARNING):
        assert pairs(exclude_validation(labels, validation_ids(tmp_path))) == [("7", 1)]
    assert caplog.messages == ["2 of 3 labels belong to the validation sample and are not used for training"]


def test_training_needs_two_classes() -> None:
    labels = pd.DataFrame({"building_id": ["a", "b", "c"], "damage": pd.array([4, 4, None], dtype="Int8")})
    with pytest.raises(DataError, match="All 2 labels are destroyed; two classes"):
        require_classes(labels)
    with pytest.raises(DataError, match="None of the 1 labels is a damage class"):
        require_classes(labels.iloc[2:])
    with pytest.raises(DataError, match="All 1 labels are destroyed"):
        require_classes(labels.assign(damage=pd.array([4, 0, None], dtype="Int8")))
    require_classes(labels.assign(damage=pd.array([4, 1, None], dtype="Int8")))
