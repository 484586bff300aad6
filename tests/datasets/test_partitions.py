"""Folders of scenes: generated, read in place, unpacked or converted, and the settings that made them."""

from __future__ import annotations

import json
import logging
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from kedro.io import DatasetError
from PIL import Image
from sample_data import PARAMS, PROCESSES, SAMPLE, SERIAL, contents, process, project_error, provide

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.config.dataset import DatasetParams, SampleParams
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.datasets.partitions import DownloadDataset, SceneFolderDataset, check_stamp
from xview2_siamese_unet.errors import ConfigError, StaleError
from xview2_siamese_unet.pipelines.data_processing.nodes import list_scenes, provide_scenes
from xview2_siamese_unet.pipelines.png_export import convert_scenes


def test_only_missing_files_of_the_sample_are_generated(sample: Path, tmp_path: Path) -> None:
    shutil.copytree(sample, tmp_path / "s")
    lost = sorted((tmp_path / "s").rglob("*_post_disaster.json"))[0]
    kept = sorted((tmp_path / "s").rglob("*_post_disaster.json"))[1]
    lost.unlink()
    kept.write_text(kept.read_text() + " ")
    dataset = provide(tmp_path / "s")
    assert dataset.exists()
    assert lost.read_bytes() == (sample / lost.relative_to(tmp_path / "s")).read_bytes()
    assert kept.read_text().endswith(" ")
    assert dataset.load() == tmp_path / "s"


@pytest.mark.slow
def test_two_processes_generate_the_same_sample(sample: Path, tmp_path: Path) -> None:
    provide(tmp_path / "s", executor=PROCESSES)
    assert contents(tmp_path / "s") == contents(sample)


def test_a_sample_of_other_settings_is_refused(sample: Path, tmp_path: Path) -> None:
    shutil.copytree(sample, tmp_path / "s")
    with pytest.raises(DatasetError) as caught:
        provide(tmp_path / "s", params=DatasetParams(sample=SampleParams(size=96)))
    assert isinstance(project_error(caught), StaleError)
    assert "size 64" in project_error(caught).message


def test_a_sample_that_other_code_has_generated_is_refused(sample: Path, tmp_path: Path) -> None:
    shutil.copytree(sample, tmp_path / "s")
    stamp = tmp_path / "s" / "made_with.json"
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"code": "older"}))
    with pytest.raises(DatasetError, match="code older"):
        provide(tmp_path / "s")


def test_a_download_is_read_in_place_and_never_changed(sample: Path, tmp_path: Path) -> None:
    before = contents(sample)
    dataset = provide(tmp_path / "s", root=sample)
    assert dataset.load() == sample
    with pytest.raises(DatasetError) as caught:
        dataset.save(provide_scenes(None, SAMPLE, SERIAL))
    assert isinstance(project_error(caught), ConfigError)
    assert contents(sample) == before
    assert not (tmp_path / "s").exists()
    missing = provide(tmp_path / "s", root=tmp_path / "absent")
    assert not missing.exists()
    assert "absent" in str(missing)


def test_the_download_is_the_folder_of_the_configuration(sample: Path) -> None:
    download = DownloadDataset(source="xbd", path=str(sample))
    assert download.load() == sample
    assert download.exists()
    assert not DownloadDataset(source="xbd", path=str(sample / "absent")).exists()
    assert DownloadDataset(source="sample", path=str(sample)).load() is None
    with pytest.raises(DatasetError, match="read only"):
        download.save("a folder")


def test_an_archive_is_unpacked_once(sample: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "xbd"), "zip", sample))
    dataset = provide(tmp_path / "s", root=archive)
    assert dataset.load() == tmp_path / "s"
    raw = {name: data for name, data in contents(sample).items() if "/" in name}
    assert {name: data for name, data in contents(tmp_path / "s").items() if "/" in name} == raw
    scene = next((tmp_path / "s").rglob("tier3/images/*_pre_*.png")).name.removesuffix("_pre_disaster.png")
    for file in list((tmp_path / "s").rglob(f"{scene}_*")):
        file.unlink()
    provide(tmp_path / "s", root=archive)
    assert not list((tmp_path / "s").rglob(f"{scene}_*"))
    archive.write_bytes(archive.read_bytes() + b" ")
    with pytest.raises(DatasetError) as caught:
        provide(tmp_path / "s", root=archive)
    assert isinstance(project_error(caught), StaleError)


def test_a_damaged_archive_is_not_recorded_as_unpacked(sample: Path, tmp_path: Path) -> None:
    archive = tmp_path / "xbd.tar"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as target:
        target.add(sample, ".")
    whole = archive.read_bytes()
    headers = [offset for offset in range(0, len(whole), 512) if whole[offset + 257 : offset + 262] == b"ustar"]
    archive.write_bytes(whole[: headers[-1]] + b"\xff" + whole[headers[-1] + 1 :])
    for _ in range(2):
        with pytest.raises(DatasetError, match="cannot be read"):
            provide(tmp_path / "s", root=archive)
        assert not (tmp_path / "s/unpacked.json").exists()
    archive.write_bytes(whole)
    provide(tmp_path / "s", root=archive)
    assert (tmp_path / "s/unpacked.json").exists()


