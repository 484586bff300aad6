"""Masks, the store and the table of buildings: created, reused and refused."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from kedro.io import DatasetError
from sample_data import PARAMS, PROCESSES, SAMPLE, SERIAL, burn, contents, process, project_error, tables

from xview2_siamese_unet.config.data_processing import DataProcessingParams, MaskParams, ShardParams
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.datasets.partitions import MasksDataset
from xview2_siamese_unet.datasets.store import BuildingsDataset, StoreDataset
from xview2_siamese_unet.errors import ConfigError, DataError, StaleError, StorageError
from xview2_siamese_unet.pipelines.data_processing.nodes import burn_masks, pack_scenes, parse_labels
from xview2_siamese_unet.xbd.ingest import BUILDING_SCHEMA


@pytest.mark.slow
def test_masks_and_store_do_not_depend_on_the_executor(sample: Path, tmp_path: Path, scheduler: str) -> None:
    process(sample, tmp_path / "one", SERIAL)
    process(sample, tmp_path / "two", PROCESSES)
    process(sample, tmp_path / "three", ExecutorParams(kind="dask", scheduler=scheduler))
    one = contents(tmp_path / "one")
    assert one == contents(tmp_path / "two") == contents(tmp_path / "three")
    assert len([name for name in one if name.endswith(".tif")]) == 12


def test_all_shards_together_equal_one_run(sample: Path, tmp_path: Path) -> None:
    process(sample, tmp_path / "one")
    files, scenes = tables(sample)
    masks = MasksDataset(filepath=str(tmp_path / "two" / "masks"))
    store = StoreDataset(filepath=str(tmp_path / "two" / "store"))
    for done, index in enumerate((2, 0, 1), start=1):
        shard = DataProcessingParams(shard=ShardParams(index=index, count=3))
        masks.save(burn_masks(sample, files, scenes, shard, SERIAL))
        store.save(pack_scenes(sample, scenes, masks.load(), shard, SERIAL))
        assert len(list((tmp_path / "two").rglob("*_damage.tif"))) == 2 * done
        assert (store.load().records["key"] != b"").sum() == 2 * done
        assert not (tmp_path / "two" / "store" / "problems.json").exists()
        with pytest.raises(ConfigError, match="--to-nodes parse_labels"):
            parse_labels(sample, files, SAMPLE, shard, SERIAL)
    process(sample, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_second_run_reuses_everything_and_logs_it(
    sample: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process(sample, tmp_path, SERIAL)
    before = contents(tmp_path)
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"):
        store = process(sample, tmp_path, SERIAL)
    assert contents(tmp_path) == before
    assert "scene masks: 0 made, 6 reused" in caplog.text
    assert "packed scenes: 0 made, 6 reused" in caplog.text
    assert store.exists()
    assert len(store.load()) == 6
    assert "store" in str(store)


def test_a_changed_label_reaches_the_store(sample: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(sample, raw)
    before = process(raw, tmp_path, SERIAL).load()
    name = next(name for name in before.scenes if before.scene(name).damage.any())
    rest = {other: before.scene(other).pixels.tobytes() for other in before.scenes if other != name}
    for label in raw.glob(f"*/labels/{name}_*.json"):
        text = label.read_text()
        label.write_text(text[: text.index("[")] + '[],"xy":[]},"metadata"' + text.split('"metadata"')[1])
    after = process(raw, tmp_path, SERIAL).load()
    assert not after.scene(name).damage.any()
    assert not after.scene(name).building.any()
    assert {other: after.scene(other).pixels.tobytes() for other in rest} == rest


def test_masks_of_another_rule_reach_the_store(sample: Path, tmp_path: Path) -> None:
    before = process(sample, tmp_path, SERIAL).load().records["building_pixels"].sum(axis=0)
    other = DataProcessingParams(masks=MaskParams(rule="outline"))
    with pytest.raises(DatasetError) as caught:
        process(sample, tmp_path, SERIAL, other)
    assert isinstance(project_error(caught), StaleError)
    assert "rule centre" in project_error(caught).message
    shutil.rmtree(tmp_path / "masks")
    after = process(sample, tmp_path, SERIAL, other).load().records["building_pixels"].sum(axis=0)
    assert after[1] > before[1]


def test_a_truncated_image_stops_the_run_or_is_skipped(sample: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(sample, raw)
    image = sorted(raw.glob("tier3/images/*_pre_*.png"))[0]
    scene = image.name.removesuffix("_pre_disaster.png")
    whole = image.read_bytes()
    image.write_bytes(whole[:-200])
    with pytest.raises(DatasetError) as caught:
        process(raw, tmp_path, SERIAL)
    assert project_error(caught).message.startswith(str(image))

    skipping = DataProcessingParams(on_problem="skip")
    store = process(raw, tmp_path, SERIAL, skipping).load()
    ((left_out, problem, *_),) = store.problems
    assert left_out == scene
    assert problem.startswith(str(image))
    assert "cannot be read" in problem
    with pytest.raises(DataError, match="no finished scene"):
        store.scene(scene)
    image.write_bytes(whole)
    repaired = process(raw, tmp_path, SERIAL, skipping).load()
    assert repaired.problems == []
    assert repaired.scene(scene).pixels.any()


def test_a_growing_store_keeps_the_rows_of_its_scenes(sample: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(sample, raw)
    for path in raw.glob("tier1/*/*"):
        path.rename(tmp_path / path.name)
    small = process(raw, tmp_path, SERIAL).load()
    rows = {name: row for row, name in enumerate(small.scenes)}
    for path in tmp_path.glob("*_disaster.*"):
        path.rename(raw / "tier1" / ("images" if path.suffix == ".png" else "labels") / path.name)
    large = process(raw, tmp_path, SERIAL).load()
    assert len(small) == 4
    assert len(large) == 6
    assert {name: large.rows([name])[0] for name in rows} == rows


def test_scenes_of_another_size_are_refused(sample: Path, tmp_path: Path) -> None:
    process(sample, tmp_path)
    scenes = tables(sample)[1].assign(height=96)
    masks = MasksDataset(filepath=str(tmp_path / "masks")).load()
    with pytest.raises(DatasetError) as caught:
        StoreDataset(filepath=str(tmp_path / "store")).save(pack_scenes(sample, scenes, masks, PARAMS, SERIAL))
    assert "height 64" in project_error(caught).message


def test_labels_that_change_during_a_run_are_refused(sample: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(sample, raw)
    files, scenes = tables(raw)
    label = next(raw.glob("hold/labels/*_pre_*"))
    label.write_text(label.read_text() + " ")
    with pytest.raises(DatasetError, match="have changed since parse_labels read them"):
        MasksDataset(filepath=str(tmp_path / "masks")).save(burn_masks(raw, files, scenes, PARAMS, SERIAL))
    burn(raw, tmp_path)


def test_a_disk_that_is_too_small_stops_before_anything_is_packed(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("xview2_siamese_unet.datasets.store.shutil.disk_usage", lambda _: usage(10, 0, 1000))
    with pytest.raises(DatasetError) as caught:
        process(sample, tmp_path, SERIAL)
    assert isinstance(project_error(caught), StorageError)
    assert "storage" in project_error(caught).hint
    assert not list((tmp_path / "store").iterdir())


ROW = [[0.5] if name == "area" else [name] for name in BUILDING_SCHEMA.names]
PARTS = [pa.table(ROW, BUILDING_SCHEMA)] * 2


def test_parts_become_one_table(tmp_path: Path) -> None:
    dataset = BuildingsDataset(filepath=str(tmp_path / "new" / "buildings.parquet"))
    dataset.save(lambda: PARTS)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["buildings.parquet"]
    assert dataset.load().read() == pa.concat_tables(PARTS)
    assert dataset.load().num_row_groups == 2


def test_an_error_in_a_later_part_keeps_the_previous_table(tmp_path: Path) -> None:
    def failing_parts() -> Iterator[pa.Table]:
        yield PARTS[0]
        raise RuntimeError

    dataset = BuildingsDataset(filepath=str(tmp_path / "buildings.parquet"))
    dataset.save(lambda: PARTS)
    before = (tmp_path / "buildings.parquet").read_bytes()
    with pytest.raises(DatasetError):
        dataset.save(failing_parts)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"buildings.parquet": before}


def test_arrow_uses_the_allocator_of_the_system() -> None:
    program = "import xview2_siamese_unet, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    env = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    done = subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True, text=True)  # noqa: S603
    assert done.stdout.strip() == "system"
