from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from read_tables import read_tables as read
from tiny_scenes import EPSG, LEFT, PIXEL, TOP, building, write_scene

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import DataError, LabelError
from xview2_siamese_unet.xbd.georeference import Georeference
from xview2_siamese_unet.xbd.ingest import (
    BUILDING_COLUMNS,
    LEFT_OUT,
    NO_GEOREFERENCE,
    PROBLEM_COLUMNS,
    SCENE_COLUMNS,
    building_tables,
    georeference,
    georeferences,
    tabulate_labels,
)
from xview2_siamese_unet.xbd.scenes import SceneId, tabulate_pairs

A, B = SceneId("a-fire", 1), SceneId("b-flood", 2)
BUILDINGS = (building("u1", 1, 2), building("u2", 30, 30, 4, Damage.DESTROYED))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scene(tmp_path, "tier1", A, BUILDINGS)
    write_scene(tmp_path, "test", B)
    return tmp_path


def test_labels_become_tables(folder: Path) -> None:
    scenes, buildings, problems = read(folder)
    assert list(scenes.columns) == list(SCENE_COLUMNS)
    first, second = scenes.to_dict("records")
    assert (first["scene"], first["tier"], first["disaster"], first["buildings"]) == (
        "a-fire_00000001",
        "tier1",
        "a-fire",
        2,
    )
    assert first["pre_image"] == "tier1/images/a-fire_00000001_pre_disaster.png"
    assert (first["pre_date"][:10], first["post_date"][:10]) == ("2018-10-01", "2018-10-09")
    assert (first["width"], first["height"], first["epsg"]) == (64, 64, EPSG)
    assert second["buildings"] == 0
    assert pd.isna(second["epsg"])
    assert buildings[["uid", "damage", "area"]].to_dict("records") == [
        {"uid": "u1", "damage": "no-damage", "area": 100.0},
        {"uid": "u2", "damage": "destroyed", "area": 16.0},
    ]
    assert buildings["polygon"].tolist() == [b.xy for b in BUILDINGS]
    assert list(buildings.columns) == list(BUILDING_COLUMNS)
    assert problems.empty
    assert list(problems.columns) == list(PROBLEM_COLUMNS)


def test_georeferences_are_read_from_the_table(folder: Path, tmp_path: Path) -> None:
    scenes = read(folder).scenes
    scenes.to_parquet(tmp_path / "scenes.parquet")
    for table in (scenes, pd.read_parquet(tmp_path / "scenes.parquet")):
        by_scene = georeferences(table)
        assert by_scene[str(B)] is None
        grid = by_scene[str(A)]
        assert isinstance(grid, Georeference)
        assert (grid.left, grid.top, grid.pixel) == pytest.approx((LEFT, TOP, PIXEL), abs=1e-3)


def test_the_key_depends_on_both_labels(folder: Path) -> None:
    keys = [read(folder).scenes["labels_key"].tolist()]
    for phase in ("pre", "post"):
        path = folder / f"tier1/labels/{A.stem(phase)}.json"
        path.write_text(path.read_text() + " ")
        keys.append(read(folder).scenes["labels_key"].tolist())
    assert len({first for first, _ in keys}) == 3
    assert len({second for _, second in keys}) == 1


def change(folder: Path, phase: str, edit: str, *, scene: SceneId = A) -> None:
    path = folder / f"tier1/labels/{scene.stem(phase)}.json"
    content = json.loads(path.read_text())
    match edit:
        case "other uid":
            content["features"]["xy"][0]["properties"]["uid"] = "other"
            content["features"]["lng_lat"][0]["properties"]["uid"] = "other"
        case "geometry":
            content["features"]["xy"][0]["wkt"] = "POLYGON ((0 0))"
        case "degrees":
            content["features"]["lng_lat"][0]["wkt"] = "nowhere"
        case "size":
            content["metadata"]["width"] = 65
        case "subtype":
            content["features"]["xy"][0]["properties"]["subtype"] = "gone"
    path.write_text(json.dumps(content))


BREAKS = [
    ("pre", "other uid", "2 buildings, but tier1/labels/a-fire_00000001_post_disaster.json has 2 or others"),
    ("pre", "geometry", "geometry 'POLYGON ((0 0))'"),
    ("post", "geometry", "geometry 'POLYGON ((0 0))'"),
    ("post", "degrees", "geometry 'nowhere'"),
    ("post", "size", "64 × 64 pixels in 3 band(s)"),
    ("post", "subtype", "subtype 'gone' on building u1"),
]


