"""Masks and the store: what is made, what is reused, what is refused."""

from __future__ import annotations

import logging
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from kedro.io import DatasetError
from sample_data import PARAMS, PROCESSES, SAMPLE, SERIAL, contents, labels_of, message, process

from xview2_siamese_unet.datasets.masks import MasksDataset
from xview2_siamese_unet.datasets.store import StoreDataset
from xview2_siamese_unet.errors import ConfigError, DataError, StaleError, StorageError
from xview2_siamese_unet.params.data_processing import DataProcessingParams, MaskParams, ShardParams
from xview2_siamese_unet.pipelines.data_processing.nodes import plan_labels, plan_masks, plan_store
from xview2_siamese_unet.raster.masks import MaskPlan


def test_masks_and_store_do_not_depend_on_who_makes_them(drawn: Path, tmp_path: Path, scheduler: str) -> None:
    process(drawn, tmp_path / "one", SERIAL)
    process(drawn, tmp_path / "two", PROCESSES)
    process(drawn, tmp_path / "three", {"kind": "dask", "scheduler": scheduler})
    one = contents(tmp_path / "one")
    assert one == contents(tmp_path / "two") == contents(tmp_path / "three")
    assert len([name for name in one if name.endswith(".tif")]) == 12


def test_parts_make_together_what_one_run_makes(drawn: Path, tmp_path: Path) -> None:
    process(drawn, tmp_path / "one", SERIAL)
    labels = labels_of(drawn, tmp_path / "two")
    for index in (2, 0, 1):
        part = DataProcessingParams(shard=ShardParams(index=index, count=3))
        jobs = plan_masks(labels, part)
        masks = MasksDataset(filepath=str(tmp_path / "two" / "masks"), executor=SERIAL)
        masks.save(jobs)
        plan = plan_store(drawn, labels.scenes, masks.load(), part)
        assert [job.scene for job in plan.jobs] == [job.scene for job in jobs]
        assert len(jobs) == 2
        StoreDataset(filepath=str(tmp_path / "two" / "store"), executor=SERIAL).save(plan)
        assert not (tmp_path / "two" / "store" / "problems.json").exists()
        with pytest.raises(ConfigError, match="--to-nodes tabulate_labels"):
            plan_labels(drawn, SAMPLE, part)
    process(drawn, tmp_path / "two", SERIAL)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_second_run_makes_nothing_and_says_so(drawn: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    process(drawn, tmp_path, SERIAL)
    before = contents(tmp_path)
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"):
        store = process(drawn, tmp_path, SERIAL)
    assert contents(tmp_path) == before
    assert "masks: 0 scenes made, 6 still valid and reused" in caplog.text
    assert "store: 0 scenes made, 6 still valid and reused" in caplog.text
    assert store.exists()
    assert len(store.load()) == 6
    assert "store" in str(store)


def test_a_changed_label_reaches_the_store(drawn: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(drawn, raw)
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


def test_another_rule_in_new_masks_reaches_the_store(drawn: Path, tmp_path: Path) -> None:
    before = process(drawn, tmp_path, SERIAL).load().records["building_pixels"].sum(axis=0)
    other = DataProcessingParams(masks=MaskParams(rule="outline"))
    with pytest.raises(DatasetError) as caught:
        process(drawn, tmp_path, SERIAL, other)
    assert isinstance(message(caught), StaleError)
    assert "rule centre" in message(caught).found
    shutil.rmtree(tmp_path / "masks")
    after = process(drawn, tmp_path, SERIAL, other).load().records["building_pixels"].sum(axis=0)
    assert after[1] > before[1]


def test_an_image_that_is_torn_stops_or_is_left_out(drawn: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(drawn, raw)
    image = sorted(raw.glob("tier3/images/*_pre_*.png"))[0]
    scene = image.name.removesuffix("_pre_disaster.png")
    whole = image.read_bytes()
    image.write_bytes(whole[:-200])
    with pytest.raises(DatasetError) as caught:
        process(raw, tmp_path, SERIAL)
    assert message(caught).where == str(image)

    skipping = DataProcessingParams(on_problem="skip")
    store = process(raw, tmp_path, SERIAL, skipping).load()
    ((left_out, problem, *_),) = store.problems
    assert left_out == scene
    assert problem.startswith(f"{image}: found a file that cannot be read")
    with pytest.raises(DataError, match="no finished scene"):
        store.scene(scene)
    image.write_bytes(whole)
    mended = process(raw, tmp_path, SERIAL, skipping).load()
    assert mended.problems == []
    assert mended.scene(scene).pixels.any()


def test_a_store_grows_and_moves_no_scene(drawn: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(drawn, raw)
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


def test_scenes_of_another_size_do_not_enter_a_store(drawn: Path, tmp_path: Path) -> None:
    process(drawn, tmp_path, SERIAL)
    plan = plan_store(drawn, labels_of(drawn, tmp_path).scenes, tmp_path / "masks", PARAMS)._replace(height=96)
    with pytest.raises(DatasetError) as caught:
        StoreDataset(filepath=str(tmp_path / "store"), executor=SERIAL).save(plan)
    assert "height 64" in message(caught).found


def test_a_disk_that_is_too_small_stops_before_anything_is_packed(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("xview2_siamese_unet.datasets.store.shutil.disk_usage", lambda _: usage(10, 0, 1000))
    with pytest.raises(DatasetError) as caught:
        process(drawn, tmp_path, SERIAL)
    assert isinstance(message(caught), StorageError)
    assert "storage" in message(caught).remedy
    assert not list((tmp_path / "store").iterdir())


def test_masks_of_no_scene_are_none(tmp_path: Path) -> None:
    masks = MasksDataset(filepath=str(tmp_path / "masks"), executor=SERIAL)
    assert not masks.exists()
    masks.save(MaskPlan("centre", 0, lambda: iter(())))
    assert "masks" in str(masks)
