"""Pixels of both dates on the common grid, read in windows: memory does not grow with the rasters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.errors import RasterioError
from rasterio.features import geometry_mask
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.grid_source import Source, Tile, unreadable
from xview2_siamese_unet.raster.window_field import ShiftField, pull
from xview2_siamese_unet.raster.window_tile import OpenTile

ByteArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
_OPEN_TILES: Final = 24
_CACHE_MEGABYTES: Final = 128


class Patch(NamedTuple):
    """One window of a pair: `pre` and `post` (h, w, 3) bytes, `valid` (h, w) where both dates hold data."""

    pre: ByteArray
    post: ByteArray
    valid: BoolArray


class Stretch(NamedTuple):
    """Values that become 0 and 255; `None` in place of it leaves bytes as they are."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Pair:
    """All that is needed to read both dates on one grid.

    Attributes:
        grid: the common grid.
        pre: the image before.
        post: the image after.
        stretch: of the image before and of the image after.
        shift: columns and rows by which the image after is moved to lie on the image before.
        field: what is to be added to it from place to place; then `shift` is whole pixels.
        black_is_no_data: whether 0 in all three bands means no data.
        aoi: in the system of the grid; outside of it nothing is valid.
    """

    grid: Grid
    pre: Source
    post: Source
    stretch: tuple[Stretch | None, Stretch | None] = (None, None)
    shift: tuple[float, float] = (0.0, 0.0)
    field: ShiftField | None = None
    black_is_no_data: bool = True
    aoi: BaseGeometry | None = None

    @contextmanager
    def open(self) -> Iterator[PairReader]:
        """Open both dates for reading; one reader serves one thread."""
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_MEGABYTES), DateReader(self, 0) as pre, DateReader(self, 1) as post:
            yield PairReader(pre, post)


@dataclass(frozen=True, slots=True)
class PairReader:
    """Both dates, open."""

    pre: DateReader
    post: DateReader

    def read(self, top: int, left: int, height: int, width: int) -> Patch:
        """Return a window, which may reach beyond the grid: there is no data, and black."""
        pre, seen_before = self.pre.read_bytes(top, left, height, width)
        if not seen_before.any():
            return Patch(pre, np.zeros_like(pre), seen_before)
        post, seen_after = self.post.read_bytes(top, left, height, width)
        valid = seen_before & seen_after
        aoi, grid = self.pre.pair.aoi, self.pre.pair.grid
        if aoi is not None and valid.any():
            place = grid.transform @ Affine.translation(left, top)
            valid &= geometry_mask([aoi], valid.shape, place, invert=True)
        return Patch(pre, post, valid)


@dataclass
class DateReader:
    """One date, open.

    Args:
        pair: what to read.
        date: 0 before, 1 after.
    """

    pair: Pair
    date: int
    _open: dict[int, OpenTile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        source: Source = (self.pair.pre, self.pair.post)[self.date]
        grid = self.pair.grid
        columns, rows = self.pair.shift if self.date else (0.0, 0.0)
        # The image after is asked for at the place where it shows what the grid's pixel shows before.
        self._transform = grid.transform @ Affine.translation(columns, rows)
        self._source = source
        self._windows = [_place(tile, grid) for tile in source.tiles]

    def __enter__(self) -> DateReader:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def read(self, top: int, left: int, height: int, width: int) -> tuple[FloatArray, BoolArray]:
        """Return values (h, w, 3) as they are and where there are any (h, w)."""
        if self.date == 0 or self.pair.field is None:
            return self._collect(top, left, height, width)
        shift = self.pair.field.window(top, left, height, width)
        rim = int(np.ceil(np.abs(shift).max())) + 1
        return pull(*self._collect(top - rim, left - rim, height + 2 * rim, width + 2 * rim), shift)

    def _collect(self, top: int, left: int, height: int, width: int) -> tuple[FloatArray, BoolArray]:
        values = np.zeros((height, width, 3), np.float32)
        seen = np.zeros((height, width), bool)
        for number, (first_row, first_column, last_row, last_column) in enumerate(self._windows):
            up, down = max(top, first_row), min(top + height, last_row)
            west, east = max(left, first_column), min(left + width, last_column)
            if up >= down or west >= east or seen.all():
                continue
            inner = slice(up - top, down - top), slice(west - left, east - left)
            self._paste(number, Window(west, up, east - west, down - up), values[inner], seen[inner])
        return values, seen

    def read_bytes(self, top: int, left: int, height: int, width: int) -> tuple[ByteArray, BoolArray]:
        """Return the window as bytes (h, w, 3), black where there is no data, and where there is (h, w)."""
        values, seen = self.read(top, left, height, width)
        if not seen.any():
            return np.zeros(values.shape, np.uint8), seen
        stretch = self.pair.stretch[self.date]
        if stretch is not None:
            values = (values - stretch.low) * (255 / (stretch.high - stretch.low))
        pixels = np.rint(values.clip(0, 255)).astype(np.uint8)
        pixels[~seen] = 0
        return pixels, seen

    def _paste(self, number: int, window: Window, values: FloatArray, seen: BoolArray) -> None:
        try:
            colours, there = self._tile(number).read(window)
        except RasterioError as error:
            raise unreadable(self._source.tiles[number].path, error) from error
        new = there & ~seen
        values[new] = np.moveaxis(colours, 0, 2)[new]
        seen |= new

    def _tile(self, number: int) -> OpenTile:
        if number in self._open:
            self._open[number] = self._open.pop(number)  # least recently used first
        else:
            while len(self._open) >= _OPEN_TILES:
                self._open.pop(next(iter(self._open))).close()
            tile, black = self._source.tiles[number], self.pair.black_is_no_data
            self._open[number] = OpenTile(tile, self.pair.grid, self._transform, black=black)
        return self._open[number]


def _place(tile: Tile, grid: Grid) -> tuple[int, int, int, int]:
    """Return first row and column and those after the last of a tile on the grid, with a rim for shift and rounding."""
    west, south, east, north = transform_bounds(tile.place.crs, grid.crs, *tile.place.outline.bounds)
    window = grid.window(west, south, east, north)
    rim = 32
    return (
        max(int(window.row_off) - rim, 0),
        max(int(window.col_off) - rim, 0),
        min(int(window.row_off + window.height) + rim, grid.height),
        min(int(window.col_off + window.width) + rim, grid.width),
    )
