"""Images, masks and probabilities of a scene: uint8 rasters, with a georeference if it is known.

A raster opens with the one driver that its ending names, so that a file which only looks like an image (a VRT that
names other files, a network address) is refused instead of followed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio
from PIL import Image as PillowImage
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.io import MemoryFile

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.types import AnyArray, Bands, Confidences, Image, Mask, Probabilities, UInt8Array
from xview2_siamese_unet.xbd.georeference import Georeference

IMAGE_DRIVERS: Final = {".png": "PNG", ".tif": "GTiff", ".tiff": "GTiff"}
LEVELS: Final = 254
"""Probability 1 as a byte."""
NO_DATA: Final = 255
"""No-data value of rasters of damage codes and of probabilities."""
BANDS: Final = (Damage.BACKGROUND.word, *(code.word for code in SCORED))
"""Names of the bands of a raster of probabilities."""
_XBD_NO_DATA: Final = -99
_COLOURMAP: Final = {int(code): (*code.rgb, 255) for code in Damage}


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open for reading, without a warning about the missing georeference of xBD's PNGs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, driver=IMAGE_DRIVERS[path.suffix.lower()]) as source:
                yield source
    except RasterioIOError as error:
        raise unreadable_image(path, error) from error


def read_shape(path: Path) -> tuple[int, int, int]:
    """Return bands, height and width of an image without decoding its pixels."""
    with _open(path) as source:
        return source.count, source.height, source.width


class ImageGrid(NamedTuple):
    """Size of an image in pixels, and its georeference; without one, `crs` is `None` and `transform` the identity."""

    width: int
    height: int
    crs: CRS | None
    transform: Affine


def read_grid(path: Path) -> ImageGrid:
    """Return the grid of an image without decoding its pixels."""
    with _open(path) as source:
        return ImageGrid(source.width, source.height, source.crs, source.transform)


def read_rgb(path: Path) -> Image:
    """Return an image; a single band is grey.

    Raises:
        DataError: not readable, two bands, a palette, values that do not fit in a byte.
    """
    with _open(path) as source:
        palette = source.colorinterp[0] is ColorInterp.palette
        if source.count == 2 or palette:
            raise DataError(
                f"{path} has {'a palette' if palette else '2 bands'}; red, green and blue or one grey band are needed.",
                hint="Use the RGB image.",
            )
        if source.count == 1:
            return np.repeat(_as_bytes(source.read(1), source.nodata, path)[..., None], 3, axis=2)
        if source.driver == "PNG" and source.dtypes[0] == "uint8":
            return _decode_png(path)
        bands = _as_bytes(source.read((1, 2, 3)), source.nodata, path)
    return np.ascontiguousarray(np.moveaxis(bands, 0, 2))


def _decode_png(path: Path) -> Image:
    """Decode 8-bit RGB or RGBA with Pillow: GDAL returns a truncated file as if its rest were black."""
    try:
        with PillowImage.open(path, formats=("PNG",)) as image:
            return np.asarray(image)[..., :3]
    except (OSError, SyntaxError) as error:
        raise unreadable_image(path, error) from error


def unreadable_image(path: Path, reason: object) -> DataError:
    """Return the error of an image that cannot be read."""
    return DataError(
        f"{path} cannot be read ({reason}).",
        hint="Restore the file from the download, or set data_processing.on_problem: skip.",
    )


def _as_bytes(bands: AnyArray, nodata: float | None, path: Path) -> UInt8Array:
    """Clip and cast: never a stretch, which would differ between the images of a scene.

    xBD's GeoTIFFs hold the bytes of the PNGs as Int16 with −99 for no data, which becomes black.
    """
    if bands.dtype == np.uint8:
        return bands
    empty = ~np.isfinite(bands) if nodata is None else ~np.isfinite(bands) | (bands == nodata)
    bands = np.where(empty, 0, bands)
    highest, lowest = float(bands.max()), float(bands.min())
    floating = np.issubdtype(bands.dtype, np.floating)
    if highest > 255 or (floating and (0 < highest <= 1 or (lowest < 0 and lowest != _XBD_NO_DATA))):
        raise DataError(
            f"{path} holds values from {lowest:g} to {highest:g} ({bands.dtype}); xBD images hold 0 to 255.",
            hint="Scale both images of the scene to bytes with one and the same rule.",
        )
    whole: UInt8Array = bands.clip(0, 255).astype(np.uint8)
    return whole


def read_mask(path: Path) -> Mask:
    """Return a mask.

    Raises:
        DataError: not readable, more than one band, another type than bytes.
    """
    with _open(path) as source:
        if source.count != 1 or source.dtypes[0] != "uint8":
            raise DataError(
                f"{path} has {source.count} band(s) of {source.dtypes[0]}; a mask has one of uint8.",
                hint="Write the mask again, or move the file away.",
            )
        mask: Mask = source.read(1)
    return mask


def read_bands(path: Path) -> Bands:
    """Return all bands of a uint8 raster."""
    with _open(path) as source:
        bands: Bands = source.read()
    return bands


def read_tag(path: Path, name: str) -> str | None:
    """Return a tag of a mask, `None` if it is not set."""
    with _open(path) as source:
        value: str | None = source.tags().get(name)
    return value


def write_mask(path: Path, mask: Mask, georeference: Georeference | None = None, **tags: str) -> None:
    """Write damage codes as a GeoTIFF with the class colours and tags, atomically."""
    with create(path, (1, *mask.shape), georeference, compress="deflate", zlevel=1) as target:
        target.write(mask, 1)
        target.write_colormap(1, _COLOURMAP)
        target.update_tags(**tags)


def write_probabilities(path: Path, probabilities: Probabilities, georeference: Georeference | None = None) -> None:
    """Write probabilities in steps of 1/254 as a GeoTIFF, atomically."""
    # Neighbours differ little: their differences compress better than the bytes themselves.
    with create(path, probabilities.shape, georeference, compress="deflate", zlevel=1, predictor=2) as target:
        target.write(probabilities)
        target.descriptions = BANDS
        target.scales = [1 / LEVELS] * len(BANDS)


def as_bytes(probabilities: npt.NDArray[np.floating]) -> UInt8Array:
    """Return probabilities of any shape in steps of 1/254."""
    whole: UInt8Array = np.rint(probabilities.clip(0, 1) * LEVELS).astype(np.uint8)
    return whole


def confidence(shares: Probabilities, codes: Mask) -> Confidences:
    """Return the probability of the predicted class in steps of 1/254; 255 if it has none.

    Args:
        shares: probabilities of background and the four damage classes.
        codes: predicted `Damage` codes.
    """
    known = codes < len(shares)
    predicted = np.take_along_axis(shares, (codes * known)[None].astype(np.intp), axis=0)[0]
    return np.where(known, predicted, np.uint8(NO_DATA))


@contextmanager
def create(path: Path, shape: tuple[int, ...], georeference: Georeference | None, **options: object) -> Iterator[Any]:
    """Open a new uint8 GeoTIFF (bands, h, w) for writing; it is renamed when complete."""
    count, height, width = shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": count, "height": height, "width": width, **options}
    if georeference is not None:
        left, top, pixel = georeference.left, georeference.top, georeference.pixel
        profile |= {"crs": f"EPSG:{georeference.epsg}", "transform": Affine(pixel, 0, left, 0, -pixel, top)}
    # Through memory: GDAL does not report a disk that is full when it closes a file.
    with warnings.catch_warnings(), MemoryFile() as memory, whole_file(path) as part:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**profile) as target:
            yield target
        part.write_bytes(memory.getbuffer())
