"""Pixels without data: declared, fill values, and black borders blurred by JPEG."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window
from scipy import ndimage

from xview2_siamese_unet.raster.source import Tile
from xview2_siamese_unet.types import AnyArray, Colours, PixelValues, Valid

COLLAR: Final = 24
"""Pixels around a window that are needed to detect its collars."""
_BLOCK: Final = 8  # side of a block of JPEG; a border holds some that are wholly black
_REACH: Final = COLLAR - _BLOCK  # the side of a block whose colours are at half resolution
_NEARLY_BLACK: Final = 24  # of 255; of the pixels next to black ones, JPEG of usual quality leaves 95 % below it
_FILL_SHARE: Final = 0.002  # of the pixels; specular highlights are rarer
_HUGE: Final = 1e30  # of floating-point fill values such as 3.4e38
_FILL_GAP: Final = 0.5  # of the range of all other values


def read_colours(raster: Any, tile: Tile, window: Window, *, black: bool) -> tuple[Colours, Valid]:  # noqa: ANN401
    """Return scaled colours of a window, and where it has data.

    Args:
        raster: open.
        tile: what its header declares.
        window: inside the raster.
        black: whether 0 in all three bands means no data.
    """
    rim = COLLAR if tile.lossy and black else 0
    top, left = max(int(window.row_off) - rim, 0), max(int(window.col_off) - rim, 0)
    bottom = min(int(window.row_off + window.height) + rim, raster.height)
    right = min(int(window.col_off + window.width) + rim, raster.width)
    outer = Window(left, top, right - left, bottom - top)
    bands = raster.read(tile.bands, window=outer)
    with np.errstate(over="ignore"):  # values that are too large become infinite, which means no data
        values = bands.astype(np.float32)
    if any(each != (1, 0) for each in tile.scales):
        scales, offsets = np.array(tile.scales, np.float32).T[..., None, None]
        values = values * scales + offsets
    valid = _declared(raster, tile, bands, outer)
    if np.issubdtype(bands.dtype, np.floating):
        valid &= np.isfinite(values).all(axis=0)
    for fill in tile.fills:
        valid &= ~(values == np.float32(fill)).any(axis=0)
    if black:
        valid &= bands.any(axis=0)
    if rim:
        valid &= ~_collar(bands)
    row, column = int(window.row_off) - top, int(window.col_off) - left
    inner = slice(row, row + int(window.height)), slice(column, column + int(window.width))
    return values[:, *inner], valid[inner]


def _declared(raster: Any, tile: Tile, bands: AnyArray, window: Window) -> Valid:  # noqa: ANN401
    """Return where the mask, the alpha band and the no-data value declare data.

    A value that is also a colour, which is any value of 8 bits and 0, means no data only where all bands that declare
    one hold it. Any other, such as -9999, means no data in whichever band it occurs.
    """
    valid = np.ones(bands.shape[1:], bool)
    if MaskFlags.per_dataset in raster.mask_flag_enums[tile.bands[0] - 1]:
        valid &= raster.read_masks(tile.bands[0], window=window) > 0
    elif ColorInterp.alpha in raster.colorinterp:  # GDAL's mask ignores it if there is a no-data value
        valid &= raster.read(raster.colorinterp.index(ColorInterp.alpha) + 1, window=window) > 0
    colours = []
    for band, value in zip(bands, tile.no_data, strict=True):
        if value is None or math.isnan(value):
            continue
        if bands.dtype == np.uint8 or value == 0:
            colours.append(band == value)
        else:
            valid &= band != value
    return valid & ~np.all(colours, axis=0) if colours else valid


def _collar(bands: AnyArray) -> Valid:
    """Return the nearly black pixels that lossy compression leaves along a black border."""
    black = np.asarray(~bands.any(axis=0))
    if np.count_nonzero(black) < _BLOCK**2:
        return np.zeros_like(black)
    border: Valid = ndimage.binary_opening(black, np.ones((_BLOCK, _BLOCK), bool))
    if not border.any():
        return border
    dark = border | (bands <= _NEARLY_BLACK).all(axis=0)
    grown: Valid = ndimage.binary_dilation(border, np.ones((3, 3), bool), iterations=_REACH, mask=dark)
    return grown


def undeclared_fill(values: PixelValues, dtype: str) -> tuple[float, float] | None:
    """Return a fill value that no header declares and its share of the values.

    It is the lowest or the highest value, held by many pixels, far from all others, and none that a sensor delivers:
    negative, or the largest of its type. Others may be a glint, a saturated roof, or a roof without red.
    """
    kind = np.dtype(dtype)
    largest = np.iinfo(kind).max if kind.kind in "iu" else _HUGE
    for value in (values.min(), values.max()) if len(values) else ():
        if 0 <= value < largest:
            continue
        filled = (values == value).any(axis=1)
        rest = values[~filled]
        if filled.mean() < _FILL_SHARE or not len(rest):
            continue
        low, high = np.percentile(rest, (0.5, 99.5))
        if max(low - value, value - high) > _FILL_GAP * max(high - low, 1e-6):
            return float(value), float(filled.mean())
    return None
