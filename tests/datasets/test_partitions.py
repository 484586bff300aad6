"""Folders of scenes: drawn, read in place, unpacked or converted, and the settings that made them."""

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
from sample_data import PARAMS, PROCESSES, SAMPLE, SERIAL, contents, message, process, provide

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.config.dataset import DatasetParams, SampleParams
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.datasets.partitions import DownloadDataset, SceneFolderDataset, check_stamp
from xview2_siamese_unet.errors import ConfigError, StaleError
from xview2_siamese_unet.pipelines.data_processing.nodes import list_scenes, provide_scenes
from xview2_siamese_unet.pipelines.png_export import convert_scenes


def test_the_sample_is_drawn_once_and_only_where_it_is_missing(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path / "s")
    lost = sorted((tmp_path / "s").rglob("*_post_disaster.json"))[0]
    kept = sorted((tmp_path / "s").rglob("*_post_disaster.json"))[1]
    lost.unlink()
    kept.write_text(kept.read_text() + " ")
    dataset = provide(tmp_path / "s")
    assert dataset.exists()
    assert lost.read_bytes() == (drawn / lost.relative_to(tmp_path / "s")).read_bytes()
    assert kept.read_text().endswith(" ")
    assert dataset.load() == tmp_path / "s"


@pytest.mark.slow
def test_two_processes_draw_the_same_sample(drawn: Path, tmp_path: Path) -> None:
    provide(tmp_path / "s", executor=PROCESSES)
    assert contents(tmp_path / "s") == contents(drawn)


def test_a_sample_of_other_settings_is_refused(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path / "s")
    with pytest.raises(DatasetError) as caught:
        provide(tmp_path / "s", params=DatasetParams(sample=SampleParams(size=96)))
    assert isinstance(message(caught), StaleError)
    assert "size 64" in message(caught).message


def test_a_sample_that_other_code_has_drawn_is_refused(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path / "s")
    stamp = tmp_path / "s" / "made_with.json"
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"code": "older"}))
    with pytest.raises(DatasetError, match="code older"):
        provide(tmp_path / "s")


def test_a_download_is_read_where_it_lies_and_never_written_to(drawn: Path, tmp_path: Path) -> None:
    before = contents(drawn)
    dataset = provide(tmp_path / "s", root=drawn)
    assert dataset.load() == drawn
    with pytest.raises(DatasetError) as caught:
        dataset.save(provide_scenes(None, SAMPLE, SERIAL))
    assert isinstance(message(caught), ConfigError)
    assert contents(drawn) == before
    assert not (tmp_path / "s").exists()
    missing = provide(tmp_path / "s", root=tmp_path / "absent")
    assert not missing.exists()
    assert "absent" in str(missing)


def test_the_download_is_what_the_user_names(drawn: Path) -> None:
    download = DownloadDataset(source="xbd", path=str(drawn))
    assert download.load() == drawn
    assert download.exists()
    assert not DownloadDataset(source="xbd", path=str(drawn / "absent")).exists()
    assert DownloadDataset(source="sample", path=str(drawn)).load() is None
    with pytest.raises(DatasetError, match="read only"):
        download.save("a folder")


def test_an_archive_is_unpacked_once(drawn: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "xbd"), "zip", drawn))
    dataset = provide(tmp_path / "s", root=archive)
    assert dataset.load() == tmp_path / "s"
    raw = {name: data for name, data in contents(drawn).items() if "/" in name}
    assert {name: data for name, data in contents(tmp_path / "s").items() if "/" in name} == raw
    scene = next((tmp_path / "s").rglob("tier3/images/*_pre_*.png")).name.removesuffix("_pre_disaster.png")
    for file in list((tmp_path / "s").rglob(f"{scene}_*")):
        file.unlink()
    provide(tmp_path / "s", root=archive)
    assert not list((tmp_path / "s").rglob(f"{scene}_*"))
    archive.write_bytes(archive.read_bytes() + b" ")
    with pytest.raises(DatasetError) as caught:
        provide(tmp_path / "s", root=archive)
    assert isinstance(message(caught), StaleError)


def test_a_damaged_archive_is_not_recorded_as_unpacked(drawn: Path, tmp_path: Path) -> None:
    archive = tmp_path / "xbd.tar"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as target:
        target.add(drawn, ".")
    whole = archive.read_bytes()
    headers = [place for place in range(0, len(whole), 512) if whole[place + 257 : place + 262] == b"ustar"]
    archive.write_bytes(whole[: headers[-1]] + b"\xff" + whole[headers[-1] + 1 :])
    for _ in range(2):
        with pytest.raises(DatasetError, match="cannot be read"):
            provide(tmp_path / "s", root=archive)
        assert not (tmp_path / "s/unpacked.json").exists()
    archive.write_bytes(whole)
    provide(tmp_path / "s", root=archive)
    assert (tmp_path / "s/unpacked.json").exists()


def test_the_geotiff_release_gives_the_same_store(drawn: Path, geotiffs: Path, tmp_path: Path) -> None:
    png = process(drawn, tmp_path / "png", SERIAL).load()
    tif = process(geotiffs, tmp_path / "tif", SERIAL).load()
    assert png.scenes == tif.scenes
    np.testing.assert_array_equal(png.pixels, tif.pixels)


def write_png(
    raw: Path, out: Path, executor: ExecutorParams = SERIAL, torn: tuple[str, ...] = ()
) -> SceneFolderDataset:
    """Convert all scenes but the torn ones, which are not in the store."""
    files = list_scenes(raw, PARAMS)
    store = SimpleNamespace(scenes=files["scene"], problems=[[scene, "a.tif", "torn"] for scene in torn])
    dataset = SceneFolderDataset(filepath=str(out))
    dataset.save(convert_scenes(raw, files, store, executor))
    return dataset


@pytest.mark.slow
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
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"):
        write_png(tmp_path / "raw", tmp_path / "png")
    assert "PNG scenes: 1 made, 5 reused" in caplog.text
    with Image.open(tmp_path / "png/tier3/images" / f"{image.stem}.png") as opened:
        assert opened.getextrema() == ((0, 0),) * 3
    with rasterio.open(image, "r+") as opened:
        opened.write(np.full((3, 64, 64), 300, np.int16))
    with pytest.raises(DatasetError) as caught:
        write_png(tmp_path / "raw", tmp_path / "png")
    assert "to 300" in message(caught).message
    assert not list((tmp_path / "png").rglob(".*"))


def test_pngs_are_of_the_scenes_in_the_store(geotiffs: Path, tmp_path: Path) -> None:
    torn = str(list_scenes(geotiffs, PARAMS)["scene"][2])
    write_png(geotiffs, tmp_path / "png", torn=(torn,))
    assert len(list((tmp_path / "png").glob("*/images/*.png"))) == 2 * 5
    assert not list((tmp_path / "png").rglob(f"{torn}_*"))


def test_the_same_settings_are_taken_again(tmp_path: Path) -> None:
    settings = {"size": 64, "scenes": {"tier1": 2}, "pair": (1, 2)}
    check_stamp(tmp_path / "new", settings)
    check_stamp(tmp_path / "new", settings)
    assert json.loads((tmp_path / "new" / "made_with.json").read_text())["size"] == 64


def test_other_settings_are_refused_by_name_and_nothing_is_touched(tmp_path: Path) -> None:
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


def test_a_file_is_old_or_new_and_leaves_nothing_beside(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", "1")
    write_atomically(tmp_path / "a.json", "2")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "2"
