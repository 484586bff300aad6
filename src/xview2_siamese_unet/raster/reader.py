"""Read both images on the common grid in windows: memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import geometry_mask
from rasterio.warp import reproject, transform_bounds
from rasterio.windows import Window
from scipy.ndimage import map_coordinates
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.raster.grid import Grid, pixel_size, transformer
from xview2_siamese_unet.raster.no_data import read_colours
from xview2_siamese_unet.raster.source import Source, Tile, open_raster, unreadable_raster
from xview2_siamese_unet.types import AnyArray, Colours, Float64Array, Image, Nodes, ShiftMap, Valid, Values

_OPEN_TILES: Final = 24
_CACHE_MEGABYTES: Final = 128
_TILE_MARGIN: Final = 32  # pixels of the grid around a tile, for shift and rounding
_SAME: Final = 1e-3  # pixels; grids that differ by less are the same
_BLOCK: Final = 128  # side of a block that is resampled at once
_MOST: Final = 1024  # pixels of the raster along a side that one block may need
_CACHED: Final = 16  # blocks; neighbouring windows share some
_RIM: Final = 3  # pixels that resampling needs beyond a block
_TIE: Final = 1e-5  # pixels; a centre on the border of two tiles lies in the one to the right, despite rounding
# To a pixel: a window that begins elsewhere must compute the same shift at the same pixel, to the last bit.
_SHIFT_STEPS: Final = 64
_STRIP: Final = 128  # rows of a preview that are read at once


class Patch(NamedTuple):
    """One window of both images; `valid` where both have data."""

    pre: Image
    post: Image
    valid: Valid


class Stretch(NamedTuple):
    """Values that become 0 and 255; `None` in place of it leaves bytes unchanged."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class ShiftField:
    """A shift between two images that varies over the grid, bilinear between nodes.

    Attributes:
        spacing: rows and columns of pixels from node to node; the first node is the upper left corner of the grid.
        rows: pixels down at each node.
        columns: pixels to the right at each node.
    """

    spacing: tuple[float, float]
    rows: Nodes
    columns: Nodes

    def at(self, rows: AnyArray, columns: AnyArray) -> Float64Array:
        """Return the shift (rows, columns) (2, ...) at positions in pixels of the grid."""
        position = np.stack(np.broadcast_arrays(rows / self.spacing[0], columns / self.spacing[1]))
        shifts = [map_coordinates(each, position, order=1, mode="nearest") for each in (self.rows, self.columns)]
        return np.round(np.stack(shifts) * _SHIFT_STEPS) / _SHIFT_STEPS

    def window(self, top: int, left: int, height: int, width: int) -> ShiftMap:
        """Return the shift at the pixels of a window."""
        return self.at(top + np.arange(height)[:, None] + 0.5, left + np.arange(width)[None, :] + 0.5)

    def coarser(self, factor: float) -> ShiftField:
        """Return the same field on a grid whose pixels are `factor` times as large."""
        spacing = self.spacing[0] / factor, self.spacing[1] / factor
        return ShiftField(spacing, self.rows / factor, self.columns / factor)


@dataclass(frozen=True, slots=True)
class Pair:
    """A pre- and a post-disaster image that can be read on one grid.

    Attributes:
        grid: the common grid.
        pre: the pre-disaster image.
        post: the post-disaster image.
        stretch: of both.
        shift: columns and rows by which the post-disaster image is moved onto the pre-disaster image.
        field: local shifts to add to it; then `shift` is in whole pixels.
        black_is_no_data: whether 0 in all three bands means no data.
        aoi: in the system of the grid; outside of it nothing is valid.
        post_only: there is no pre-disaster image, and the post-disaster one takes its place.
    """

    grid: Grid
    pre: Source
    post: Source
    stretch: tuple[Stretch | None, Stretch | None] = (None, None)
    shift: tuple[float, float] = (0.0, 0.0)
    field: ShiftField | None = None
    black_is_no_data: bool = True
    aoi: BaseGeometry | None = None
    post_only: bool = False

    @contextmanager
    def open(self) -> Iterator[PairReader]:
        """Open both images for reading; one reader serves one thread."""
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_MEGABYTES), ImageReader(self, 0) as pre, ImageReader(self, 1) as post:
            yield PairReader(pre, post)

    def previews(self, side: int) -> tuple[Image, Image]:
        """Return both images with at most `side` pixels along the longer side."""
        grid = self.grid.coarser(side)
        factor = grid.pixel / self.grid.pixel
        field = None if self.field is None else self.field.coarser(factor)
        small = replace(self, grid=grid, shift=(self.shift[0] / factor, self.shift[1] / factor), field=field)
        strips = [(top, min(_STRIP, grid.height - top)) for top in range(0, grid.height, _STRIP)]
        with small.open() as reader:
            pre, post = (
                np.concatenate([image.read_bytes(top, 0, height, grid.width)[0] for top, height in strips])
                for image in (reader.pre, reader.post)
            )
        return pre, post


