from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.io import read_mask, read_rgb, read_shape, read_tag, write_mask
from xview2_siamese_unet.xbd.georeference import Georeference

GEOREFERENCES = st.builds(
    Georeference,
    epsg=st.sampled_from([32610, 32616, 32750]),
    left=st.floats(2e5, 8e5),
    top=st.floats(0, 9e6),
    pixel=st.floats(0.3, 3),
    residual=st.just(0.0),
)
MASKS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 5))
RGB = np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=25)
@given(
    mask=MASKS,
    georeference=st.one_of(st.none(), GEOREFERENCES),
    tag=st.text(st.characters(codec="ascii", min_codepoint=33)),
)
def test_a_mask_is_read_back_with_its_georeference(
    tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray, georeference: Georeference | None, tag: str
) -> None:
    path = tmp_path_factory.mktemp("masks") / "tier1" / "a.tif"
    write_mask(path, mask, georeference, key=tag)
    np.testing.assert_array_equal(read_mask(path), mask)
    assert (read_tag(path, "key") or "") == tag
    assert read_tag(path, "other") is None
    assert [p.name for p in path.parent.iterdir()] == ["a.tif"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            assert source.colormap(1)[Damage.DESTROYED][:3] == Damage.DESTROYED.rgb
            if georeference is None:
                assert source.crs is None
            else:
                assert source.crs.to_epsg() == georeference.epsg
                transform = source.transform
                assert (transform.c, transform.f) == (georeference.left, georeference.top)
                assert (transform.a, transform.b, transform.d, transform.e) == (
                    georeference.pixel,
                    0,
                    0,
                    -georeference.pixel,
                )


def write_tif(path: Path, bands: np.ndarray, nodata: float | None = None) -> Path:
    profile = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", nodata=nodata, **profile) as target:
            target.write(bands)
    return path


@pytest.mark.parametrize("options", [{}, {"transparency": (0, 0, 0)}])
def test_a_png_of_the_download_is_read(tmp_path: Path, options: dict) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png", **options)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), RGB)
    assert read_shape(tmp_path / "a.png") == (3, 20, 30)


def test_alpha_is_ignored(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([RGB, np.zeros((20, 30), np.uint8)])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), RGB)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("bands", [3, 4, 8])
def test_a_geotiff_of_any_type_gives_the_same_bytes(tmp_path: Path, dtype: str, bands: int) -> None:
    data = np.zeros((bands, 20, 30), dtype)
    data[:3] = RGB.transpose(2, 0, 1)
    np.testing.assert_array_equal(read_rgb(write_tif(tmp_path / "a.tif", data)), RGB)


@pytest.mark.parametrize(
    ("dtype", "nodata", "declared"),
    [("int16", -99, True), ("int16", -99, False), ("float32", np.nan, True), ("float32", np.nan, False),
     ("float32", -np.inf, False), ("uint16", 65535, True), ("int32", 9999, True)],
)  # fmt: skip
def test_no_data_becomes_black(tmp_path: Path, dtype: str, nodata: float, declared: bool) -> None:
    data = RGB.transpose(2, 0, 1).astype(dtype)
    data[:, :4, :5] = nodata
    expected = RGB.copy()
    expected[:4, :5] = 0
    read = read_rgb(write_tif(tmp_path / "a.tif", data, nodata if declared else None))
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize(
    ("values", "dtype", "found"),
    [
        (256, "int16", "to 256 (int16)"),
        (2047, "uint16", "2047"),
        (0.9, "float32", "to 0.9"),
        (-1.8, "float32", "from -1.8 to"),
    ],
)
def test_another_value_range_is_refused_and_never_stretched(
    tmp_path: Path, values: float, dtype: str, found: str
) -> None:
    path = write_tif(tmp_path / "a.tif", np.full((3, 4, 4), values, dtype))
    with pytest.raises(DataError) as caught:
        read_rgb(path)
    assert found in caught.value.message
    assert "same rule" in caught.value.hint


@pytest.mark.parametrize(("shape", "dtype"), [((3, 4, 4), "uint8"), ((1, 4, 4), "int16")])
def test_a_mask_of_other_bands_or_types_is_refused(tmp_path: Path, shape: tuple[int, int, int], dtype: str) -> None:
    path = write_tif(tmp_path / "a.tif", np.ones(shape, dtype))
    with pytest.raises(DataError, match=rf"a\.tif has {shape[0]} band\(s\) of {dtype}; a mask has one of uint8"):
        read_mask(path)


def test_two_bands_are_refused(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", np.zeros((2, 4, 4), "uint8"))
    assert read_shape(path) == (2, 4, 4)
    with pytest.raises(DataError, match="2 bands"):
        read_rgb(path)


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_one_band_is_read_as_grey(tmp_path: Path, dtype: str) -> None:
    grey = RGB[..., 0]
    read = read_rgb(write_tif(tmp_path / "a.tif", grey[None].astype(dtype)))
    np.testing.assert_array_equal(read, np.dstack([grey] * 3))
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), read)


def test_a_palette_is_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB).quantize(16).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="palette"):
        read_rgb(tmp_path / "a.png")


def test_a_black_image_of_any_type_is_black(tmp_path: Path) -> None:
    for dtype, value in (("float32", 0), ("float64", np.nan), ("int16", -99)):
        assert not read_rgb(write_tif(tmp_path / "a.tif", np.full((3, 4, 4), value, dtype))).any()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("kept", [0, 10, 0.5, -30])
def test_a_truncated_image_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    else:
        write_tif(path, np.random.default_rng(1).integers(0, 256, (3, 64, 64), dtype=np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(DataError, match=rf"a{suffix} cannot be read"):
        read_rgb(path)


def test_one_flipped_byte_of_a_png_is_detected(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2] ^= 0x55
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        read_rgb(tmp_path / "a.png")


def test_a_vrt_with_the_suffix_of_an_image_is_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "secret.png")
    vrt = """<VRTDataset rasterXSize="30" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>
    <SourceFilename relativeToVRT="1">secret.png</SourceFilename><SourceBand>1</SourceBand></SimpleSource>
    </VRTRasterBand></VRTDataset>"""
    for name in ("a.png", "a.tif"):
        (tmp_path / name).write_text(vrt)
        with pytest.raises(DataError, match="cannot be read"):
            read_shape(tmp_path / name)
    with pytest.raises(DataError, match="cannot be read"):
        read_shape(tmp_path / "absent.png")
