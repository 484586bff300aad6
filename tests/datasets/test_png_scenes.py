"""The GeoTIFF release, packed as it lies and as the PNGs of the challenge."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from kedro.io import DatasetError
from PIL import Image
from sample_data import PARAMS, PROCESSES, SERIAL, contents, message, process

from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.datasets.partitions import SceneFolderDataset
from xview2_siamese_unet.pipelines.data_processing.nodes import list_scenes
from xview2_siamese_unet.pipelines.png_export.nodes import convert_scenes


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
    assert "PNG scenes: 1 made, 5 still valid and reused" in caplog.text
    with Image.open(tmp_path / "png/tier3/images" / f"{image.stem}.png") as opened:
        assert opened.getextrema() == ((0, 0),) * 3
    with rasterio.open(image, "r+") as opened:
        opened.write(np.full((3, 64, 64), 300, np.int16))
    with pytest.raises(DatasetError) as caught:
        write_png(tmp_path / "raw", tmp_path / "png")
    assert "up to 300" in message(caught).found
    assert not list((tmp_path / "png").rglob(".*"))


def test_pngs_are_of_the_scenes_in_the_store(geotiffs: Path, tmp_path: Path) -> None:
    torn = str(list_scenes(geotiffs, PARAMS)["scene"][2])
    write_png(geotiffs, tmp_path / "png", torn=(torn,))
    assert len(list((tmp_path / "png").glob("*/images/*.png"))) == 2 * 5
    assert not list((tmp_path / "png").rglob(f"{torn}_*"))
