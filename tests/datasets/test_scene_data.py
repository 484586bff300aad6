"""The datasets of scenes, masks and the store, on a small sample."""

from __future__ import annotations

import inspect
import json
import logging
import os
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import rasterio
from kedro.io import DatasetError
from PIL import Image

from xview2_siamese_unet.datasets.folders import FoldersDataset
from xview2_siamese_unet.datasets.labels import BuildingsDataset, LabelsDataset
from xview2_siamese_unet.datasets.mask import MaskDataset
from xview2_siamese_unet.datasets.masks import MasksDataset
from xview2_siamese_unet.datasets.png_scenes import PngScenesDataset
from xview2_siamese_unet.datasets.probabilities import ProbabilityDataset
from xview2_siamese_unet.datasets.scene_folder import SceneFolderDataset
from xview2_siamese_unet.datasets.store import StoreDataset
from xview2_siamese_unet.datasets.timings import TimingsDataset
from xview2_siamese_unet.errors import ConfigError, DataError, ProjectError, StaleError, StorageError
from xview2_siamese_unet.params.data_processing import DataProcessingParams, MaskParams, ShardParams
from xview2_siamese_unet.params.dataset import DatasetParams, SampleParams, SampleScenes
from xview2_siamese_unet.pipelines.data_processing.nodes import plan_labels, plan_masks, plan_png, plan_store
from xview2_siamese_unet.raster.masks import MaskPlan
from xview2_siamese_unet.raster.png import PngPlan
from xview2_siamese_unet.raster.probability import LEVELS, as_bytes
from xview2_siamese_unet.xbd.georeference import Georeference
from xview2_siamese_unet.xbd.label_table import Labels
from xview2_siamese_unet.xbd.pairing import list_pairs

SERIAL = {"kind": "serial"}
PROCESSES = {"kind": "processes", "workers": 2}
SAMPLE = DatasetParams(sample=SampleParams(size=64, scenes=SampleScenes(tier1=2, tier3=2, hold=1, test=1)))
PARAMS = DataProcessingParams()


def folder_dataset(folder: Path, executor: dict = SERIAL, root: Path | None = None) -> SceneFolderDataset:
    return SceneFolderDataset(
        source="xbd" if root else "sample",
        root=str(root) if root else None,
        sample=str(folder),
        executor=executor,
    )


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "sample"
    folder_dataset(folder).save(SAMPLE)
    return folder


def labels_of(raw: Path, out: Path, executor: dict = SERIAL, params: DataProcessingParams = PARAMS) -> Labels:
    dataset = LabelsDataset(filepath=str(out / "labels.parquet"), executor=executor)
    dataset.save(plan_labels(raw, SAMPLE, params))
    return dataset.load()


def process(raw: Path, out: Path, executor: dict, params: DataProcessingParams = PARAMS) -> StoreDataset:
    labels = labels_of(raw, out, executor, params)
    BuildingsDataset(filepath=str(out / "buildings.parquet")).save(labels)
    masks = MasksDataset(filepath=str(out / "masks"), executor=executor)
    masks.save(plan_masks(labels, params))
    store = StoreDataset(filepath=str(out / "store"), executor=executor)
    store.save(plan_store(raw, labels.scenes, masks.load(), params))
    return store


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def message(caught: pytest.ExceptionInfo[DatasetError]) -> ProjectError:
    """Kedro wraps what a dataset raises."""
    error = caught.value.__cause__
    assert isinstance(error, ProjectError)
    return error


def test_the_sample_is_drawn_once_and_only_where_it_is_missing(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path / "s")
    lost = sorted((tmp_path / "s").rglob("*_post_disaster.json"))[0]
    kept = sorted((tmp_path / "s").rglob("*_post_disaster.json"))[1]
    lost.unlink()
    kept.write_text(kept.read_text() + " ")
    dataset = folder_dataset(tmp_path / "s")
    assert dataset.exists()
    dataset.save(SAMPLE)
    assert lost.read_bytes() == (drawn / lost.relative_to(tmp_path / "s")).read_bytes()
    assert kept.read_text().endswith(" ")
    assert dataset.load() == tmp_path / "s"


def test_two_processes_draw_the_same_sample(drawn: Path, tmp_path: Path) -> None:
    folder_dataset(tmp_path / "s", PROCESSES).save(SAMPLE)
    assert contents(tmp_path / "s") == contents(drawn)


def test_a_sample_of_other_settings_is_refused(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path / "s")
    other = DatasetParams(sample=SampleParams(size=96))
    with pytest.raises(DatasetError) as caught:
        folder_dataset(tmp_path / "s").save(other)
    assert isinstance(message(caught), StaleError)
    assert "size 64" in message(caught).found


