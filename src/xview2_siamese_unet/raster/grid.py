"""The one grid on which both dates are compared: north-up, square pixels, a UTM zone, whole pixels of the overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyproj
import shapely
from affine import Affine
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.windows import Window
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd.georeference import utm_zone


@dataclass(frozen=True, slots=True)
class Grid:
    """A north-up grid of square pixels in metres.

    Attributes:
        crs: coordinate reference system, `EPSG:…` where it has a code, else WKT.
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
        """Return the pixels, clipped to the grid, that hold a rectangle in metres; of no size where there are none."""
        columns = [min(max(value, 0), self.width) for value in _span(west - self.left, east - self.left, self.pixel)]
        rows = [min(max(value, 0), self.height) for value in _span(self.top - north, self.top - south, self.pixel)]
        return Window(columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0])


@dataclass(frozen=True, slots=True)
class Place:
    """Where one date lies.

    Attributes:
        crs: its coordinate reference system.
        outline: its edge in that system.
        transform: from column and row of its (first) raster to that system.
    """

    crs: CRS
    outline: BaseGeometry
    transform: Affine


class Area(NamedTuple):
    """A shape in a system."""

    crs: CRS
    shape: BaseGeometry


def common_grid(pre: Place, post: Place, pixel: float | None = None, aoi: Area | None = None) -> Grid:
    """Return the grid of the overlap of two dates, at the coarser pixel size or a given one.

    A date that lies in a UTM zone already keeps it, and the coarser one its own pixels, so that nothing is resampled
    without need.

    Args:
        pre: the date before.
        post: the date after.
        pixel: side of a pixel in metres; `None` that of the coarser date.
        aoi: cuts the grid to its frame.

    Raises:
        DataError: the dates do not overlap, or not within the area of interest.
    """
    crs = _shared_crs(pre, post)
    outlines = [reproject(place.outline, place.crs, crs) for place in (pre, post)]
    overlap = outlines[0].intersection(outlines[1])
    if overlap.is_empty:
        raise _no_overlap(outlines)
    if aoi is not None:
        overlap = cut(aoi, overlap, crs)
        if overlap.is_empty:
            raise _no_overlap([*outlines, aoi.shape])
    sizes = [pixel_metres(place, crs) for place in (pre, post)]
    anchor = pre if sizes[0] >= sizes[1] else post
    size = pixel or max(sizes)
    left, top = _origin(anchor, crs, size)
    west, south, east, north = overlap.bounds
    first_column, last_column = _span(west - left, east - left, size)
    first_row, last_row = _span(top - north, top - south, size)
    if last_column <= first_column or last_row <= first_row:
        raise _no_overlap(outlines)
    return Grid(
        crs=crs.to_string(),
        left=left + first_column * size,
        top=top - first_row * size,
        pixel=size,
        width=last_column - first_column,
        height=last_row - first_row,
    )


def cut(area: Area, frame: BaseGeometry, crs: CRS) -> BaseGeometry:
    """Return the part of an area inside a frame, in the system of the frame.

    Cut in the system of the area, which may be larger than a UTM zone can say.
    """
    inside = area.shape.intersection(reproject(frame, crs, area.crs))
    return reproject(inside, area.crs, crs).intersection(frame)


def pixel_metres(place: Place, crs: CRS) -> float:
    """Return the side of a pixel of `place` in metres: the root of the area of one in the middle, once projected."""
    if place.crs == crs:
        return math.sqrt(abs(place.transform.determinant))
    x, y = place.outline.centroid.coords[0]
    step = 100.0  # pixels; a single one loses digits beside northings of 10⁶ m
    across, down = (
        (step * place.transform.a, step * place.transform.d),
        (step * place.transform.b, step * place.transform.e),
    )
    corners = [(x, y), (x + across[0], y + across[1]), (x + down[0], y + down[1])]
    (x0, y0), (x1, y1), (x2, y2) = (_transformer(place.crs, crs).transform(*corner) for corner in corners)
    return math.sqrt(abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))) / step


def _span(low: float, high: float, pixel: float) -> tuple[int, int]:
    """Return the first pixel and the one after the last whose centre lies between two distances."""
    return math.ceil(low / pixel - 0.5 - 1e-6), math.floor(high / pixel - 0.5 + 1e-6) + 1


def _origin(anchor: Place, crs: CRS, pixel: float) -> tuple[float, float]:
    own = anchor.transform
    north_up = own.b == own.d == 0 and own.a > 0 > own.e
    if anchor.crs == crs and north_up and math.isclose(own.a, pixel) and math.isclose(-own.e, pixel):
        return own.c, own.f
    return 0.0, 0.0


def _shared_crs(pre: Place, post: Place) -> CRS:
    """Return the UTM zone of a date that has one, else that of the middle of the overlap."""
    for place in (pre, post):
        if is_utm(place.crs):
            return place.crs
    degrees = CRS.from_epsg(4326)
    outlines = [reproject(place.outline, place.crs, degrees) for place in (pre, post)]
    overlap = outlines[0].intersection(outlines[1])
    if overlap.is_empty:
        raise _no_overlap(outlines)
    middle = overlap.centroid
    return CRS.from_epsg(utm_zone(middle.x, middle.y))


def is_utm(crs: CRS) -> bool:
    """Say whether a system is a UTM zone in metres."""
    projected = pyproj.CRS.from_wkt(crs.to_wkt())
    return projected.utm_zone is not None and projected.axis_info[0].unit_name == "metre"


@lru_cache(maxsize=64)  # a folder of tiles asks the same for each of them
def is_on_earth(crs: CRS) -> bool:
    """Say whether a system can be turned into degrees, which a local one cannot."""
    try:
        _transformer(crs, CRS.from_epsg(4326))
    except ProjError:
        return False
    return True


def reproject(shape: BaseGeometry, source: CRS, target: CRS) -> BaseGeometry:
    """Return a shape in another system, its edges bent as they bend."""
    if source == target:
        return shape
    # Straight edges bend: 21 points a side keep a scene's outline to well under a pixel.
    dense = shapely.segmentize(shape, max(shape.length / 80, 1e-9))
    convert: Any = _transformer(source, target).transform
    moved: BaseGeometry = shapely.transform(dense, convert, interleaved=False)
    if not np.isfinite(shapely.get_coordinates(moved)).all():  # a place that the other system cannot say
        return Polygon()
    return shapely.make_valid(moved)


def _transformer(source: CRS, target: CRS) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source.to_wkt(), target.to_wkt(), always_xy=True)


def edge(transform: Affine, width: int, height: int) -> Polygon:
    """Return the edge of a raster, also of a rotated one."""
    corners: list[Any] = [transform @ corner for corner in ((0, 0), (width, 0), (width, height), (0, height))]
    return Polygon(corners)


def _no_overlap(outlines: list[BaseGeometry]) -> DataError:
    what = "images" if len(outlines) == 2 else "images and an area of interest"
    there = " and ".join(str([round(value, 5) for value in outline.bounds]) for outline in outlines)
    return DataError(
        "inference.pre and inference.post",
        found=f"{what} that do not overlap (bounds {there})",
        allowed="two images of the same place",
        remedy="check that both are of the same event, and that each names its true coordinate reference system",
    )
