"""Files and bands of an image, and the files that a VRT may name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from image_pair import Smooth, Write, pair_of, whole
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.pair import HarmonisedPair
from xview2_siamese_unet.raster.source import check_vrt, read_source

INKS = [ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black]


def halves(write_raster: Write, folder: str, image: np.ndarray) -> Path:
    write_raster(f"{folder}/tile_a.tif", image[:, :100])
    right = write_raster(f"{folder}/tile_b.tif", image[:, 100:], Affine(0.5, 0, 500_050, 0, -0.5, 4_000_000))
    return right.parent


def shows(found: HarmonisedPair, image: np.ndarray) -> bool:
    _, post, valid = whole(found)
    return bool(valid.all() and (post == image).all())


def test_files_of_file_managers_are_ignored(write_raster: Write, smooth: Smooth) -> None:
    image = smooth()
    folder = halves(write_raster, "tiles", image)
    for name in ("._tile_a.tif", "._tile_b.tif"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(4000))
    for name in (".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(bytes(100))
    (folder / "tile_a.tif.aux.xml").write_text("<PAMDataset/>")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._tile_a.tif").write_bytes(bytes(100))
    found = pair_of(write_raster("plain.tif", smooth(phase=1)), folder)
    assert shows(found, image)
    assert not found.warnings


def test_the_visual_image_of_a_delivery_is_used(write_raster: Write, smooth: Smooth) -> None:
    image = smooth()
    for part, name in ((slice(100), "120020223032"), (slice(100, 300), "120020223033")):
        transform = Affine(0.5, 0, 500_000 + part.start / 2 if part.start else 500_000, 0, -0.5, 4_000_000)
        folder = f"order/ard/14/{name}/2023-01-01/103001"
        colours = image[:, part]
        write_raster(f"{folder}-visual.tif", colours, transform)
        write_raster(f"{folder}-pan.tif", colours[..., 0].astype(np.uint16) * 5, transform)
        write_raster(f"{folder}-ms.tif", np.concatenate([colours] * 3, axis=2).astype(np.uint16), transform)
        write_raster(f"{folder}-clouds.tif", colours[..., 0] // 255, transform)
    plain = write_raster("plain.tif", smooth(phase=1))
    found = pair_of(plain, plain.with_name("order"))
    assert shows(found, image)
    assert len(found.warnings) == 1
    assert "6 of 8 rasters in order were left out" in found.warnings[0]


@pytest.mark.parametrize("name", ["scene_udm2.tif", "scene_pan.tif"])
def test_masks_and_grey_images_next_to_an_image_are_left_out(write_raster: Write, smooth: Smooth, name: str) -> None:
    image = smooth()
    write_raster("post/scene.tif", image)
    other = write_raster(f"post/{name}", np.ones((200, 300, 8 if "udm" in name else 1), np.uint8))
    found = pair_of(write_raster("plain.tif", smooth(phase=1)), other.parent)
    assert shows(found, image)
    assert "1 of 2 rasters in post were left out" in found.warnings[0]
    assert name in found.warnings[0]


def test_images_of_several_types_in_a_folder_are_refused(write_raster: Write, smooth: Smooth) -> None:
    write_raster("post/a.tif", smooth())
    folder = write_raster("post/b.tif", smooth().astype(np.uint16)).parent
    with pytest.raises(DataError, match=r"b\.tif is uint16, but a\.tif in the same folder is uint8.*name the one file"):
        read_source(folder)


def test_hidden_tiles_and_files_in_subfolders_are_counted(write_raster: Write, smooth: Smooth) -> None:
    folder = halves(write_raster, "post", smooth())
    write_raster("post/older/tile_a.tif", smooth())
    write_raster("post/tile_c.tif", smooth()[:, 50:150], Affine(0.5, 0, 500_025, 0, -0.5, 4_000_000))
    below, hidden = read_source(folder).warnings
    assert "1 of 3 tiles in post" in hidden
    assert "1 of 4 GeoTIFFs of post lie in folders below it" in below


def test_links_out_of_a_folder_are_not_followed(write_raster: Write, smooth: Smooth, tmp_path: Path) -> None:
    write_raster("elsewhere/a.tif", smooth())
    (tmp_path / "order" / "part").mkdir(parents=True)
    (tmp_path / "order" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "order" / "part" / "a.tif").symlink_to(tmp_path / "elsewhere" / "a.tif")
    with pytest.raises(DataError, match=r"holds no GeoTIFF.*2 links"):
        read_source(tmp_path / "order")
    write_raster("order/part/b.tif", smooth())
    (warning,) = read_source(tmp_path / "order").warnings
    assert warning.startswith("2 links in order lead out of it and were not followed: a.tif, link")


def test_the_finest_tile_gives_the_size_of_a_pixel(write_raster: Write, smooth: Smooth) -> None:
    image = smooth(200, 200)
    write_raster("post/a.tif", image[::4, ::4], Affine(2, 0, 500_000, 0, -2, 4_000_000))
    folder = write_raster("post/b.tif", image, Affine(0.5, 0, 500_100, 0, -0.5, 4_000_000)).parent
    found = pair_of(write_raster("pre.tif", smooth(200, 400)), folder)
    assert found.pair.grid.pixel == 0.5
    assert any("pixels of the tiles in post differ by a factor of 4" in warning for warning in found.warnings)


def test_the_order_of_unnamed_bands_is_guessed_with_a_warning(write_raster: Write, smooth: Smooth) -> None:
    deep = np.concatenate([smooth()[..., ::-1], smooth()[..., :1]], axis=2).astype(np.uint16) * 12
    guessed, named = (write_raster(f"{name}.tif", deep, photometric="MINISBLACK") for name in ("guessed", "named"))
    with rasterio.open(named, "r+") as raster:
        raster.descriptions = ("Blue", "Green", "Red", "NIR")
    warning = next(warning for warning in pair_of(guessed, named).warnings if "colours of" in warning)
    assert "guessed.tif" in warning
    assert "inference.images.pre_bands" in warning
    assert read_source(named).tiles[0].bands == (3, 2, 1)
    assert not read_source(guessed, (3, 2, 1)).warnings


@pytest.mark.parametrize(
    ("bands", "kind", "profile", "sentence"),
    [
        (4, np.uint8, {"colorinterp": INKS}, "cyan, magenta, yellow"),
        (3, np.complex64, {}, "complex64"),
        (3, np.int8, {}, "int8"),
        (1, np.uint8, {"colorinterp": [ColorInterp.palette]}, "1 band.*-expand rgb"),
    ],
)
def test_unsupported_bands_and_types_are_refused(
    write_raster: Write, bands: int, kind: type, profile: dict[str, object], sentence: str
) -> None:
    path = write_raster("a.tif", np.ones((20, 20, bands), kind), **profile)
    with pytest.raises(DataError, match=sentence):
        read_source(path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("post.jp2", r"post\.jp2 is a JPEG 2000 file.*rio convert post\.jp2 post\.tif"),
        ("post.ecw", "ECW.*gdal_translate"),
        ("post.zip", "is an archive.*Unpack"),
        ("post.xyz", r"is a \.xyz file"),
        ("folder/a.jp2", r"holds no GeoTIFF \(1 \.jp2\)"),
    ],
)
def test_the_error_names_an_unsupported_format(tmp_path: Path, name: str, sentence: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=sentence):
        read_source(path.parent if "folder" in name else path)


@pytest.mark.parametrize(
    "name", ["wow!.tif", "zip+a!b.tif", "Überflutung #2 & 100%23 'x' [v1]?:1.TIF", "a b{c},;$~.tiff"]
)
def test_any_name_is_read(write_raster: Write, smooth: Smooth, name: str) -> None:
    image = smooth()
    odd = write_raster(f"of {name}/tile.tif", image).rename
    path = odd(Path(str(write_raster("x.tif", image))).with_name(name))
    assert shows(pair_of(write_raster("plain.tif", smooth(phase=1)), path), image)
    assert shows(pair_of(path, write_raster(f"of {name}/tile.tif", image).parent), image)


def test_a_name_that_gdal_could_parse_as_an_address_is_read(
    write_raster: Write, smooth: Smooth, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = smooth()
    monkeypatch.chdir(write_raster("other.tif", smooth(phase=1)).parent)
    write_raster("x.tif", image).rename("GTIFF_DIR:1:other.tif")
    assert shows(pair_of(Path("other.tif"), Path("GTIFF_DIR:1:other.tif")), image)


VRT = """<VRTDataset rasterXSize="300" rasterYSize="200"><SRS>EPSG:32615</SRS>
<GeoTransform>500000, 0.5, 0, 4000000, 0, -0.5</GeoTransform>{bands}</VRTDataset>"""


BAND = """<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource>
<SourceFilename relativeToVRT="1">{source}</SourceFilename><SourceBand>{band}</SourceBand>
<SrcRect xOff="0" yOff="0" xSize="300" ySize="200"/><DstRect xOff="0" yOff="0" xSize="300" ySize="200"/>
</SimpleSource></VRTRasterBand>"""


def vrt(folder: Path, source: str) -> Path:
    path = folder / "mosaic.vrt"
    path.write_text(VRT.format(bands="".join(BAND.format(band=band, source=source) for band in (1, 2, 3))))
    return path


def test_a_vrt_next_to_its_tiles_is_read(write_raster: Write, smooth: Smooth, tmp_path: Path) -> None:
    image = smooth()
    plain = write_raster("tiles/plain.tif", image)
    pre, _, valid = whole(pair_of(vrt(tmp_path, "tiles/plain.tif"), plain))
    np.testing.assert_array_equal(pre, image)
    assert valid.all()


@pytest.mark.parametrize(
    "source",
    ["/etc/passwd", "../outside.tif", "/vsicurl/http://localhost/x.tif", "mosaic.vrt", "inner.tif", "missing.tif"],
)
def test_a_vrt_with_sources_outside_of_its_folder_is_refused(
    write_raster: Write, smooth: Smooth, tmp_path: Path, source: str
) -> None:
    write_raster("outside.tif", smooth())
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "inner.tif").write_text(VRT.format(bands=""))  # a VRT with another suffix
    with pytest.raises(DataError):
        read_source(vrt(tmp_path / "inside", source))


@pytest.mark.parametrize(
    "trick",
    ['<SimpleSource SourceFilename="/etc/x.tif"/>', "<!DOCTYPE a>", '<VRTRasterBand subClass="VRTDerivedRasterBand"/>'],
)
def test_a_vrt_with_more_than_plain_sources_is_refused(
    write_raster: Write, smooth: Smooth, tmp_path: Path, trick: str
) -> None:
    write_raster("plain.tif", smooth())
    path = vrt(tmp_path, "plain.tif")
    check_vrt(path)
    path.write_text(path.read_text().replace("</VRTDataset>", f"{trick}</VRTDataset>"))
    with pytest.raises(DataError, match="a VRT with"):
        check_vrt(path)


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        'relativeToVRT="0"',
        'relativeToVRT="0" relativeToVRT="1"',
        """shared='relativeToVRT="1"'""",
        '\u00a0relativeToVRT="1"',
    ],
)
def test_a_source_relative_to_the_current_folder_is_refused(
    write_raster: Write, smooth: Smooth, tmp_path: Path, attributes: str
) -> None:
    plain = write_raster("plain.tif", smooth())
    path = vrt(tmp_path, "plain.tif")
    path.write_text(path.read_text().replace('relativeToVRT="1"', attributes))
    with pytest.raises(DataError, match="a VRT with"):
        check_vrt(path)
    absolute = vrt(tmp_path, str(plain))
    absolute.write_text(absolute.read_text().replace('relativeToVRT="1"', 'relativeToVRT="0" shared="0"'))
    check_vrt(absolute)


@pytest.mark.parametrize(
    ("named", "opened", "checked"),
    [
        (b"a.tif ", b"a.tif ", b"a.tif"),
        (b" a.tif", b"a.tif", b" a.tif"),
        (b"a&period;tif", b"a&period;tif", b"a.tif"),
        (b"\xff.tif", b"\xff.tif", "\ufffd.tif".encode()),
    ],
)
def test_names_that_gdal_would_read_differently_are_refused(
    write_raster: Write, smooth: Smooth, tmp_path: Path, named: bytes, opened: bytes, checked: bytes
) -> None:
    plain = write_raster("plain.tif", smooth())
    path = vrt(tmp_path, "NAME")
    path.write_bytes(path.read_bytes().replace(b"NAME", named))
    (tmp_path / os.fsdecode(checked)).write_bytes(plain.read_bytes())
    (tmp_path / os.fsdecode(opened)).write_text("no TIFF")
    with pytest.raises(DataError, match="a VRT with"):
        check_vrt(path)


def test_a_vrt_that_is_too_long_to_check_is_refused(write_raster: Write, smooth: Smooth, tmp_path: Path) -> None:
    write_raster("plain.tif", smooth())
    path = vrt(tmp_path, "plain.tif")
    path.write_text(path.read_text() + "\N{EURO SIGN}" * 7_000_000)
    with pytest.raises(DataError, match="a VRT with too much text"):
        check_vrt(path)
