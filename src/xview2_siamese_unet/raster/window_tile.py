"""One raster of a date as if it lay on the common grid."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasterio.windows import Window

from xview2_siamese_unet.raster.grid import Grid, pixel_metres, transformer
from xview2_siamese_unet.raster.grid_source import Tile, open_tile
from xview2_siamese_unet.raster.no_data import read_colours

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
_SAME: Final = 1e-3  # pixels; nearer grids are the same
_SIDE: Final = 128  # of a block that is resampled at once
_MOST: Final = 1024  # pixels of the raster along a side that one block may need
_KEPT: Final = 16  # blocks; neighbouring windows share some
_RIM: Final = 3  # pixels that resampling looks beyond a block
_TIE: Final = 1e-5  # pixels; a centre on the border of two tiles lies in the one to the right, whatever rounding says


class OpenTile:
    """One raster, read on a grid: its own pixels where they are those of the grid, else resampled.

    Resampling goes by blocks of the grid, so that a pixel has the same value in any window. Pixels without data take no
    part in it.

    Args:
        tile: the raster.
        grid: system and size of what is asked for.
        transform: from column and row of the grid to its system, the shift of a date included.
        black: whether 0 in all three bands is no data.
    """

    def __init__(self, tile: Tile, grid: Grid, transform: Affine, *, black: bool) -> None:
        self._raster = open_tile(tile.path)
        self._tile, self._black = tile, black
        self._crs, self._transform = CRS.from_string(grid.crs), transform
        offset = ~tile.place.transform @ transform
        steps = np.array([offset.a - 1, offset.b, offset.d, offset.e - 1]) * max(grid.width, grid.height)
        apart = max(abs(offset.c - round(offset.c)), abs(offset.f - round(offset.f)), *np.abs(steps))
        self._same = tile.place.crs == self._crs and apart < _SAME
        self._offset = round(offset.f), round(offset.c)
        finer = grid.pixel / pixel_metres(tile.place, self._crs)
        # Cubic would skip some of much finer pixels; bilinear blurs, and a net sees less damage in blurred images.
        self._resampling = Resampling.average if finer > 1.8 else Resampling.cubic
        self._side = max(1, min(_SIDE, int(_MOST / max(finer, 1))))
        self._block = lru_cache(maxsize=_KEPT)(self._resample)

    def read(self, window: Window) -> tuple[FloatArray, BoolArray]:
        """Return colours (3, h, w) of a window of the grid and where there are data (h, w)."""
        top, left, height, width = (int(each) for each in (window.row_off, window.col_off, window.height, window.width))
        if self._same:
            return self._own(top + self._offset[0], left + self._offset[1], height, width)
        colours, seen = np.zeros((3, height, width), np.float32), np.zeros((height, width), bool)
        side = self._side
        for j in range(left // side, -(-(left + width) // side)):  # column by column: the next window lies to the right
            for i in range(top // side, -(-(top + height) // side)):
                rows = slice(max(top, i * side), min(top + height, (i + 1) * side))
                columns = slice(max(left, j * side), min(left + width, (j + 1) * side))
                block, there = self._block(i, j)
                inner = _moved(rows, -i * side), _moved(columns, -j * side)
                place = _moved(rows, -top), _moved(columns, -left)
                colours[:, *place], seen[place] = block[:, *inner], there[inner]
        return colours, seen

    def close(self) -> None:
        """Close the file."""
        self._block.cache_clear()  # it refers to itself, so that its memory would wait for the garbage collector
        self._raster.close()

    def _own(self, top: int, left: int, height: int, width: int) -> tuple[FloatArray, BoolArray]:
        """Return a window of the raster itself; beyond its edges there is no data."""
        colours, seen = np.zeros((3, height, width), np.float32), np.zeros((height, width), bool)
        up, down = max(top, 0), min(top + height, self._raster.height)
        west, east = max(left, 0), min(left + width, self._raster.width)
        if up < down and west < east:
            inner, own = (
                (slice(up - top, down - top), slice(west - left, east - left)),
                Window(west, up, east - west, down - up),
            )
            colours[:, *inner], seen[inner] = read_colours(self._raster, self._tile, own, black=self._black)
        return colours, seen

    def _resample(self, i: int, j: int) -> tuple[FloatArray, BoolArray]:
        """Return block (i, j) of the grid."""
        side = self._side
        target = self._transform @ Affine.translation(j * side, i * side)
        top, left, height, width = self._needed(target)
        resampled = np.full((3, side, side), np.nan, np.float32)
        if height > 0 and width > 0:
            colours, seen = self._own(top, left, height, width)
            if seen.any():
                colours[:, ~seen] = np.nan
                reproject(
                    colours,
                    resampled,
                    src_transform=self._tile.place.transform @ Affine.translation(left - _TIE, top - _TIE),
                    src_crs=self._tile.place.crs,
                    src_nodata=np.nan,
                    dst_transform=target,
                    dst_crs=self._crs,
                    dst_nodata=np.nan,
                    resampling=self._resampling,
                )
        there = np.asarray(np.isfinite(resampled).all(axis=0))
        resampled[:, ~there] = 0
        return resampled, there

    def _needed(self, target: Affine) -> tuple[int, int, int, int]:
        """Return first row and column, rows and columns of the raster that one block needs."""
        ticks = np.linspace(0, self._side, 5)
        x, y = _apply(target, *(each.ravel() for each in np.meshgrid(ticks, ticks)))
        tile = self._tile.place
        if tile.crs != self._crs:
            x, y = transformer(self._crs, tile.crs).transform(x, y)
            if tile.crs.is_geographic:  # a raster across 180 degrees counts on
                x = x + 360 * np.round((tile.outline.centroid.x - x) / 360)
        columns, rows = _apply(~tile.transform, x, y)
        there = np.isfinite(columns) & np.isfinite(rows)
        if not there.any():
            return 0, 0, 0, 0
        top, left = int(np.floor(rows[there].min())) - _RIM, int(np.floor(columns[there].min())) - _RIM
        bottom, right = int(np.ceil(rows[there].max())) + _RIM, int(np.ceil(columns[there].max())) + _RIM
        top, left = max(top, -_RIM), max(left, -_RIM)
        return (
            top,
            left,
            min(bottom, self._raster.height + _RIM) - top,
            min(right, self._raster.width + _RIM) - left,
        )


def _apply(transform: Affine, x: Any, y: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:  # noqa: ANN401
    return transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f


def _moved(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)
