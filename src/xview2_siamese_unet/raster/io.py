"""Reading images, writing and reading masks: uint8 with georeference where there is one.

A raster opens with the one driver that its ending names, so that a file which only looks like an image (a VRT that
names other files, a network address) is refused instead of followed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.io import MemoryFile

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd.georeference import Georeference

DRIVERS: Final = {".png": "PNG", ".tif": "GTiff", ".tiff": "GTiff"}
ByteArray = npt.NDArray[np.uint8]
_NO_DATA: Final = -99
_COLOURMAP: Final = {int(code): (*code.rgb, 255) for code in Damage}


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open for reading; xBD's PNGs have no georeference, which is no news."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, driver=DRIVERS[path.suffix.lower()]) as source:
                yield source
    except RasterioIOError as error:
        raise _unreadable(path, error) from error


def read_shape(path: Path) -> tuple[int, int, int]:
    """Return bands, height and width of an image without decoding its pixels."""
    with _open(path) as source:
        return source.count, source.height, source.width


def read_rgb(path: Path) -> ByteArray:
    """Return an image as uint8 (h, w, 3).

    Raises:
        DataError: not readable, two bands, a palette, values that do not fit in a byte.
    """
    with _open(path) as source:
        palette = source.colorinterp[0] is ColorInterp.palette
        if source.count == 2 or palette:
            raise DataError(
                str(path),
                found="colours by number (a palette)" if palette else "2 bands",
                allowed="red, green, blue and any further bands, or one band of grey",
                remedy="use the RGB image",
            )
        if source.count == 1:
            return np.repeat(_as_bytes(source.read(1), source.nodata, path)[..., None], 3, axis=2)
        if source.driver == "PNG" and source.dtypes[0] == "uint8":
            return _decode_png(path)
        bands = _as_bytes(source.read((1, 2, 3)), source.nodata, path)
    return np.ascontiguousarray(np.moveaxis(bands, 0, 2))


def _decode_png(path: Path) -> ByteArray:
    """Decode a file of 8-bit RGB or RGBA with Pillow: GDAL gives a torn one back as if its rest were black."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image)[..., :3]
    except (OSError, SyntaxError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        str(path),
        found=f"a file that cannot be read ({error})",
        allowed="a whole PNG or GeoTIFF",
        remedy="restore the file from the download, or set data_processing.on_problem: skip",
    )


def _as_bytes(bands: npt.NDArray[Any], nodata: float | None, path: Path) -> ByteArray:
    """Clip and cast: xBD's GeoTIFFs hold the bytes of the PNGs as Int16 with −99 for no data, which becomes black.

    Never a stretch: it would differ from image to image, and between the two dates of a scene.
    """
    if bands.dtype == np.uint8:
        return bands
    empty = ~np.isfinite(bands) if nodata is None else ~np.isfinite(bands) | (bands == nodata)
    bands = np.where(empty, 0, bands)
    highest, lowest = float(bands.max()), float(bands.min())
    floating = np.issubdtype(bands.dtype, np.floating)
    if highest > 255 or (floating and (0 < highest <= 1 or (lowest < 0 and lowest != _NO_DATA))):
        raise DataError(
            str(path),
            found=f"values from {lowest:g} up to {highest:g} ({bands.dtype})",
            allowed="0 to 255, as in every release of xBD",
            remedy="scale both dates of the scene to bytes by one and the same rule first",
        )
    whole: ByteArray = bands.clip(0, 255).astype(np.uint8)
    return whole


def read_mask(path: Path) -> ByteArray:
    """Return a mask as uint8 (h, w).

    Raises:
        DataError: not readable, more than one band, another type than bytes.
    """
    with _open(path) as source:
        if source.count != 1 or source.dtypes[0] != "uint8":
            raise DataError(
                f"{path} has {source.count} band(s) of {source.dtypes[0]}; a mask has one of uint8.",
                hint="Write the mask again, or move the file away.",
            )
        mask: ByteArray = source.read(1)
    return mask


def read_bands(path: Path) -> ByteArray:
    """Return all bands of a file of bytes as uint8 (bands, h, w)."""
    with _open(path) as source:
        bands: ByteArray = source.read()
    return bands


def read_tag(path: Path, name: str) -> str | None:
    """Return a tag of a mask, or `None` where it has none."""
    with _open(path) as source:
        value: str | None = source.tags().get(name)
    return value


def write_mask(path: Path, mask: ByteArray, place: Georeference | None = None, **tags: str) -> None:
    """Write a mask (h, w) of damage codes as a GeoTIFF with the class colours and tags, whole or not at all."""
    with create(path, (1, *mask.shape), place, compress="deflate", zlevel=1) as target:
        target.write(mask, 1)
        target.write_colormap(1, _COLOURMAP)
        target.update_tags(**tags)


@contextmanager
def create(path: Path, shape: tuple[int, ...], place: Georeference | None, **options: object) -> Iterator[Any]:
    """Open a new GeoTIFF of bytes with bands, height and width for writing; it takes its name once it is whole."""
    count, height, width = shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": count, "height": height, "width": width, **options}
    if place is not None:
        profile |= {
            "crs": f"EPSG:{place.epsg}",
            "transform": rasterio.Affine(place.pixel, 0, place.left, 0, -place.pixel, place.top),
        }
    # Through memory: GDAL tells nobody of a disk that is full when it closes a file.
    with warnings.catch_warnings(), MemoryFile() as memory, whole_file(path) as part:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**profile) as target:
            yield target
        part.write_bytes(memory.getbuffer())