def test_the_geotiff_release_gives_the_same_store(sample: Path, geotiffs: Path, tmp_path: Path) -> None:
    png = process(sample, tmp_path / "png", SERIAL).load()
    tif = process(geotiffs, tmp_path / "tif", SERIAL).load()
    assert png.scenes == tif.scenes
    np.testing.assert_array_equal(png.pixels, tif.pixels)


def write_png(
    raw: Path, out: Path, executor: ExecutorParams = SERIAL, unreadable: tuple[str, ...] = ()
) -> SceneFolderDataset:
    """Convert all scenes except unreadable ones, which are not in the store."""
    files = list_scenes(raw, PARAMS)
    store = SimpleNamespace(scenes=files["scene"], problems=[[scene, "a.tif", "unreadable"] for scene in unreadable])
    dataset = SceneFolderDataset(filepath=str(out))
    dataset.save(convert_scenes(raw, files, store, executor))
    return dataset


@pytest.mark.slow
def test_the_geotiff_release_as_pngs_equals_the_png_release(sample: Path, geotiffs: Path, tmp_path: Path) -> None:
    dataset = write_png(geotiffs, tmp_path / "png")
    assert dataset.exists()
    assert "png" in str(dataset)
    made, release = contents(dataset.load()), contents(sample)
    assert made.keys() == {name for name in release if "/" in name}
    assert {name: data for name, data in made.items() if name.endswith(".json")}.items() <= release.items()
    for name in (name for name in made if name.endswith(".png")):
        with Image.open(tmp_path / "png" / name) as ours, Image.open(sample / name) as theirs:
            assert (ours.mode, ours.format) == ("RGB", "PNG")
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    before = process(geotiffs, tmp_path / "before", SERIAL).load().pixels
    np.testing.assert_array_equal(process(tmp_path / "png", tmp_path / "after", SERIAL).load().pixels, before)
    write_png(geotiffs, tmp_path / "two", PROCESSES)
    assert contents(tmp_path / "two") == made


def test_only_changed_scenes_are_converted_again(
    geotiffs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(geotiffs, tmp_path / "raw")
    write_png(tmp_path / "raw", tmp_path / "png")
    image = sorted((tmp_path / "raw").glob("tier3/images/*.tif"))[0]
    with rasterio.open(image, "r+") as opened:
        opened.write(np.full((3, 64, 64), -5, np.int16))  # below the range of bytes, and not the value for no data
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"):
        write_png(tmp_path / "raw", tmp_path / "png")
    assert "PNG scenes: 1 made, 5 reused" in caplog.text
    with Image.open(tmp_path / "png/tier3/images" / f"{image.stem}.png") as opened:
        assert opened.getextrema() == ((0, 0),) * 3
    with rasterio.open(image, "r+") as opened:
        opened.write(np.full((3, 64, 64), 300, np.int16))
    with pytest.raises(DatasetError) as caught:
        write_png(tmp_path / "raw", tmp_path / "png")
    assert "to 300" in project_error(caught).message
    assert not list((tmp_path / "png").rglob(".*"))


def test_only_scenes_in_the_store_become_pngs(geotiffs: Path, tmp_path: Path) -> None:
    unreadable = str(list_scenes(geotiffs, PARAMS)["scene"][2])
    write_png(geotiffs, tmp_path / "png", unreadable=(unreadable,))
    assert len(list((tmp_path / "png").glob("*/images/*.png"))) == 2 * 5
    assert not list((tmp_path / "png").rglob(f"{unreadable}_*"))


def test_the_same_settings_are_accepted_again(tmp_path: Path) -> None:
    settings = {"size": 64, "scenes": {"tier1": 2}, "pair": (1, 2)}
    check_stamp(tmp_path / "new", settings)
    check_stamp(tmp_path / "new", settings)
    assert json.loads((tmp_path / "new" / "made_with.json").read_text())["size"] == 64


def test_other_settings_are_refused_by_name_and_nothing_is_changed(tmp_path: Path) -> None:
    check_stamp(tmp_path, {"size": 64, "seed": 1})
    before = (tmp_path / "made_with.json").read_bytes()
    with pytest.raises(StaleError) as caught:
        check_stamp(tmp_path, {"size": 128, "seed": 1, "new": True})
    assert "new None (now True), size 64 (now 128)" in caught.value.message
    assert (tmp_path / "made_with.json").read_bytes() == before


def test_a_damaged_stamp_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made_with.json").write_text('{"size"')
    with pytest.raises(StaleError, match="is not valid JSON"):
        check_stamp(tmp_path, {"size": 64})


def test_an_atomic_write_leaves_no_other_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", "1")
    write_atomically(tmp_path / "a.json", "2")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "2"
