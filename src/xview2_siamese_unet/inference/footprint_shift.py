"""How far footprints lie beside the buildings that the model sees, and footprints moved onto them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize
from rasterio.windows import Window

from xview2_siamese_unet.inference.register import SIDE, Shift, estimate_shift
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.io import NO_DATA
from xview2_siamese_unet.raster.reader import Patch

_MOST: Final = 64  # windows


def estimate_footprint_shift(outlines: gpd.GeoDataFrame, probability: Path, grid: Grid) -> Shift:
    """Return where the model sees what the footprints draw, in pixels of the grid.

    Args:
        outlines: polygons in the system of the grid.
        probability: raster of probabilities, that of background first.
        grid: grid of that raster.
    """
    with rasterio.open(probability, driver="GTiff") as raster:
        return estimate_shift(_patches(outlines, raster, grid))


def moved(outlines: gpd.GeoDataFrame, shift: Shift, pixel: float) -> gpd.GeoDataFrame:
    """Return the outlines moved by a shift in pixels of `pixel` metres."""
    step = np.array([shift.columns, -shift.rows]) * pixel
    return outlines.set_geometry(
        shapely.transform(outlines.geometry.to_numpy(), lambda xy: xy + step), crs=outlines.crs
    )


def _patches(outlines: gpd.GeoDataFrame, raster: Any, grid: Grid) -> Iterator[Patch]:  # noqa: ANN401
    """Yield footprints and what the model sees, as two images, in windows that hold footprints."""
    shapes = outlines.geometry.to_numpy()
    tree = shapely.STRtree(shapes)
    for top, left in _places(shapes, grid):
        rows, columns = min(SIDE, grid.height - top), min(SIDE, grid.width - left)
        background = np.full((SIDE, SIDE), NO_DATA, np.uint8)
        background[:rows, :columns] = raster.read(1, window=Window(left, top, columns, rows))
        transform = grid.transform @ Affine.translation(left, top)
        west, north = transform @ (0, 0)
        near = shapes[tree.query(shapely.box(west, north - SIDE * grid.pixel, west + SIDE * grid.pixel, north))]
        drawn = rasterize(near, out_shape=(SIDE, SIDE), transform=transform, default_value=NO_DATA - 1, dtype="uint8")
        seen = background != NO_DATA
        images = [np.repeat(each[..., None], 3, axis=2) for each in (drawn, NO_DATA - 1 - background * seen)]
        yield Patch(images[0], images[1], seen)


def _places(shapes: Any, grid: Grid) -> list[tuple[int, int]]:  # noqa: ANN401
    """Return first row and column of windows that hold footprints, spread over all of them."""
    places = shapely.get_coordinates(shapely.centroid(shapes))
    cells = np.floor((places - [grid.left, grid.top]) / (grid.pixel * SIDE) * [1, -1]).astype(int)[:, ::-1]
    inside = ((cells >= 0) & (cells * SIDE < [grid.height, grid.width])).all(axis=1)
    windows = np.unique(cells[inside], axis=0) * SIDE
    chosen = windows[:: max(1, len(windows) // _MOST)]
    return [(int(top), int(left)) for top, left in chosen]