@pytest.mark.parametrize(("phase", "edit", "found"), BREAKS)
def test_a_broken_scene_is_an_error_or_left_out(folder: Path, phase: str, edit: str, found: str) -> None:
    write_scene(folder, "tier1", B, BUILDINGS)
    (folder / "test").rename(folder / "hidden")
    change(folder, phase, edit)
    with pytest.raises(DataError) as caught:
        read(folder)
    assert found in caught.value.message
    scenes, buildings, problems = read(folder, stop=False)
    assert scenes["scene"].tolist() == [str(B)]
    assert set(buildings["scene"]) == {str(B)}
    (problem,) = problems.to_dict("records")
    assert (problem["scene"], problem["consequence"]) == (str(A), LEFT_OUT)
    assert found in problem["problem"]
    assert problem["remedy"]


def test_an_incomplete_scene_is_an_error_or_left_out(folder: Path) -> None:
    (folder / f"tier1/images/{A.stem('post')}.png").unlink()
    with pytest.raises(DataError, match="no post image"):
        read(folder)
    scenes, _, problems = read(folder, stop=False)
    assert scenes["scene"].tolist() == [str(B)]
    assert problems["scene"].tolist() == ["tier1/a-fire_00000001"]


def test_a_label_that_cannot_be_opened_is_an_error(folder: Path) -> None:
    path = folder / f"tier1/labels/{A.stem('pre')}.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(LabelError, match="cannot be read"):
        read(folder)


def assert_used_without_a_georeference(folder: Path) -> None:
    scenes, buildings, problems = read(folder)
    assert scenes["epsg"].isna().all()
    assert len(buildings) == 2
    assert problems[["scene", "consequence"]].to_dict("records") == [{"scene": str(A), "consequence": NO_GEOREFERENCE}]


def test_a_scene_with_impossible_degrees_is_used_without_a_georeference(folder: Path) -> None:
    path = folder / f"tier1/labels/{A.stem('post')}.json"
    content = json.loads(path.read_text())
    for feature in content["features"]["lng_lat"]:
        feature["wkt"] = "POLYGON ((1 1, 2 1, 2 2, 1 2, 1 1))"
    path.write_text(json.dumps(content))
    assert_used_without_a_georeference(folder)


def test_a_scene_without_any_degrees_is_used_without_a_georeference(folder: Path) -> None:
    path = folder / f"tier1/labels/{A.stem('post')}.json"
    content = json.loads(path.read_text())
    content["features"]["lng_lat"][0]["wkt"] = ""
    path.write_text(json.dumps(content))
    with pytest.raises(LabelError, match="geometry ''"):
        read(folder)
    for feature in content["features"]["lng_lat"]:
        feature["wkt"] = ""
    path.write_text(json.dumps(content))
    assert_used_without_a_georeference(folder)


def test_buildings_over_the_edge_are_counted(tmp_path: Path) -> None:
    """An image of 64 pixels: one building inside, two over an edge, one that only touches it, two outside."""
    corners = [(1, 1), (-2, 3), (60, 60), (54, 54), (64, 1), (-40, -40)]
    write_scene(tmp_path, "tier1", A, tuple(building(f"u{x}", x, y) for x, y in corners))
    (row,) = read(tmp_path).scenes.to_dict("records")
    assert (row["buildings"], row["clipped"], row["outside"]) == (6, 2, 2)


def test_a_folder_without_usable_scenes_is_an_error_even_if_scenes_may_be_skipped(tmp_path: Path) -> None:
    write_scene(tmp_path, "tier1", A, BUILDINGS)
    change(tmp_path, "post", "subtype")
    with pytest.raises(DataError, match=r"no usable scene\. The first problem: .*subtype 'gone'"):
        read(tmp_path, stop=False)
    with pytest.raises(DataError, match="no usable scene"):
        tabulate_labels(tmp_path, tabulate_pairs([], []), [])


def test_early_names_get_their_event_from_the_label(tmp_path: Path) -> None:
    for phase, path in write_scene(tmp_path, "test", A).items():
        path.rename(path.with_name(f"test_{phase}_00007.json"))
        image = tmp_path / f"test/images/{A.stem(phase)}.png"
        image.rename(image.with_name(f"test_{phase}_00007.png"))
    (row,) = read(tmp_path).scenes.to_dict("records")
    assert (row["scene"], row["disaster"]) == ("test_00000007", "a-fire")


def test_few_buildings_are_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xview2_siamese_unet.xbd.ingest._GROUP", 10)
    row = dict.fromkeys(BUILDING_COLUMNS, "text") | {"area": 1.5}
    sizes = [table.num_rows for table in building_tables([row] * (n % 7) for n in range(100))]
    assert sum(sizes) == sum(n % 7 for n in range(100))
    assert max(sizes) < 10 + 6


def test_georeferences_of_a_table_equal_those_of_its_rows(folder: Path) -> None:
    scenes = read(folder).scenes
    assert georeferences(scenes) == {row["scene"]: georeference(row) for row in scenes.to_dict("records")}
    assert set(map(type, georeferences(scenes).values())) == {Georeference, type(None)}
