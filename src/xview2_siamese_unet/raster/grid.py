"""The common grid of a pair: north-up, square pixels, UTM, the overlap of its images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import pyproj
import shapely
from affine import Affine
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.windows import Window
from shapely import Polygon
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd.georeference import utm_zone

COARSEST: Final = 3.0
"""Metres; damage to buildings is not visible in larger pixels."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A north-up grid of square pixels.

    Attributes:
        crs: `EPSG:…` if it has a code, else WKT.
        left: easting of the left edge in metres.
        top: northing of the top edge in metres.
        pixel: side of a pixel in metres.
        width: columns.
        height: rows.
    """

    crs: str
    left: float
    top: float
    pixel: float
    width: int
    height: int

    @property
    def transform(self) -> Affine:
        """From column and row to easting and northing."""
        return Affine(self.pixel, 0, self.left, 0, -self.pixel, self.top)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in metres."""
        return (
            self.left,
            self.top - self.height * self.pixel,
            self.left + self.width * self.pixel,
            self.top,
        )

    def window(self, west: float, south: float, east: float, north: float) -> Window:
        """Return the pixels whose centres lie in a rectangle in metres; the size may be 0."""
        columns = [min(max(value, 0), self.width) for value in _span(west - self.left, east - self.left, self.pixel)]
        rows = [min(max(value, 0), self.height) for value in _span(self.top - north, self.top - south, self.pixel)]
        return Window(columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0])

    def coarser(self, side: int) -> Grid:
        """Return the grid with larger pixels, at most `side` along its longer side."""
        factor = max(1.0, max(self.width, self.height) / side)
        width, height = (max(1, round(length / factor)) for length in (self.width, self.height))
        return replace(self, pixel=self.pixel * factor, width=width, height=height)


@dataclass(frozen=True, slots=True)
class Extent:
    """The outline of an image in its coordinate reference system, and the transform of its (first) raster."""

    crs: CRS
    outline: BaseGeometry
    transform: Affine


class Area(NamedTuple):
    """A shape and its coordinate reference system."""

    crs: CRS
    shape: BaseGeometry


def common_grid(pre: Extent, post: Extent, pixel: float | None = None, aoi: Area | None = None) -> Grid:
    """Return the grid of the overlap of two images, within an area of interest.

    The zone of an image in UTM and the pixels of the coarser image are kept, so that nothing is resampled needlessly.

    Args:
        pre: the pre-disaster image.
        post: the post-disaster image.
        pixel: side of a pixel in metres; `None`: that of the coarser image.
        aoi: clips the grid to its bounds.

    Raises:
        DataError: the images do not overlap, or not within the area of interest.
    """
    crs = _shared_crs(pre, post)
    outlines = [reproject(image.outline, image.crs, crs) for image in (pre, post)]
    overlap = outlines[0].intersection(outlines[1])
    if overlap.is_empty:
        raise _no_overlap(outlines)
    if aoi is not None:
        inside = clip(aoi, overlap, crs)
        if inside.is_empty:
            raise _area_outside(aoi, overlap, crs)
        overlap = inside
    sizes = [pixel_size(image, crs) for image in (pre, post)]
    size = pixel or max(sizes)
    left, top = _origin(pre if sizes[0] >= sizes[1] else post, crs, size)
    west, south, east, north = overlap.bounds
    first_column, last_column = _span(west - left, east - left, size)
    first_row, last_row = _span(top - north, top - south, size)
    width, height = last_column - first_column, last_row - first_row
    if width <= 0 or height <= 0:
        raise _no_overlap(outlines) if aoi is None else _area_outside(aoi, overlap, crs)
    return Grid(crs.to_string(), left + first_column * size, top - first_row * size, size, width, height)


def clip(area: Area, frame: BaseGeometry, crs: CRS) -> BaseGeometry:
    """Return the part of an area inside a frame, in the system of the frame."""
    # In the system of the area, which may be larger than a UTM zone can express; wider, because edges bend.
    west, south, east, north = frame.bounds
    wider = frame.buffer(max(east - west, north - south) / 100)
    inside = wrap_longitude(area.shape, area.crs).intersection(reproject(wider, crs, area.crs))
    parts = shapely.get_parts(shapely.get_parts(reproject(inside, area.crs, crs).intersection(frame)))
    return shapely.union_all(parts[shapely.get_dimensions(parts) == 2])  # outlines that only touch leave lines, points


def wrap_longitude(shape: BaseGeometry, crs: CRS) -> BaseGeometry:
    """Return a shape in degrees with its copies 360 degrees to the west and to the east.

    A shape across 180 degrees is split there (RFC 7946), or continues to 181 or -181: one of the three copies meets it.
    A polygon that spans more than half of the Earth, and not all of it, jumps from 180 to -180.
    """
    if not crs.is_geographic:
        return shape
    parts = [
        _unwrap(part) if 180 < part.bounds[2] - part.bounds[0] < 360 else part
        for part in shapely.get_parts(shape)
        if not part.is_empty
    ]
    return shapely.union_all([translate(part, turn) for part in parts for turn in (-360, 0, 360)])


def _unwrap(shape: BaseGeometry) -> BaseGeometry:
    """Continue a shape that jumps from 180 to -180 degrees beyond 180."""
    moved: BaseGeometry = shapely.transform(shape, lambda xy: xy + np.where(xy < 0, [360, 0], 0))
    return shapely.make_valid(moved)


