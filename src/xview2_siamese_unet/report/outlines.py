"""Polygons in degrees as paths of an SVG map, north up and true to scale at its middle."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.types import Float64Array

_WIDTH: Final = 1000.0
"""Units of the map along its longer side."""


def draw_polygons(shapes: Any) -> tuple[list[str], tuple[int, int]]:  # noqa: ANN401
    """Return polygons in degrees as SVG paths, and width and height of the map."""
    if np.ptp(shapely.total_bounds(shapes)[[0, 2]]) > 180:  # across 180 degrees
        shapes = shapely.transform(shapes, lambda xy: xy + np.where(xy[:, :1] < 0, [360.0, 0.0], 0.0))
    west, south, east, north = shapely.total_bounds(shapes).tolist()
    squeeze = math.cos(math.radians((south + north) / 2))
    scale = _WIDTH / max((east - west) * squeeze, north - south)

    def to_map(xy: Float64Array) -> Float64Array:
        return np.column_stack([(xy[:, 0] - west) * squeeze * scale, (north - xy[:, 1]) * scale])

    size = math.ceil((east - west) * squeeze * scale), math.ceil((north - south) * scale)
    return [_path(shape) for shape in shapely.transform(shapes, to_map)], size


def _path(shape: BaseGeometry) -> str:
    """Return the rings of polygons as an SVG path."""
    rings = (ring for part in shapely.get_parts(shape) for ring in (part.exterior, *part.interiors))
    return "".join(
        f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in shapely.get_coordinates(ring.simplify(0.1))[:-1])}Z"
        for ring in rings
    )
