"""The file of all labels: what is written comes back, in groups of a few scenes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd import label_table
from xview2_siamese_unet.xbd.georeference import Georeference
from xview2_siamese_unet.xbd.ingest import (
    BUILDING_COLUMNS,
    LEFT_OUT,
    PROBLEM_COLUMNS,
    SCENE_COLUMNS,
    LabelPlan,
    Row,
    SceneLabels,
    georeference,
    georeferences,
)
from xview2_siamese_unet.xbd.label_table import Labels, write_labels

PLACE = {"epsg": 32616, "left": 1.5, "top": 2.5, "pixel": 0.5, "residual": 1e-6}
PLAN = LabelPlan(Path("xbd"), [], [], stop=False)


def scene(name: str, buildings: int, place: Row) -> SceneLabels:
    texts = {column: column for column, kind in SCENE_COLUMNS.items() if kind == "str"}
    facts = texts | {"scene": name, "width": 64, "height": 32, "buildings": buildings} | place
    facts |= {"clipped": 1, "outside": 0}
    inside = [
        {"uid": f"{name}-{i}", "damage": "destroyed", "polygon": f"post {i}", "pre_polygon": f"pre {i}", "area": i / 2}
        for i in range(buildings)
    ]
    return SceneLabels(facts, inside, None)


def left_out(name: str) -> SceneLabels:
    return SceneLabels(None, [], (name, "a.json is empty.", "Restore it.", LEFT_OUT))


RESULTS = [scene("a", 3, PLACE), left_out("b"), scene("c", 0, {}), scene("d", 5, PLACE), left_out("e")]


@pytest.fixture(params=[1, 4, 2048], ids="groups of {}".format)
def labels(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Labels:
    monkeypatch.setattr(label_table, "_GROUP", request.param)
    write_labels(tmp_path / "new" / "labels.parquet", PLAN, RESULTS)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["labels.parquet"]
    return Labels(tmp_path / "new" / "labels.parquet")


def test_what_is_written_comes_back_scene_by_scene(labels: Labels) -> None:
    wanted = [(result.scene, result.buildings) for result in RESULTS if result.scene is not None]
    unknown = dict.fromkeys(PLACE)
    assert list(labels.rows()) == [(unknown | facts, inside) for facts, inside in wanted]


def test_and_as_tables(labels: Labels) -> None:
    scenes = labels.scenes
    assert list(scenes.columns) == list(SCENE_COLUMNS)
    pd.testing.assert_frame_equal(scenes, scenes.astype(SCENE_COLUMNS))
    assert scenes["scene"].tolist() == ["a", "c", "d"]
    assert georeferences(scenes) == {facts["scene"]: georeference(facts) for facts, _ in labels.rows()}
    assert georeferences(scenes) == {"a": Georeference(**PLACE), "c": None, "d": Georeference(**PLACE)}
    assert list(labels.problems.itertuples(index=False, name=None)) == [RESULTS[1].problem, RESULTS[4].problem]
    assert list(labels.problems.columns) == list(PROBLEM_COLUMNS)


def test_buildings_come_in_parts_and_go_into_a_table_of_their_own(labels: Labels, tmp_path: Path) -> None:
    labels.write_buildings(tmp_path / "buildings.parquet")
    table = pd.read_parquet(tmp_path / "buildings.parquet")
    assert list(table.columns) == list(BUILDING_COLUMNS)
    assert table["uid"].tolist() == [f"a-{i}" for i in range(3)] + [f"d-{i}" for i in range(5)]
    assert table["scene"].tolist() == list("aaaddddd")
    assert table["area"].tolist() == [0, 0.5, 1, 0, 0.5, 1, 1.5, 2]
    parts = [part.to_pandas() for part in labels.buildings(["scene", "area"])]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), table[["scene", "area"]])


def test_few_scenes_are_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_table, "_GROUP", 10)
    write_labels(tmp_path / "labels.parquet", PLAN, (scene(str(n), n % 7, PLACE) for n in range(100)))
    file = pq.ParquetFile(tmp_path / "labels.parquet").metadata
    sizes = [file.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sum(sizes) == 100
    assert max(sizes) <= 10


def test_a_run_that_stops_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    write_labels(path, PLAN, RESULTS)
    before = path.read_bytes()
    stop = PLAN._replace(problems=[DataError("tier1/x", found="no image", allowed="one", remedy="add it")], stop=True)
    with pytest.raises(DataError, match="no image"):
        write_labels(path, stop, RESULTS)
    with pytest.raises(DataError, match=r"no usable scene\. The first problem: a\.json is empty\."):
        write_labels(path, PLAN, [left_out("b")])
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["labels.parquet"]


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="kedro run --pipelines data_processing"):
        Labels(tmp_path / "labels.parquet")


def test_arrow_gives_back_what_it_freed() -> None:
    program = "import xview2_siamese_unet, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    env = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    done = subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True, text=True)  # noqa: S603
    assert done.stdout.strip() == "system"
