"""WKT texts → polygons that every reader may rely on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import shapely

from xview2_siamese_unet.errors import LabelError

PolygonArray = npt.NDArray[np.object_]
_FARTHEST: Final = 1e7
"""No coordinate is larger, in pixels or in degrees: beyond it lies a typing error, and soon an overflow."""
_KINDS: Final = (int(shapely.GeometryType.POLYGON), int(shapely.GeometryType.MULTIPOLYGON))


def parse_polygons(wkt: Sequence[str], where: str) -> PolygonArray:
    """Return the polygons of WKT texts, (n,) shapely geometries; a ring may cross itself.

    Raises:
        LabelError: a text that is no polygon, is empty, or has a coordinate that is not finite or beyond all reason.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # of coordinates written nan or 1E310, refused below
        polygons: PolygonArray = shapely.from_wkt(np.asarray(wkt, dtype=object), on_invalid="ignore")
    usable = np.isin(shapely.get_type_id(polygons), _KINDS) & ~shapely.is_empty(polygons)
    coordinates, owners = shapely.get_coordinates(polygons, return_index=True)
    strange = ~(np.abs(coordinates) < _FARTHEST).all(axis=1)  # so written, NaN is strange as well
    usable[owners[strange]] = False
    if not usable.all():
        raise LabelError(
            where,
            found=f"geometry {wkt[int(np.argmin(usable))][:60]!r}",
            allowed="POLYGON ((x y, x y, x y, …)) with finite numbers",
            remedy="correct the label, or set data_processing.on_problem: skip",
        )
    return polygons