def test_a_download_is_checked_and_nothing_is_written_into_it(drawn: Path, tmp_path: Path) -> None:
    before = contents(drawn)
    dataset = folder_dataset(tmp_path / "s", root=drawn)
    dataset.save(DatasetParams(source="xbd", root=drawn, name="mine"))
    assert dataset.load() == drawn
    assert contents(drawn) == before
    assert not (tmp_path / "s").exists()
    missing = folder_dataset(tmp_path / "s", root=tmp_path / "absent")
    assert not missing.exists()
    with pytest.raises(DatasetError) as caught:
        missing.save(DatasetParams(source="xbd", root=tmp_path / "absent"))
    assert isinstance(message(caught), DataError)
    assert "folder" in str(missing)


def test_an_archive_is_unpacked_once(drawn: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "xbd"), "zip", drawn))
    dataset = folder_dataset(tmp_path / "s", root=archive)
    params = DatasetParams(source="xbd", root=archive, name="mine")
    dataset.save(params)
    assert dataset.load() == tmp_path / "s"
    raw = {name: data for name, data in contents(drawn).items() if "/" in name}
    assert {name: data for name, data in contents(tmp_path / "s").items() if "/" in name} == raw
    scene = next((tmp_path / "s").rglob("tier3/images/*_pre_*.png")).name.removesuffix("_pre_disaster.png")
    for file in list((tmp_path / "s").rglob(f"{scene}_*")):
        file.unlink()
    dataset.save(params)
    assert not list((tmp_path / "s").rglob(f"{scene}_*"))
    archive.write_bytes(archive.read_bytes() + b" ")
    with pytest.raises(DatasetError) as caught:
        folder_dataset(tmp_path / "s", root=archive).save(params)
    assert isinstance(message(caught), StaleError)


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