@dataclass(frozen=True, slots=True)
class PairReader:
    """Both images, open."""

    pre: ImageReader
    post: ImageReader

    def read(self, top: int, left: int, height: int, width: int) -> Patch:
        """Return a window, which may reach beyond the grid: black and without data there."""
        pre, pre_valid = self.pre.read_bytes(top, left, height, width)
        if not pre_valid.any():
            return Patch(pre, np.zeros_like(pre), pre_valid)
        post, post_valid = self.post.read_bytes(top, left, height, width)
        valid = pre_valid & post_valid
        aoi, grid = self.pre.pair.aoi, self.pre.pair.grid
        if aoi is not None and valid.any():
            transform = grid.transform @ Affine.translation(left, top)
            valid &= geometry_mask([aoi], valid.shape, transform, invert=True)
        return Patch(pre, post, valid)


class ImageReader:
    """One image of a pair, open: 0 pre-disaster, 1 post-disaster."""

    def __init__(self, pair: Pair, number: int) -> None:
        self.pair = pair
        self._source: Source = (pair.pre, pair.post)[number]
        self._stretch = pair.stretch[number]
        self._field = pair.field if number else None
        # The post-disaster image is read where it shows what the pixel of the grid shows in the pre-disaster image.
        self._transform = pair.grid.transform @ Affine.translation(*(pair.shift if number else (0.0, 0.0)))
        self._windows = [_window_of(tile, pair.grid) for tile in self._source.tiles]
        self._open: dict[int, TileReader] = {}

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def read(self, top: int, left: int, height: int, width: int) -> tuple[Values, Valid]:
        """Return unscaled values, and which pixels have data."""
        if self._field is None:
            return self._mosaic(top, left, height, width)
        shift = self._field.window(top, left, height, width)
        rim = int(np.ceil(np.abs(shift).max())) + 1
        values, valid = self._mosaic(top - rim, left - rim, height + 2 * rim, width + 2 * rim)
        position = np.mgrid[rim : rim + height, rim : rim + width] + shift
        bands = [map_coordinates(values[..., k], position, order=1, output=np.float32) for k in range(3)]
        # A pixel that touches a hole becomes a hole.
        return np.stack(bands, axis=2), map_coordinates(valid.astype(np.float32), position, order=1) > 1 - 1e-4

    def read_bytes(self, top: int, left: int, height: int, width: int) -> tuple[Image, Valid]:
        """Return bytes, black without data, and which pixels have data."""
        values, valid = self.read(top, left, height, width)
        if not valid.any():
            return np.zeros(values.shape, np.uint8), valid
        if self._stretch is not None:
            values = (values - self._stretch.low) * (255 / (self._stretch.high - self._stretch.low))
        pixels = np.rint(values.clip(0, 255)).astype(np.uint8)
        pixels[~valid] = 0
        return pixels, valid

    def _mosaic(self, top: int, left: int, height: int, width: int) -> tuple[Values, Valid]:
        values = np.zeros((height, width, 3), np.float32)
        valid = np.zeros((height, width), bool)
        for number, (first_row, first_column, last_row, last_column) in enumerate(self._windows):
            up, down = max(top, first_row), min(top + height, last_row)
            west, east = max(left, first_column), min(left + width, last_column)
            if up >= down or west >= east or valid.all():
                continue
            inner = slice(up - top, down - top), slice(west - left, east - left)
            try:
                colours, data = self._tile(number).read(Window(west, up, east - west, down - up))
            except RasterioError as error:
                raise unreadable_raster(self._source.tiles[number].path, error) from error
            new = data & ~valid[inner]
            np.copyto(values[inner], np.moveaxis(colours, 0, 2), where=new[..., None])
            valid[inner] |= new
        return values, valid

    def _tile(self, number: int) -> TileReader:
        if number in self._open:
            self._open[number] = self._open.pop(number)  # least recently used first
        else:
            while len(self._open) >= _OPEN_TILES:
                self._open.pop(next(iter(self._open))).close()
            tile, black = self._source.tiles[number], self.pair.black_is_no_data
            self._open[number] = TileReader(tile, self.pair.grid, self._transform, black=black)
        return self._open[number]


def _window_of(tile: Tile, grid: Grid) -> tuple[int, int, int, int]:
    """Return first row and column, end row and column of a tile on the grid, with a margin."""
    west, south, east, north = transform_bounds(tile.extent.crs, grid.crs, *tile.extent.outline.bounds)
    window = grid.window(west, south, east, north)
    return (
        max(int(window.row_off) - _TILE_MARGIN, 0),
        max(int(window.col_off) - _TILE_MARGIN, 0),
        min(int(window.row_off + window.height) + _TILE_MARGIN, grid.height),
        min(int(window.col_off + window.width) + _TILE_MARGIN, grid.width),
    )


