"""Any two rasters are put on one grid or refused."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.enums import ColorInterp, Resampling
from rasterio.warp import calculate_default_transform, reproject
from rasterio.windows import Window

from image_pair import Smooth, Write, pair_of, whole
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.inference.pair import HarmonisedPair, harmonise
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.reader import TileReader
from xview2_siamese_unet.raster.source import read_source


def classes(pre: np.ndarray, post: np.ndarray) -> np.ndarray:
    """Return five classes by the change in brightness, as a network of single pixels would."""
    change = post.astype(int).sum(axis=2) - pre.astype(int).sum(axis=2)
    return np.digitize(change, [-300, -100, 100, 300])


def test_images_on_one_grid_are_unchanged(write_raster: Write, smooth: Smooth) -> None:
    images = smooth(), smooth(phase=1.0)
    harmonised = pair_of(*(write_raster(f"{k}.tif", image) for k, image in enumerate(images)))
    pre, post, valid = whole(harmonised)
    np.testing.assert_array_equal(pre, images[0])
    np.testing.assert_array_equal(post, images[1])
    assert valid.all()
    assert not harmonised.warnings


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rasterio's own
def test_any_crs_depth_order_and_extent_gives_the_same_classes(write_raster: Write, smooth: Smooth) -> None:
    """Pre: 16 bits, BGR and near infrared, another zone, finer. Post: degrees, alpha. Against the plain images."""
    before, after = smooth(400, 500), smooth(400, 500, phase=0.8)
    plain = [write_raster(f"plain{k}.tif", image) for k, image in enumerate((before, after))]
    deep = np.concatenate([before[..., ::-1], before[..., :1]], axis=2).astype(np.uint16) * 257
    zone = write_raster("deep.tif", deep, nodata=0)
    meaning = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]
    pre = _reprojected(zone, zone.with_name("pre.tif"), "EPSG:32616", 0.3, meaning)
    clear = write_raster("clear.tif", np.concatenate([after, np.full_like(after[..., :1], 255)], axis=2))
    post = _reprojected(clear, clear.with_name("post.tif"), "EPSG:4326", None, [*list(ColorInterp)[3:7]])
    harmonised = pair_of(pre, post, stretch=None)
    assert harmonised.pair.stretch[1] is None
    aligned = harmonise(InferenceParams(pre=plain[0], post=plain[1], registration="off"))
    # The stretch of 16 bits is estimated from percentiles; `classes` needs absolute values, so the test sets it.
    stretch = (harmonised.pair.stretch[0]._replace(low=0, high=65535), None)
    moved = replace(harmonised.pair, grid=aligned.pair.grid, stretch=stretch)
    converted, plain_pair = whole(HarmonisedPair(moved, ())), whole(aligned)
    both = converted[2] & plain_pair[2]
    assert both.mean() > 0.95
    same = classes(*converted[:2])[both] == classes(*plain_pair[:2])[both]
    assert same.mean() >= 0.995


def _reprojected(source: Path, target: Path, crs: str, pixel: float | None, meaning: list[ColorInterp]) -> Path:
    with rasterio.open(source) as raster:
        bands = raster.read()
        transform, width, height = calculate_default_transform(
            raster.crs, crs, raster.width, raster.height, *raster.bounds, resolution=pixel
        )
        profile = {**raster.profile, "crs": crs, "transform": transform, "width": width, "height": height}
        with rasterio.open(target, "w", **profile) as out:
            warped = np.zeros((len(bands), height, width), bands.dtype)
            reproject(
                bands,
                warped,
                src_transform=raster.transform,
                src_crs=raster.crs,
                dst_transform=transform,
                dst_crs=crs,
                resampling=Resampling.cubic,
            )
            out.write(warped)
            out.colorinterp = meaning
    return target


def test_rotated_and_south_up_rasters_are_put_upright(write_raster: Write, smooth: Smooth) -> None:
    image = smooth(200, 200)
    plain = write_raster("plain.tif", image)
    south_up = write_raster("south.tif", image[::-1], Affine(0.5, 0, 500_000, 0, 0.5, 4_000_000 - 100))
    pre, post, valid = whole(pair_of(plain, south_up))
    assert valid.all()
    np.testing.assert_array_equal(pre, post)
    around = Affine.translation(500_050, 4_000_000 - 50)
    turned = around @ Affine.rotation(90) @ ~around @ Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
    quarter = write_raster("quarter.tif", np.rot90(image, -1), turned)
    pre, post, valid = whole(pair_of(plain, quarter))
    assert valid.mean() > 0.98
    assert np.abs(pre.astype(int) - post)[valid].max() <= 4  # GDAL's warper is accurate to an eighth of a pixel


@pytest.mark.parametrize("how", ["nodata", "alpha", "black"])
def test_pixels_without_data_in_either_image_are_not_valid(write_raster: Write, smooth: Smooth, how: str) -> None:
    image, holey = smooth(), smooth(phase=1)
    pre = write_raster("pre.tif", image)
    if how == "alpha":
        alpha = np.full((*holey.shape[:2], 1), 255, np.uint8)
        alpha[50:100, 60:90] = 0
        holey = np.concatenate([holey, alpha], axis=2)
        post = write_raster("post.tif", holey, photometric="RGB", alpha="YES")
    else:
        holey[50:100, 60:90] = 0 if how == "black" else 254
        post = write_raster("post.tif", holey, nodata=254 if how == "nodata" else None)
    _, after, valid = whole(pair_of(pre, post))
    expected = np.ones(image.shape[:2], bool)
    expected[50:100, 60:90] = False
    if how == "nodata":  # for GDAL, a pixel has no data only if all of its bands have none
        expected &= ~(holey == 254).all(axis=2)
    np.testing.assert_array_equal(valid, expected)
    assert (after[50:100, 60:90] == 0).all()


@pytest.mark.parametrize("seed", range(12))
def test_tiles_off_the_grid_leave_no_seam(write_raster: Write, smooth: Smooth, seed: int) -> None:
    """A pixel has data if its centre lies in a tile or on the border of two, despite rounding."""
    rng = np.random.default_rng(seed)
    pixel = float(rng.choice([0.3, 0.31, 0.46, 0.5, rng.uniform(0.1, 3)]))
    offset, finer = rng.choice([0.5, 0.5, 0.25, rng.uniform(0, 1)]), rng.choice([1, 1, 1.5])
    left, top, own, side = rng.uniform(2e5, 8e5), rng.uniform(1e5, 9e6), pixel / finer, round(60 * finer)
    grid = Grid("EPSG:32615", left, top, pixel, 50, 50)
    west, north = left + (offset - 5) * pixel, top - (offset - 5) * pixel
    image, covered = smooth(side, side), np.zeros((50, 50), int)
    cuts = [slice(0, side // 3), slice(side // 3, side // 2 + 1), slice(side // 2 + 1, side)]
    for k, (rows, columns) in enumerate(product(cuts, cuts)):
        transform = Affine(own, 0, west + columns.start * own, 0, -own, north - rows.start * own)
        path = write_raster(f"{k}.tif", image[rows, columns], transform)
        tile = TileReader(read_source(path).tiles[0], grid, grid.transform, black=True)
        covered += tile.read(Window(0, 0, 50, 50))[1]
        tile.close()
    centres = np.arange(50) + 0.5
    ends = (offset - 5, offset - 5 + side / finer)
    inside = (centres > ends[0] + 1e-3) & (centres < ends[1] - 1e-3)
    assert inside.sum() >= 49
    np.testing.assert_array_equal(covered[np.ix_(inside, inside)], 1)


def test_both_16_bit_images_share_one_stretch(write_raster: Write, smooth: Smooth) -> None:
    dark, bright = (smooth(phase=p).astype(np.uint16) * f for p, f in ((0, 4), (1, 8)))
    harmonised = pair_of(write_raster("a.tif", dark), write_raster("b.tif", bright))
    assert harmonised.pair.stretch[0] == harmonised.pair.stretch[1] is not None
    pre, post, _ = whole(harmonised)
    assert post.mean() > 1.5 * pre.mean()


def test_the_estimated_stretch_gives_the_same_classes_as_the_original_bytes(
    write_raster: Write, smooth: Smooth
) -> None:
    """Eleven bits in sixteen, as satellites deliver them, with a few specular highlights."""
    images = [np.clip((smooth(phase=p).astype(int) - 127) * 3 + 127, 1, 255).astype(np.uint8) for p in (0, 0.8)]
    paths = []
    for name, image in zip("ab", images, strict=True):
        deep = (image.astype(np.uint16) * 7 + 60)[..., ::-1].copy()
        deep[::40, ::40] = 30_000
        order = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
        paths.append(write_raster(f"{name}.tif", deep, colorinterp=order))
    harmonised = pair_of(*paths)
    stretch = harmonised.pair.stretch[0]
    assert stretch == harmonised.pair.stretch[1]
    assert (stretch.low, stretch.high) == pytest.approx((67, 255 * 7 + 60), abs=8)
    predicted = classes(*whole(harmonised)[:2])
    assert (predicted == classes(*images)).mean() >= 0.995


@pytest.mark.parametrize("glint", [1.0, 1.4, 3e30])
def test_reflectance_is_stretched_like_other_deep_images(write_raster: Write, smooth: Smooth, glint: float) -> None:
    images = [(smooth(phase=p) / 255).astype(np.float32) for p in (0, 0.8)]
    for image in images:
        image[::40, ::40] = glint
    harmonised = pair_of(*(write_raster(f"{k}.tif", image) for k, image in enumerate(images)))
    assert harmonised.pair.stretch[0] == harmonised.pair.stretch[1]
    assert harmonised.pair.stretch[0] == pytest.approx((7 / 255, 247 / 255), abs=0.01)
    assert not harmonised.warnings
    pixels = whole(harmonised)
    assert (classes(*pixels[:2]) == classes(smooth(), smooth(phase=0.8))).mean() >= 0.95
    assert pixels.pre.std() > 50


def test_images_in_different_units_are_stretched_separately_with_a_warning(write_raster: Write, smooth: Smooth) -> None:
    paths = write_raster("a.tif", smooth() / 255), write_raster("b.tif", smooth().astype(np.uint16) * 30)
    harmonised = pair_of(*paths)
    assert "in different units" in harmonised.warnings[0]
    pre, post, _ = whole(harmonised)
    assert np.abs(pre.astype(int) - post).max() <= 1


def test_an_image_of_one_value_has_a_stretch(write_raster: Write) -> None:
    flat = write_raster("a.tif", np.full((100, 100, 3), 0.25, np.float32))
    low, high = pair_of(flat, flat).pair.stretch[0]
    assert (low, high) == pytest.approx((0.25, 0.25 + 1 / 255))


def test_small_values_in_16_bits_are_not_stretched(write_raster: Write, smooth: Smooth) -> None:
    image = smooth()
    harmonised = pair_of(write_raster("a.tif", image.astype(np.int16)), write_raster("b.tif", image))
    assert harmonised.pair.stretch == (None, None)
    assert "both images show the same pixels" in harmonised.warnings[0]


def test_nothing_outside_the_area_of_interest_is_valid(write_raster: Write, smooth: Smooth) -> None:
    path = write_raster("a.tif", smooth())
    area = shapely.Polygon([(500_020, 3_999_990), (500_070, 3_999_990), (500_020, 3_999_950)])
    aoi = path.with_name("aoi.geojson")
    gpd.GeoDataFrame(geometry=[area], crs="EPSG:32615").to_crs("OGC:CRS84").to_file(aoi, engine="pyogrio")
    harmonised = harmonise(InferenceParams(pre=path, post=path, aoi=aoi, registration="off"))
    assert (harmonised.pair.grid.width, harmonised.pair.grid.height) == (100, 80)
    _, _, valid = whole(harmonised)
    assert valid.sum() / 4 == pytest.approx(area.area, rel=0.02)
    far = path.with_name("far.geojson")
    gpd.GeoDataFrame(geometry=[shapely.Point(0, 0).buffer(1)], crs="OGC:CRS84").to_file(far, engine="pyogrio")
    with pytest.raises(DataError, match=r"area of interest .* holds no pixel of the overlap"):
        harmonise(InferenceParams(pre=path, post=path, aoi=far))


def test_a_shift_moves_the_post_disaster_image(write_raster: Write, smooth: Smooth) -> None:
    image = smooth()
    moved = np.roll(image, (3, -2), axis=(0, 1))
    harmonised = pair_of(write_raster("a.tif", image), write_raster("b.tif", moved))
    pre, post, valid = whole(HarmonisedPair(replace(harmonised.pair, shift=(-2.0, 3.0)), ()))
    inner = slice(5, -5), slice(5, -5)
    np.testing.assert_array_equal(pre[inner], post[inner])
    assert valid[inner].all()


def test_each_mistake_has_a_different_error(write_raster: Write, smooth: Smooth, tmp_path: Path) -> None:
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
    transform = Affine(0.5 / finer, 0, 500_000, 0, -0.5 / finer, 4_000_000)
    bad = write_raster("bad.tif", noise, transform, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
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
def test_a_local_reference_system_is_refused(write_raster: Write, smooth: Smooth, nowhere: str) -> None:
    good, local = write_raster("good.tif", smooth()), write_raster("local.tif", smooth(), crs=nowhere)
    for pair in ((local, good), (good, local), (local, local)):
        with pytest.raises(DataError, match=r"local\.tif .*without a position on Earth"):
            pair_of(*pair)


def test_an_image_of_a_million_by_a_million_pixels_is_refused_at_once(tmp_path: Path) -> None:
    size = {"height": 1_000_000, "width": 1_000_000, "blockxsize": 8192, "blockysize": 8192}
    georeference = {"crs": "EPSG:32615", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)}
    options = {"driver": "GTiff", "dtype": "uint8", "count": 3, "tiled": True, "sparse_ok": True, "bigtiff": "YES"}
    with rasterio.open(tmp_path / "huge.tif", "w", **options, **size, **georeference):
        pass
    started = time.monotonic()
    with pytest.raises(DataError, match="an overlap of 1000000 × 1000000 pixels"):
        pair_of(tmp_path / "huge.tif", tmp_path / "huge.tif")
    assert time.monotonic() - started < 1


def test_images_that_hardly_overlap_give_a_warning(write_raster: Write, smooth: Smooth) -> None:
    pre = write_raster("pre.tif", smooth())
    post = write_raster("post.tif", smooth(phase=1), Affine(0.5, 0, 500_142, 0, -0.5, 4_000_000))
    assert "share only 5.3% of the smaller one" in pair_of(pre, post).warnings[0]


def test_swapped_images_give_a_warning(write_raster: Write, smooth: Smooth) -> None:
    paths = [write_raster(f"{year}.tif", smooth(phase=year)) for year in (2011, 2010)]
    for path in paths:
        with rasterio.open(path, "r+") as raster:
            raster.update_tags(TIFFTAG_DATETIME=f"{path.stem}:05:22 10:00:00")
    assert "swapped?" in pair_of(*paths).warnings[0]
    assert not pair_of(*paths[::-1]).warnings