@pytest.fixture(scope="session")
def geotiffs(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as the GeoTIFF release would have it."""
    raw = tmp_path_factory.mktemp("geotiffs") / "raw"
    shutil.copytree(drawn, raw)
    (raw / "tier1").rename(raw / "train")
    for image in raw.glob("*/images/*.png"):
        with Image.open(image) as opened:
            bands = np.asarray(opened).transpose(2, 0, 1).astype(np.int16)
        bands[:, (bands == 0).all(axis=0)] = -99
        profile = {"driver": "GTiff", "dtype": "int16", "count": 3, "height": 64, "width": 64, "nodata": -99}
        with rasterio.open(image.with_suffix(".tif"), "w", transform=rasterio.Affine.scale(2), **profile) as target:
            target.write(bands)
        image.unlink()
        (image.parent / f"{image.stem}.tif:Zone.Identifier").touch()
    return raw


def test_the_geotiff_release_gives_the_same_store(drawn: Path, geotiffs: Path, tmp_path: Path) -> None:
    png = process(drawn, tmp_path / "png", SERIAL).load()
    tif = process(geotiffs, tmp_path / "tif", SERIAL).load()
    assert png.scenes == tif.scenes
    np.testing.assert_array_equal(png.pixels, tif.pixels)


def write_png(raw: Path, out: Path, executor: dict = SERIAL) -> PngScenesDataset:
    dataset = PngScenesDataset(filepath=str(out), executor=executor)
    dataset.save(PngPlan(raw, list_pairs(raw)[0]))
    return dataset


def test_the_geotiff_release_as_pngs_is_the_challenge_again(drawn: Path, geotiffs: Path, tmp_path: Path) -> None:
    dataset = write_png(geotiffs, tmp_path / "png")
    assert dataset.exists()
    assert "png" in str(dataset)
    made, release = contents(dataset.load()), contents(drawn)
    assert made.keys() == {name for name in release if "/" in name}
    assert {name: data for name, data in made.items() if name.endswith(".json")}.items() <= release.items()
    for name in (name for name in made if name.endswith(".png")):
        with Image.open(tmp_path / "png" / name) as ours, Image.open(drawn / name) as theirs:
            assert (ours.mode, ours.format) == ("RGB", "PNG")
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    before = process(geotiffs, tmp_path / "before", SERIAL).load().pixels
    np.testing.assert_array_equal(process(tmp_path / "png", tmp_path / "after", SERIAL).load().pixels, before)
    write_png(geotiffs, tmp_path / "two", PROCESSES)
    assert contents(tmp_path / "two") == made


def test_only_what_changed_becomes_a_png_again(
    geotiffs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(geotiffs, tmp_path / "raw")
    write_png(tmp_path / "raw", tmp_path / "png")
    image = sorted((tmp_path / "raw").glob("tier3/images/*.tif"))[0]
    with rasterio.open(image, "r+") as opened:
        opened.write(np.full((3, 64, 64), -5, np.int16))  # below the range of bytes, and not the value for no data
    os.utime(image, (0, 0))  # older than the PNG made from what was there before
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"):
        write_png(tmp_path / "raw", tmp_path / "png")
    assert "PNG: 1 scenes made, 5 still valid and reused" in caplog.text
    with Image.open(tmp_path / "png/tier3/images" / f"{image.stem}.png") as opened:
        assert opened.getextrema() == ((0, 0),) * 3
    with rasterio.open(image, "r+") as opened:
        opened.write(np.full((3, 64, 64), 300, np.int16))
    with pytest.raises(DatasetError) as caught:
        write_png(tmp_path / "raw", tmp_path / "png")
    assert "values up to 300" in message(caught).found
    assert not list((tmp_path / "png").rglob(".*"))


@pytest.mark.parametrize(("wanted", "scenes"), [(False, 0), (True, 5)])
def test_pngs_are_of_the_scenes_in_the_store_if_asked_for(
    geotiffs: Path, tmp_path: Path, *, wanted: bool, scenes: int
) -> None:
    names = [str(pair.scene) for pair in list_pairs(geotiffs)[0]]
    table, store = pd.DataFrame({"scene": names}), SimpleNamespace(problems=[[names[2], "a.tif", "torn"]])
    plan = plan_png(geotiffs, table, store, DataProcessingParams(write_png=wanted))
    assert len(plan.pairs) == scenes
    assert names[2] not in {str(pair.scene) for pair in plan.pairs}
    dataset = PngScenesDataset(filepath=str(tmp_path / "png"), executor=SERIAL)
    dataset.save(plan)
    assert dataset.exists() == wanted


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
    ((left_out, where, *_),) = store.problems
    assert (left_out, where) == (scene, str(image))
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


def test_one_mask(tmp_path: Path) -> None:
    dataset = MaskDataset(filepath=str(tmp_path / "a.tif"))
    assert not dataset.exists()
    codes = np.arange(6, dtype=np.uint8).reshape(2, 3)
    dataset.save((codes, Georeference(32616, 1.0, 2.0, 0.5, 0.0)))
    np.testing.assert_array_equal(dataset.load(), codes)
    assert dataset.exists()
    assert "a.tif" in str(dataset)


def test_probabilities_of_one_scene(tmp_path: Path) -> None:
    dataset = ProbabilityDataset(filepath=str(tmp_path / "a.tif"))
    assert not dataset.exists()
    shares = np.random.default_rng(0).dirichlet(np.ones(5), (6, 7)).transpose(2, 0, 1)
    dataset.save((as_bytes(shares), Georeference(32616, 1.0, 2.0, 0.5, 0.0)))
    assert dataset.exists()
    np.testing.assert_allclose(dataset.load() / LEVELS, shares, atol=0.5 / LEVELS)
    with rasterio.open(tmp_path / "a.tif") as raster:
        assert raster.descriptions == ("background", "no-damage", "minor-damage", "major-damage", "destroyed")
        assert raster.scales == (1 / LEVELS,) * 5
        assert raster.crs.to_epsg() == 32616
    assert "a.tif" in str(dataset)


def test_timings_are_added_to_those_of_earlier_runs(tmp_path: Path) -> None:
    dataset = TimingsDataset(filepath=str(tmp_path / "new" / "timings.json"))
    assert dataset.load() == {}
    assert dataset.exists()
    dataset.save({"a": {"seconds": 1.0}, "b": {"seconds": 2.0}})
    dataset.save({"a": {"seconds": 3.0}})
    assert dataset.load() == {"a": {"seconds": 3.0}, "b": {"seconds": 2.0}}
    assert json.loads(dataset.preview()) == dataset.load()
    assert inspect.signature(dataset.preview).return_annotation == "JSONPreview"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["timings.json"]
    assert "timings.json" in str(dataset)


def test_folders_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    dataset = FoldersDataset(folders={"logs": str(tmp_path / "a" / "logs")})
    assert not (tmp_path / "a").exists()
    assert dataset.load() == {"logs": tmp_path / "a" / "logs"}
    assert (tmp_path / "a" / "logs").is_dir()
    with pytest.raises(DatasetError, match="read, then written into"):
        dataset.save({"logs": tmp_path})
    assert "logs" in str(dataset)


def test_masks_of_no_scene_are_none(tmp_path: Path) -> None:
    masks = MasksDataset(filepath=str(tmp_path / "masks"), executor=SERIAL)
    assert not masks.exists()
    masks.save(MaskPlan("centre", 0, lambda: iter(())))
    assert "masks" in str(masks)
