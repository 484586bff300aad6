"""One raster of a date as if it lay on the common grid."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from xview2_siamese_unet.raster.grid import Grid, pixel_metres
from xview2_siamese_unet.raster.grid_source import Tile, open_tile

Array = npt.NDArray[Any]
_SAME: Final = 1e-3  # pixels; nearer grids are the same


class OpenTile(Protocol):
    """What reads windows of one raster."""

    def read(self, window: Window) -> tuple[Array, Array]:
        """Return colours (3, h, w) and where there are data (h, w)."""

    def close(self) -> None:
        """Close the file."""


def open_on(tile: Tile, grid: Grid, transform: Affine) -> OpenTile:
    """Open a raster on a grid: as it is where its pixels are those of the grid, else warped.

    Args:
        tile: the raster.
        grid: system and size of what is asked for.
        transform: from column and row of the grid to its system, the shift of a date included.
    """
    raster = open_tile(tile.path)
    offset = ~tile.place.transform @ transform
    steps = np.array([offset.a - 1, offset.b, offset.d, offset.e - 1]) * max(grid.width, grid.height)
    apart = max(abs(offset.c - round(offset.c)), abs(offset.f - round(offset.f)), *np.abs(steps))
    if tile.place.crs == CRS.from_string(grid.crs) and apart < _SAME:
        return _PlainTile(raster, tile.bands, round(offset.c), round(offset.f))
    return _WarpedTile(raster, tile, grid, transform)


class _PlainTile:
    """No resampling: a window of the grid is a window of the raster."""

    def __init__(self, raster: Any, bands: tuple[int, int, int], column: int, row: int) -> None:  # noqa: ANN401
        self._raster, self._bands = raster, bands
        self._column, self._row = column, row

    def read(self, window: Window) -> tuple[Array, Array]:
        rows, columns = int(window.height), int(window.width)
        colours, seen = (
            np.zeros((3, rows, columns), self._raster.dtypes[self._bands[0] - 1]),
            np.zeros((rows, columns), bool),
        )
        top, left = int(window.row_off) + self._row, int(window.col_off) + self._column
        up, down = max(top, 0), min(top + rows, self._raster.height)
        west, east = max(left, 0), min(left + columns, self._raster.width)
        if up < down and west < east:
            inner, own = (
                (slice(up - top, down - top), slice(west - left, east - left)),
                Window(west, up, east - west, down - up),
            )
            colours[:, *inner] = self._raster.read(self._bands, window=own)
            seen[inner] = self._raster.dataset_mask(window=own) > 0
        return colours, seen

    def close(self) -> None:
        self._raster.close()


class _WarpedTile:
    """Resampled by GDAL while reading."""

    def __init__(self, raster: Any, tile: Tile, grid: Grid, transform: Affine) -> None:  # noqa: ANN401
        self._raster = raster
        self._vrt: Any = WarpedVRT(
            raster,
            crs=grid.crs,
            transform=transform,
            width=grid.width,
            height=grid.height,
            resampling=_resampling(tile, grid),
            add_alpha=ColorInterp.alpha not in raster.colorinterp,
        )
        self._bands = (*tile.bands, self._vrt.colorinterp.index(ColorInterp.alpha) + 1)

    def read(self, window: Window) -> tuple[Array, Array]:
        # One read for all: each would warp all bands again.
        *colours, alpha = self._vrt.read(self._bands, window=window)
        return np.stack(colours), alpha > 0

    def close(self) -> None:
        self._vrt.close()
        self._raster.close()


def _resampling(tile: Tile, grid: Grid) -> Resampling:
    """Bilinear, and the mean of pixels where they are much finer than the grid: bilinear would skip some."""
    finer = grid.pixel / pixel_metres(tile.place, CRS.from_string(grid.crs))
    return Resampling.average if finer > 1.8 else Resampling.bilinear
