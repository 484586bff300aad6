"""A VRT is read only where all it names lies beside it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from image_pair import Smooth, Write, pair_of, whole

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.source import check_vrt, read_source

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


def test_a_vrt_beside_its_tiles_is_read(write_raster: Write, smooth: Smooth, tmp_path: Path) -> None:
    image = smooth()
    plain = write_raster("tiles/plain.tif", image)
    pre, _, valid = whole(pair_of(vrt(tmp_path, "tiles/plain.tif"), plain))
    np.testing.assert_array_equal(pre, image)
    assert valid.all()


@pytest.mark.parametrize(
    "source",
    ["/etc/passwd", "../outside.tif", "/vsicurl/http://localhost/x.tif", "mosaic.vrt", "inner.tif", "missing.tif"],
)
def test_a_vrt_that_reaches_out_is_refused(write_raster: Write, smooth: Smooth, tmp_path: Path, source: str) -> None:
    write_raster("outside.tif", smooth())
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "inner.tif").write_text(VRT.format(bands=""))  # a VRT by another name
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
    "said",
    [
        "",
        'relativeToVRT="0"',
        'relativeToVRT="0" relativeToVRT="1"',
        """shared='relativeToVRT="1"'""",
        '\u00a0relativeToVRT="1"',
    ],
)
def test_a_source_relative_to_the_current_folder_is_refused(
    write_raster: Write, smooth: Smooth, tmp_path: Path, said: str
) -> None:
    plain = write_raster("plain.tif", smooth())
    path = vrt(tmp_path, "plain.tif")
    path.write_text(path.read_text().replace('relativeToVRT="1"', said))
    with pytest.raises(DataError, match="a VRT with"):
        check_vrt(path)
    absolute = vrt(tmp_path, str(plain))
    absolute.write_text(absolute.read_text().replace('relativeToVRT="1"', 'relativeToVRT="0" shared="0"'))
    check_vrt(absolute)


@pytest.mark.parametrize(
    ("named", "opened", "looked_at"),
    [
        (b"a.tif ", b"a.tif ", b"a.tif"),
        (b" a.tif", b"a.tif", b" a.tif"),
        (b"a&period;tif", b"a&period;tif", b"a.tif"),
        (b"\xff.tif", b"\xff.tif", "\ufffd.tif".encode()),
    ],
)
def test_what_is_looked_at_is_what_will_be_opened(
    write_raster: Write, smooth: Smooth, tmp_path: Path, named: bytes, opened: bytes, looked_at: bytes
) -> None:
    plain = write_raster("plain.tif", smooth())
    path = vrt(tmp_path, "NAME")
    path.write_bytes(path.read_bytes().replace(b"NAME", named))
    (tmp_path / os.fsdecode(looked_at)).write_bytes(plain.read_bytes())
    (tmp_path / os.fsdecode(opened)).write_text("no TIFF")
    with pytest.raises(DataError, match="a VRT with"):
        check_vrt(path)


def test_a_vrt_longer_than_what_is_looked_at_is_refused(write_raster: Write, smooth: Smooth, tmp_path: Path) -> None:
    write_raster("plain.tif", smooth())
    path = vrt(tmp_path, "plain.tif")
    path.write_text(path.read_text() + "\N{EURO SIGN}" * 7_000_000)
    with pytest.raises(DataError, match="a VRT with too much text"):
        check_vrt(path)
