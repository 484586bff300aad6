"""Pixels without data, declared or not, of images on the common grid and shifted against it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from image_pair import Smooth, Write, pair_of, whole
from xview2_siamese_unet.inference.pair import HarmonisedPair

HOLE = slice(50, 110), slice(60, 120)
SHIFTED = Affine(0.5, 0, 500_000.25, 0, -0.5, 4_000_000)


def reflectance(smooth: Smooth, phase: float) -> np.ndarray:
    return (smooth(phase=phase) / 300).astype(np.float32)


def without(hole: tuple[slice, slice]) -> np.ndarray:
    valid = np.ones((200, 300), bool)
    valid[hole] = False
    return valid


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("value", [-9999.0, np.nan, -3.4028234663852886e38, -1.7976931348623157e308])
def test_no_data_in_one_band_is_no_data(write_raster: Write, smooth: Smooth, value: float, shifted: bool) -> None:
    """If an image is shifted against the grid, fill values must not be mixed into the pixels around the hole."""
    paths, clean = [], []
    for k, transform in enumerate((None, SHIFTED if shifted else None)):
        image = reflectance(smooth, k).astype(np.float64 if value < -1e39 else np.float32)
        clean.append(write_raster(f"clean{k}.tif", image, transform))
        image[*HOLE, 0] = value
        paths.append(write_raster(f"{k}.tif", image, transform, nodata=value))
    found, expected = whole(pair_of(*paths, stretch=(0.0, 1.0))), whole(pair_of(*clean, stretch=(0.0, 1.0)))
    # A pixel whose centre lies on the border of two pixels takes the value of the right one.
    np.testing.assert_array_equal(found.valid, without(HOLE))
    near = np.abs(found.post[found.valid].astype(int) - expected.post[found.valid])
    assert near.max() <= 4
    stretch = pair_of(*paths).pair.stretch[0]
    assert stretch == pytest.approx((7 / 300, 247 / 300), abs=0.01)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("kind", "value"), [(np.uint8, 0), (np.uint8, 255), (np.uint16, 0)])
def test_a_colour_in_one_band_is_data(
    write_raster: Write, smooth: Smooth, kind: type, value: int, shifted: bool
) -> None:
    """A deep green roof has no red. A no-data value that is also a colour counts only if all bands have it."""
    paths = []
    for k, transform in enumerate((None, SHIFTED if shifted else None)):
        image = smooth(phase=k).astype(kind).clip(1, 254)
        image[*HOLE, 0] = value
        image[10:20, 10:20] = value
        paths.append(write_raster(f"{k}.tif", image, transform, nodata=value))
    np.testing.assert_array_equal(whole(pair_of(*paths)).valid, without((slice(10, 20), slice(10, 20))))


@pytest.mark.parametrize(("kind", "factor", "value"), [(np.float32, 1 / 300, -9999), (np.uint16, 20, 65535)])
def test_an_undeclared_fill_value_is_no_data(
    write_raster: Write, smooth: Smooth, kind: type, factor: float, value: int
) -> None:
    paths = []
    for k in range(2):
        image = (smooth(phase=k).astype(float) * factor).astype(kind)
        image[:, :9] = value
        paths.append(write_raster(f"{k}.tif", image))
    found = pair_of(*paths)
    assert found.pair.stretch[0] == pytest.approx((7 * factor, 247 * factor), abs=3 * factor)
    assert [f"hold {value}" in warning for warning in found.warnings] == [True, True]
    np.testing.assert_array_equal(whole(found).valid, without((slice(None), slice(9))))


def test_an_undeclared_border_of_a_large_image_is_no_data(write_raster: Write, smooth: Smooth) -> None:
    valid = np.zeros((1500, 1500), bool)
    valid[12:-12, 12:-12] = True
    paths = []
    for k in range(2):
        image = smooth(1500, 1500, phase=k).astype(np.int16) * 9
        image[~valid] = -32768
        paths.append(write_raster(f"{k}.tif", image))
    found = pair_of(*paths)
    assert sum("hold -32768" in warning for warning in found.warnings) == 2
    np.testing.assert_array_equal(whole(found).valid, valid)


@pytest.mark.parametrize(
    ("kind", "factor", "value", "bands"),
    [(np.uint16, 8, 2047, 3), (np.uint16, 8, 2047, 1), (np.float32, 1 / 300, 1.0, 3), (np.uint16, 20, 0, 1)],
)
def test_saturated_and_dark_roofs_are_data(
    write_raster: Write, smooth: Smooth, kind: type, factor: float, value: float, bands: int
) -> None:
    """Glints and roofs without red have values that sensors do not use as fill values."""
    paths = []
    for k in range(2):
        image = ((smooth(phase=k).astype(float) / 4 + 20) * factor).astype(kind)
        image[60:80, 60:90, :bands] = value
        paths.append(write_raster(f"{k}.tif", image))
    found = pair_of(*paths)
    assert whole(found).valid.all()
    assert not any("does not declare" in warning for warning in found.warnings)


def test_no_data_values_may_differ_between_bands(write_raster: Write, smooth: Smooth) -> None:
    """A no-data value that is also a colour counts only if all such bands have it; -9999 counts in one band."""
    image = smooth(phase=1).astype(np.int16)
    image[10:20, 10:20] = (0, 0, -9999)
    image[30:40, 30:40, 2] = -9999
    image[50:60, 50:60, 0] = 0
    image[70:80, 70:80, :2] = 0
    image[90:100, 90:100] = 0
    path = mosaic_of(write_raster("post.tif", image))
    bands = iter(("0", "0", "-9999"))
    text = re.sub(
        r"(<VRTRasterBand[^>]*>)", lambda tag: f"{tag[1]}<NoDataValue>{next(bands)}</NoDataValue>", path.read_text()
    )
    path.write_text(text.replace("Byte", "Int16"))
    found = whole(pair_of(write_raster("pre.tif", smooth().astype(np.int16)), path, black_is_no_data=False))
    valid = np.ones((200, 300), bool)
    for row in (10, 30, 70, 90):
        valid[row : row + 10, row : row + 10] = False
    np.testing.assert_array_equal(found.valid, valid)


def test_alpha_and_a_no_data_value_are_combined(write_raster: Write, smooth: Smooth) -> None:
    alpha = np.full((200, 300, 1), 255, np.uint8)
    alpha[HOLE] = 0
    image = np.concatenate([smooth(phase=1), alpha], axis=2)
    post = write_raster("post.tif", image, nodata=0, photometric="RGB", alpha="YES")
    np.testing.assert_array_equal(whole(pair_of(write_raster("pre.tif", smooth()), post)).valid, without(HOLE))


def collared(write_raster: Write, name: str, image: np.ndarray, **profile: object) -> Path:
    y, x = np.mgrid[:200, :300]
    image = image.clip(60, 255)
    image[x + y < 150] = 0
    return write_raster(name, image, nodata=0, **profile)


@pytest.mark.parametrize("mosaic", [False, True])
def test_a_jpeg_collar_is_no_data(write_raster: Write, smooth: Smooth, mosaic: bool) -> None:
    options = {"photometric": "YCBCR", "compress": "JPEG", "jpeg_quality": 75, "interleave": "pixel", "tiled": True}
    blocks = {"blockxsize": 64, "blockysize": 64}
    image, later = smooth(), smooth(phase=1)
    jpeg = [collared(write_raster, f"{k}.tif", each, **options, **blocks) for k, each in enumerate((image, later))]
    lossless = [collared(write_raster, f"plain{k}.tif", each) for k, each in enumerate((image, later))]
    if mosaic:
        jpeg[0] = mosaic_of(jpeg[0])
    found, expected = pair_of(*jpeg), whole(pair_of(*lossless)).valid
    valid = whole(found).valid
    with rasterio.open(jpeg[1]) as raster:
        blurred = raster.read().any(axis=0) & ~expected
    assert blurred.sum() > 500
    assert sum("nearly black" in warning for warning in found.warnings) == 2
    assert (valid != expected).sum() < 0.15 * blurred.sum()
    assert in_windows(found, 37).tolist() == valid.tolist()


def mosaic_of(path: Path) -> Path:
    from test_source import vrt  # noqa: PLC0415

    return vrt(path.parent, path.name)


def in_windows(found: HarmonisedPair, side: int) -> np.ndarray:
    valid = np.zeros((200, 300), bool)
    with found.pair.open() as reader:
        for top in range(0, 200, side):
            for left in range(0, 300, side):
                window = reader.read(top, left, side, side).valid[: 200 - top, : 300 - left]
                valid[top : top + side, left : left + side] = window
    return valid


@pytest.mark.parametrize("position", ["shifted", "finer", "zone"])
def test_a_pixel_is_the_same_in_any_window(write_raster: Write, smooth: Smooth, position: str) -> None:
    image = smooth(phase=1)
    image[HOLE] = 0
    pre = write_raster("pre.tif", smooth())
    if position == "zone":
        east, north = rasterio.warp.transform("EPSG:32615", "EPSG:32616", [500_000], [4_000_000])
        post = write_raster("post.tif", image, Affine(0.5, 0, east[0], 0, -0.5, north[0]), crs="EPSG:32616")
    else:
        post = write_raster(
            "post.tif", image, Affine(0.2, 0, 500_010, 0, -0.2, 3_999_990) if position == "finer" else SHIFTED
        )
    found = pair_of(pre, post)
    height, width = found.pair.grid.height, found.pair.grid.width
    all_at_once = whole(found)
    with found.pair.open() as reader:
        for top in range(-5, height, 61):
            for left in range(-9, width, 83):
                rows, columns = slice(max(top, 0), min(top + 61, height)), slice(max(left, 0), min(left + 83, width))
                part = reader.read(top, left, 61, 83)
                inner = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
                np.testing.assert_array_equal(part.post[inner], all_at_once.post[rows, columns])
                np.testing.assert_array_equal(part.valid[inner], all_at_once.valid[rows, columns])


def test_scale_and_offset_are_applied(write_raster: Write, smooth: Smooth) -> None:
    """Both images show the same reflectance, one as numbers with a scale and an offset."""
    image = smooth()
    pre = write_raster("pre.tif", (image / 255).astype(np.float32))
    post = write_raster("post.tif", (image.astype(np.uint16) * 40 + 1000))
    with rasterio.open(post, "r+") as raster:
        raster.scales, raster.offsets = (1 / 10_200,) * 3, (-1000 / 10_200,) * 3
    found = pair_of(pre, post)
    before, after, _ = whole(found)
    assert np.abs(before.astype(int) - after).max() <= 1
    assert found.pair.stretch[0] == found.pair.stretch[1]


def test_clipped_dim_and_white_pixels_are_counted(write_raster: Write, smooth: Smooth) -> None:
    """Warnings name values outside of the stretch, images in different units, and white borders."""
    deep = [smooth(phase=k).astype(np.uint16) * factor for k, factor in enumerate((8, 240))]
    pre, post = (write_raster(f"{k}.tif", image) for k, image in enumerate(deep))
    warnings = pair_of(pre, post).warnings
    assert [warning.split(" of the stretch")[0] for warning in warnings] == ["the values of 0.tif reach only 3%"]
    share = (deep[1] > 20_000).any(axis=2).mean()
    warnings = pair_of(pre, post, stretch=(0.0, 20_000.0)).warnings
    clipped = next(warning for warning in warnings if "clipped" in warning)
    assert "1.tif" in clipped
    assert float(clipped.split("%")[0]) == pytest.approx(100 * share, abs=6)
    bright = smooth(phase=1)
    bright[:, :60] = 255
    assert "are white" in pair_of(write_raster("a.tif", smooth()), write_raster("b.tif", bright)).warnings[0]
