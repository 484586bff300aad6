"""Polygons → the pixels of a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.damage import OVERLAP_PRIORITY
from xview2_siamese_unet.errors import LabelError

Mask = npt.NDArray[np.uint8]
Shape = tuple[int, int]
_RANK: dict[int, int] = {code: rank for rank, code in enumerate(reversed(OVERLAP_PRIORITY))}


def parse_polygons(wkt: Sequence[str], where: str) -> list[BaseGeometry]:
    """Return the polygons of WKT texts.

    Raises:
        LabelError: a text that is no polygon or has a coordinate that is not a finite number.
    """
    polygons: list[BaseGeometry] = shapely.from_wkt(list(wkt), on_invalid="ignore").tolist()
    for text, polygon in zip(wkt, polygons, strict=True):
        if not _is_usable(polygon):
            raise LabelError(
                where,
                found=f"geometry {text[:60]!r}",
                allowed="POLYGON ((x y, x y, x y, …)) with finite numbers",
                remedy="correct the label, or set data_processing.on_problem: skip",
            )
    return polygons


def _is_usable(polygon: BaseGeometry | None) -> bool:
    kinds = ("Polygon", "MultiPolygon")
    return polygon is not None and polygon.geom_type in kinds and bool(np.isfinite(polygon.bounds).all())


def burn_damage(
    polygons: Sequence[BaseGeometry], codes: Sequence[int], shape: Shape, rule: Literal["centre", "outline"]
) -> Mask:
    """Return the mask of one scene, 0 where there is no polygon.

    Where polygons overlap, the class that comes first in `damage.OVERLAP_PRIORITY` stays. Parts outside the image are
    cut off. A ring that crosses itself is filled by the even-odd rule.

    Args:
        polygons: shapely polygons in pixels.
        codes: a damage code for each.
        shape: height and width in pixels.
        rule: see `MaskParams.rule`.
    """
    order = sorted(range(len(polygons)), key=lambda i: _RANK[codes[i]])
    return _burn([(polygons[i], codes[i]) for i in order], shape, rule)


def burn_buildings(polygons: Sequence[BaseGeometry], shape: Shape, rule: Literal["centre", "outline"]) -> Mask:
    """Return the mask of one scene, 1 on buildings and 0 elsewhere; arguments as in `burn_damage`."""
    return _burn([(polygon, 1) for polygon in polygons], shape, rule)


def _burn(shapes: Sequence[tuple[BaseGeometry, int]], shape: Shape, rule: str) -> Mask:
    if not shapes:  # rasterize refuses an empty list, and a scene without buildings is an ordinary scene
        return np.zeros(shape, np.uint8)
    burnt: Mask = rasterize(shapes, out_shape=shape, dtype="uint8", all_touched=rule == "outline")
    return burnt