def pixel_size(image: Extent, crs: CRS) -> float:
    """Return the side of a pixel in the middle of an image in metres (root of its area)."""
    if image.crs == crs:
        return math.sqrt(abs(image.transform.determinant))
    x, y = image.outline.centroid.coords[0]
    step = 100.0  # pixels; a single one loses digits next to northings of 10⁶ m
    own = image.transform
    corners = [(x, y), (x + step * own.a, y + step * own.d), (x + step * own.b, y + step * own.e)]
    (x0, y0), (x1, y1), (x2, y2) = (transformer(image.crs, crs).transform(*corner) for corner in corners)
    return math.sqrt(abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))) / step


def _span(low: float, high: float, pixel: float) -> tuple[int, int]:
    """Return the first and the end of the pixels whose centres lie between two distances."""
    return math.ceil(low / pixel - 0.5 - 1e-6), math.floor(high / pixel - 0.5 + 1e-6) + 1


def _origin(anchor: Extent, crs: CRS, pixel: float) -> tuple[float, float]:
    own = anchor.transform
    north_up = own.b == own.d == 0 and own.a > 0 > own.e
    if anchor.crs == crs and north_up and math.isclose(own.a, pixel) and math.isclose(-own.e, pixel):
        return own.c, own.f
    return 0.0, 0.0


def _shared_crs(pre: Extent, post: Extent) -> CRS:
    """Return the UTM zone of the first image that has one, else that of the centre of the overlap."""
    for image in (pre, post):
        if is_utm(image.crs):
            return image.crs
    degrees = CRS.from_epsg(4326)
    outlines = [reproject(image.outline, image.crs, degrees) for image in (pre, post)]
    overlap = outlines[0].intersection(wrap_longitude(outlines[1], degrees))
    if overlap.is_empty:
        raise _no_overlap(outlines)
    return CRS.from_epsg(utm_zone(overlap.centroid.x, overlap.centroid.y))


def is_utm(crs: CRS) -> bool:
    """Return whether a coordinate reference system is a UTM zone in metres."""
    projected = pyproj.CRS.from_wkt(crs.to_wkt())
    return projected.utm_zone is not None and projected.axis_info[0].unit_name == "metre"


@lru_cache(maxsize=64)  # the tiles of a folder share few systems
def is_on_earth(crs: CRS) -> bool:
    """Return whether a system can be converted to degrees, which a local one cannot."""
    try:
        transformer(crs, CRS.from_epsg(4326))
    except ProjError:
        return False
    return True


def reproject(shape: BaseGeometry, source: CRS, target: CRS) -> BaseGeometry:
    """Return a shape in another system, its edges bent by additional vertices."""
    if source == target:
        return shape
    # 500 m and 21 points a side keep an outline exact to a centimetre.
    longest = 0.005 if source.is_geographic else 500
    dense = shapely.segmentize(shape, max(min(shape.length / 80, longest), 1e-9))
    convert: Any = transformer(source, target).transform
    moved: BaseGeometry = shapely.transform(dense, convert, interleaved=False)
    if not np.isfinite(shapely.get_coordinates(moved)).all():  # outside of what the other system can express
        return Polygon()
    west, _, east, _ = moved.bounds if not moved.is_empty else (0, 0, 0, 0)
    if target.is_geographic and east - west > 180:  # across 180 degrees
        moved = _unwrap(moved)
    return shapely.make_valid(moved)


@lru_cache(maxsize=64)
def transformer(source: CRS, target: CRS) -> pyproj.Transformer:
    """Return the transformer of x and y from one system to another."""
    return pyproj.Transformer.from_crs(source.to_wkt(), target.to_wkt(), always_xy=True)


@lru_cache(maxsize=64)
def horizontal_crs(crs: CRS) -> CRS:
    """Return a system without its heights, which images and footprints do not need."""
    own = pyproj.CRS.from_wkt(crs.to_wkt())
    flat = (own.sub_crs_list[0] if own.is_compound else own).to_2d()
    return crs if flat == own else CRS.from_wkt(flat.to_wkt())


def raster_outline(transform: Affine, width: int, height: int) -> Polygon:
    """Return the edge of a raster, also of a rotated one."""
    corners: list[Any] = [transform @ corner for corner in ((0, 0), (width, 0), (width, height), (0, height))]
    return Polygon(corners)


def _no_overlap(outlines: list[BaseGeometry]) -> DataError:
    return DataError(
        f"The images do not overlap (bounds {' and '.join(map(_bounds, outlines))}).",
        hint="Check that they show the same area and that each has its true coordinate reference system.",
    )


def _area_outside(area: Area, overlap: BaseGeometry, crs: CRS) -> DataError:
    swapped = Area(area.crs, shapely.transform(area.shape, lambda xy: xy[:, ::-1]))
    return DataError(
        f"The area of interest (bounds {_bounds(area.shape)}) holds no pixel of the overlap of the images "
        f"(bounds {_bounds(reproject(overlap, crs, area.crs))}).",
        hint="Its latitude and longitude are swapped: write longitude first."
        if not clip(swapped, overlap, crs).is_empty
        else "Check the coordinates of the area of interest and its coordinate reference system.",
    )


def _bounds(shape: BaseGeometry) -> str:
    return str([round(value, 5) for value in shape.bounds])
