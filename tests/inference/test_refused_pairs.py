"""Pairs of images that are refused, or warned of."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from image_pair import Smooth, Write, pair_of

from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.inference.pair import harmonise


def test_mistakes_have_sentences_of_their_own(write_raster: Write, smooth: Smooth, tmp_path: Path) -> None:
    good = write_raster("good.tif", smooth())
    far = write_raster("far.tif", smooth(), Affine(0.5, 0, 600_000, 0, -0.5, 4_000_000))
    coarse = write_raster("coarse.tif", smooth(), Affine(10, 0, 500_000, 0, -10, 4_000_000))
    text = tmp_path / "text.tif"
    text.write_text("no image")
    (tmp_path / "empty").mkdir()
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        nowhere = write_raster("nowhere.tif", smooth(), Affine.identity(), crs=None)
    cases = {
        far: "images do not overlap",
        nowhere: "no coordinate reference system and no transform",
        write_raster("grey.tif", smooth()[..., 0]): "has 1 band; red, green and blue are needed",
        coarse: "pixels of 10.00 m",
        tmp_path / "missing.tif": "no such file or folder",
        tmp_path / "empty": "holds no GeoTIFF",
        text: "cannot be read",
    }
    sentences = set()
    for bad, sentence in cases.items():
        with pytest.raises(DataError) as refused:
            pair_of(good, bad)
        assert sentence in str(refused.value)
        sentences.add(refused.value.message)
    assert len(sentences) == len(cases)
    with pytest.raises(ConfigError, match=r"inference\.post names no image"):
        harmonise(InferenceParams(pre=good))


@pytest.mark.parametrize("finer", [1, 2])
@pytest.mark.parametrize("damage", ["cut in half", "a block of zeros"])
def test_pixels_that_cannot_be_read_are_refused(write_raster: Write, damage: str, finer: int) -> None:
    noise = np.random.default_rng(0).integers(1, 255, (192, 192, 3)).astype(np.uint8)
    place = Affine(0.5 / finer, 0, 500_000, 0, -0.5 / finer, 4_000_000)
    bad = write_raster("bad.tif", noise, place, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    good = write_raster("good.tif", noise)
    content = bytearray(bad.read_bytes())
    middle = len(content) // 2
    content[middle : None if damage == "cut in half" else middle + 2000] = b"" if "half" in damage else bytes(2000)
    bad.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.tif cannot be read"):
        pair_of(bad, good)


@pytest.mark.parametrize(
    "nowhere", ['LOCAL_CS["Local",UNIT["metre",1]]', "+proj=longlat +a=1737400 +b=1737400 +no_defs", "IAU_2015:30100"]
)
def test_a_system_without_a_place_on_earth_is_refused(write_raster: Write, smooth: Smooth, nowhere: str) -> None:
    good, local = write_raster("good.tif", smooth()), write_raster("local.tif", smooth(), crs=nowhere)
    for pair in ((local, good), (good, local), (local, local)):
        with pytest.raises(DataError, match=r"local\.tif .*without a place on Earth"):
            pair_of(*pair)


def test_a_header_of_a_million_squared_is_refused_at_once(tmp_path: Path) -> None:
    size = {"height": 1_000_000, "width": 1_000_000, "blockxsize": 8192, "blockysize": 8192}
    place = {"crs": "EPSG:32615", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)}
    options = {"driver": "GTiff", "dtype": "uint8", "count": 3, "tiled": True, "sparse_ok": True, "bigtiff": "YES"}
    with rasterio.open(tmp_path / "huge.tif", "w", **options, **size, **place):
        pass
    started = time.monotonic()
    with pytest.raises(DataError, match="an overlap of 1000000 × 1000000 pixels"):
        pair_of(tmp_path / "huge.tif", tmp_path / "huge.tif")
    assert time.monotonic() - started < 1


def test_images_that_hardly_overlap_are_warned_of(write_raster: Write, smooth: Smooth) -> None:
    pre = write_raster("pre.tif", smooth())
    post = write_raster("post.tif", smooth(phase=1), Affine(0.5, 0, 500_142, 0, -0.5, 4_000_000))
    assert "share only 5.3% of the smaller one" in pair_of(pre, post).warnings[0]


def test_swapped_dates_are_warned_of(write_raster: Write, smooth: Smooth) -> None:
    paths = [write_raster(f"{year}.tif", smooth(phase=year)) for year in (2011, 2010)]
    for path in paths:
        with rasterio.open(path, "r+") as raster:
            raster.update_tags(TIFFTAG_DATETIME=f"{path.stem}:05:22 10:00:00")
    assert "swapped?" in pair_of(*paths).warnings[0]
    assert not pair_of(*paths[::-1]).warnings
