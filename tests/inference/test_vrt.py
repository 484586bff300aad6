"""A VRT is read only where all it names lies beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from image_pair import Smooth, Write, pair_of, whole

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.grid_source import check_vrt, read_source

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
    with pytest.raises((DataError, rasterio.errors.RasterioIOError)):
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
