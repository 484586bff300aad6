"""Rasterise the polygons of a scene.

All edges of a scene are intersected with all rows of pixel centres at once, in arrays, where
`rasterio.features.rasterize` takes every polygon apart in Python first. The pixels are the same: the intersections are
computed in GDAL's order of operations, so that rounding is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import shapely
from rasterio.features import rasterize

from xview2_siamese_unet.damage import OVERLAP_PRIORITY
from xview2_siamese_unet.types import ClassCodes, Int64Array, Integers, LineEnds, Mask
from xview2_siamese_unet.xbd.labels import PolygonArray

Shape = tuple[int, int]
Rule = Literal["centre", "outline"]
_RANK: dict[int, int] = {code: rank for rank, code in enumerate(reversed(OVERLAP_PRIORITY))}


def rasterize_damage(polygons: PolygonArray, codes: Sequence[int], shape: Shape, rule: Rule) -> Mask:
    """Return the damage mask of one scene, 0 outside of all polygons.

    Where polygons overlap, the class that comes first in `damage.OVERLAP_PRIORITY` wins. A ring that crosses itself is
    filled by the even-odd rule.

    Args:
        polygons: (n,) of `parse_polygons`, in pixels; parts outside the image are clipped.
        codes: a damage code for each.
        shape: height and width in pixels.
        rule: see `MaskParams.rule`.
    """
    order = sorted(range(len(polygons)), key=lambda i: _RANK[codes[i]])
    return _rasterize(polygons[order], np.asarray(codes, np.uint8)[order], shape, rule)


def rasterize_buildings(polygons: PolygonArray, shape: Shape, rule: Rule) -> Mask:
    """Return the building mask of one scene, 0/1; arguments as in `rasterize_damage`."""
    return _rasterize(polygons, np.ones(len(polygons), np.uint8), shape, rule)


def _rasterize(polygons: PolygonArray, codes: ClassCodes, shape: Shape, rule: Rule) -> Mask:
    """Paint in order, so that the last polygon of a pixel wins."""
    if rule == "outline" and len(polygons):  # rasterize refuses an empty list
        mask: Mask = rasterize(zip(polygons, codes, strict=True), out_shape=shape, dtype="uint8", all_touched=True)
        return mask
    mask = np.zeros(shape, np.uint8)
    owners, starts, lengths = _spans(polygons, shape)
    mask.reshape(-1)[_ranges(starts, lengths)] = np.repeat(codes[owners], lengths)
    return mask


def pixels_inside(polygons: PolygonArray, shape: Shape) -> tuple[Int64Array, Int64Array]:
    """Return all pixels whose centres lie in a polygon, with repeats where polygons overlap.

    Args:
        polygons: (n,), in pixels; parts outside the image are clipped.
        shape: height and width in pixels.

    Returns:
        The number of the polygon, in rising order, and of the pixel in the flattened image.
    """
    owners, starts, lengths = _spans(polygons, shape)
    return np.repeat(owners, lengths), _ranges(starts, lengths)


def _spans(polygons: PolygonArray, shape: Shape) -> tuple[Integers, Integers, Integers]:
    """Return runs inside polygons: polygon, first pixel of the flattened image, length."""
    height, width = shape
    owner, (x1, y1), (x2, y2) = _rising_edges(polygons)
    # An edge crosses the centres of the rows first … last − 1; with a half-open range, neighbours share no row.
    first, last = (np.ceil(y - 0.5).clip(0, height).astype(np.int64) for y in (y1, y2))
    row = _ranges(first, last - first)
    edge = np.repeat(np.arange(len(first)), last - first)
    crossing = (row + 0.5 - y1[edge]) * (x2 - x1)[edge] / (y2 - y1)[edge] + x1[edge]
    column = np.floor(crossing + 0.5).clip(0, width).astype(np.int64)
    # One number that sorts by polygon, row and column; a closed ring crosses a row an even number of times.
    crossings = np.sort((owner[edge] * height + row) * (width + 1) + column)
    line, start = np.divmod(crossings[0::2], width + 1)
    return line // height, line % height * width + start, crossings[1::2] - crossings[0::2]


def _rising_edges(polygons: PolygonArray) -> tuple[Integers, LineEnds, LineEnds]:
    """Return polygon, upper and lower end of all edges not level."""
    parts, part_owner = shapely.get_parts(polygons, return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    kept = (ring[1:] == ring[:-1]) & (points[1:, 1] != points[:-1, 1])
    begin, end = points[:-1][kept], points[1:][kept]
    falls = (begin[:, 1] > end[:, 1])[:, None]
    return part_owner[ring_part[ring[:-1][kept]]], np.where(falls, end, begin).T, np.where(falls, begin, end).T


def _ranges(starts: Integers, lengths: Integers) -> Int64Array:
    """Return start, start + 1, … of each range, concatenated."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - ends + lengths, lengths) + np.arange(ends[-1] if len(ends) else 0)
