"""Outlines of buildings in a raster of damage codes, joined where the blocks that it is read in cut them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.features import shapes
from rasterio.windows import Window
from shapely.geometry import shape

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.raster.io import NO_DATA

_SIDE: Final = 2048
Polygons = Any  # numpy array of shapely polygons, which has no type of its own


def building_outlines(path: Path, *, min_area: float, side: int = _SIDE) -> tuple[Polygons, int]:
    """Return the connected patches of building in a raster from north to south, and how many are smaller than that.

    Pixels that touch by a side belong together. The result does not depend on `side`.

    Args:
        path: raster of damage codes on a grid in metres.
        min_area: square metres below which a patch is left out.
        side: pixels of the blocks that are read one at a time.
    """
    whole: list[Any] = []
    cut: list[Any] = []
    with rasterio.open(path, driver="GTiff") as raster:
        for window in _windows(raster.width, raster.height, side):
            codes = raster.read(1, window=window)
            building = (codes != Damage.BACKGROUND) & (codes != NO_DATA)
            if building.any():
                frame = _frame(window)
                # Whole pixels: in metres, two blocks round their common edge differently, and nothing would join.
                place = Affine.translation(window.col_off, window.row_off)
                for found, _ in shapes(building.view(np.uint8), building, transform=place):
                    polygon = shape(found)
                    (whole if frame.contains_properly(polygon) else cut).append(polygon)
        transform = raster.transform
    joined: Any = shapely.get_parts(shapely.union_all(cut)) if cut else []
    polygons = np.array([*whole, *joined], dtype=object)
    polygons = shapely.transform(polygons, lambda points: np.column_stack(transform @ tuple(points.T)))
    large = shapely.area(polygons) >= min_area
    return _tidy(polygons[large]), int((~large).sum())


def _tidy(polygons: Polygons) -> Polygons:
    # Seams leave vertices on straight edges; `normalize` starts each ring where it starts without the seam.
    polygons = shapely.normalize(shapely.simplify(shapely.normalize(polygons), 1e-6))
    bounds = shapely.bounds(polygons)
    return polygons[np.lexsort((bounds[:, 1], bounds[:, 0], -bounds[:, 3]))]


def _windows(width: int, height: int, side: int) -> Iterator[Window]:
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Window(left, top, min(side, width - left), min(side, height - top))


def _frame(window: Window) -> Any:  # noqa: ANN401
    left, top = window.col_off, window.row_off
    return shapely.box(left, top, left + window.width, top + window.height)