class TileReader:
    """One raster, read on a grid: its own pixels if they are those of the grid, else resampled.

    Resampling works on blocks of the grid, so that a pixel has the same value in any window, and ignores pixels without
    data. `transform` is that of the grid, moved by the shift of the image.
    """

    def __init__(self, tile: Tile, grid: Grid, transform: Affine, *, black: bool) -> None:
        self._raster = open_raster(tile.path)
        self._tile, self._black = tile, black
        self._crs, self._transform = CRS.from_string(grid.crs), transform
        offset = ~tile.extent.transform @ transform
        steps = np.array([offset.a - 1, offset.b, offset.d, offset.e - 1]) * max(grid.width, grid.height)
        apart = max(abs(offset.c - round(offset.c)), abs(offset.f - round(offset.f)), *np.abs(steps))
        self._same = tile.extent.crs == self._crs and apart < _SAME
        self._offset = round(offset.f), round(offset.c)
        finer = grid.pixel / pixel_size(tile.extent, self._crs)
        # Cubic would skip some of much finer pixels; bilinear blurs, and a net sees less damage in blurred images.
        self._resampling = Resampling.average if finer > 1.8 else Resampling.cubic
        self._side = max(1, min(_BLOCK, int(_MOST / max(finer, 1))))
        self._block = lru_cache(maxsize=_CACHED)(self._resample)

    def read(self, window: Window) -> tuple[Colours, Valid]:
        """Return colours of a window of the grid, and which pixels have data."""
        top, left, height, width = (int(each) for each in (window.row_off, window.col_off, window.height, window.width))
        if self._same:
            return self._read_own(top + self._offset[0], left + self._offset[1], height, width)
        colours, valid = np.zeros((3, height, width), np.float32), np.zeros((height, width), bool)
        side = self._side
        for j in range(left // side, -(-(left + width) // side)):  # column by column: the next window lies to the right
            for i in range(top // side, -(-(top + height) // side)):
                rows = slice(max(top, i * side), min(top + height, (i + 1) * side))
                columns = slice(max(left, j * side), min(left + width, (j + 1) * side))
                block, data = self._block(i, j)
                inner = _moved(rows, -i * side), _moved(columns, -j * side)
                outer = _moved(rows, -top), _moved(columns, -left)
                colours[:, *outer], valid[outer] = block[:, *inner], data[inner]
        return colours, valid

    def close(self) -> None:
        """Close the file."""
        self._block.cache_clear()  # it refers to itself, so only the garbage collector would free its memory
        self._raster.close()

    def _read_own(self, top: int, left: int, height: int, width: int) -> tuple[Colours, Valid]:
        """Return a window of the raster itself; beyond its edges there is no data."""
        colours, valid = np.zeros((3, height, width), np.float32), np.zeros((height, width), bool)
        up, down = max(top, 0), min(top + height, self._raster.height)
        west, east = max(left, 0), min(left + width, self._raster.width)
        if up < down and west < east:
            inner = slice(up - top, down - top), slice(west - left, east - left)
            own = Window(west, up, east - west, down - up)
            colours[:, *inner], valid[inner] = read_colours(self._raster, self._tile, own, black=self._black)
        return colours, valid

    def _resample(self, i: int, j: int) -> tuple[Colours, Valid]:
        """Return block (i, j) of the grid."""
        side = self._side
        target = self._transform @ Affine.translation(j * side, i * side)
        top, left, height, width = self._needed(target)
        resampled = np.full((3, side, side), np.nan, np.float32)
        if height > 0 and width > 0:
            colours, valid = self._read_own(top, left, height, width)
            if valid.any():
                colours[:, ~valid] = np.nan
                reproject(
                    colours,
                    resampled,
                    src_transform=self._tile.extent.transform @ Affine.translation(left - _TIE, top - _TIE),
                    src_crs=self._tile.extent.crs,
                    src_nodata=np.nan,
                    dst_transform=target,
                    dst_crs=self._crs,
                    dst_nodata=np.nan,
                    resampling=self._resampling,
                )
        data = np.asarray(np.isfinite(resampled).all(axis=0))
        resampled[:, ~data] = 0
        return resampled, data

    def _needed(self, target: Affine) -> tuple[int, int, int, int]:
        """Return first row and column, height and width of the raster that one block needs."""
        ticks = np.linspace(0, self._side, 5)
        x, y = _apply(target, *(each.ravel() for each in np.meshgrid(ticks, ticks)))
        extent = self._tile.extent
        if extent.crs != self._crs:
            x, y = transformer(self._crs, extent.crs).transform(x, y)
            if extent.crs.is_geographic:  # longitudes of a raster across 180 degrees continue beyond it
                x = x + 360 * np.round((extent.outline.centroid.x - x) / 360)
        columns, rows = _apply(~extent.transform, x, y)
        finite = np.isfinite(columns) & np.isfinite(rows)
        if not finite.any():
            return 0, 0, 0, 0
        columns, rows = columns[finite], rows[finite]
        top = max(int(np.floor(rows.min())) - _RIM, -_RIM)
        left = max(int(np.floor(columns.min())) - _RIM, -_RIM)
        bottom = min(int(np.ceil(rows.max())) + _RIM, self._raster.height + _RIM)
        right = min(int(np.ceil(columns.max())) + _RIM, self._raster.width + _RIM)
        return top, left, bottom - top, right - left


def _apply(transform: Affine, x: Any, y: Any) -> tuple[Float64Array, Float64Array]:  # noqa: ANN401
    return transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f


def _moved(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)
