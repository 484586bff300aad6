"""Zonal statistics of one polygon from exact areas of overlap: a slow, independent reference."""

from __future__ import annotations

import numpy as np
import shapely

from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.io import LEVELS, NO_DATA


def exact_zonal(shape: shapely.Geometry, grid: Grid, values: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the visible share of a polygon and its mean probabilities (5,)."""
    in_pixels = shapely.transform(shape, lambda xy: (xy - [grid.left, grid.top]) / [grid.pixel, -grid.pixel])
    west, north, east, south = in_pixels.bounds
    rows = np.arange(max(int(np.floor(north)), 0), min(int(np.ceil(south)), grid.height))
    columns = np.arange(max(int(np.floor(west)), 0), min(int(np.ceil(east)), grid.width))
    if not len(rows) or not len(columns):
        return 0.0, np.full(5, np.nan)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    share = shapely.area(shapely.intersection(shapely.box(x, y, x + 1, y + 1), in_pixels))
    inner = values[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    share = share * (inner[0] != NO_DATA)
    if share.sum() < 1e-9:
        return 0.0, np.full(5, np.nan)
    return share.sum() / in_pixels.area, (inner * share).sum(axis=(1, 2)) / share.sum() / LEVELS
