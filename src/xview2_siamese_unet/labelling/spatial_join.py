"""Points and polygons of a labeller → the footprints they lie in."""

from __future__ import annotations

import logging
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.footprints import UserLayer, misplaced, outside, reproject_shapes

_LEAST: Final = 0.5
"""Share of a polygon's area that must lie in a footprint."""
_EQUAL: Final = 1e-6
_log = logging.getLogger(__name__)


def match_shapes(shapes: gpd.GeoDataFrame, buildings: gpd.GeoDataFrame, name: str) -> pd.Series[Any]:
    """Return the `building_id` of the footprint of each shape, empty if there is none or more than one.

    A point belongs to the footprint around it, a polygon to the one that holds most of it, and at least half.

    Args:
        shapes: points and polygons in any coordinate reference system.
        buildings: `building_id` and polygons in a projected system.
        name: of the file, for messages.

    Raises:
        DataError: no shape lies in a footprint.
    """
    placed, lost = reproject_shapes(shapes.geometry.to_numpy(), shapes.crs, buildings.crs.to_wkt(), name)
    if lost.all():
        raise misplaced(shapes.geometry.to_numpy(), shapes.crs, name)
    lines = shapely.get_dimensions(placed) == 1
    placed[lines] = None
    placed = shapely.make_valid(placed)
    matches = _overlaps(placed, buildings)
    without_id = buildings["building_id"].isna().to_numpy()[matches["building"]]
    in_footprint_without_id = np.isin(np.arange(len(shapes)), matches["shape"][without_id])
    matches = matches[~without_id]
    best = matches.groupby("shape")["share"].transform("max")
    matches = matches[matches["share"] >= best - _EQUAL]
    several = matches.loc[matches["shape"].duplicated(), "shape"].unique()
    matches = matches[~matches["shape"].isin(several)]
    ids = np.full(len(shapes), "", dtype=object)
    ids[matches["shape"]] = buildings["building_id"].to_numpy(object)[matches["building"]]
    if not len(matches) and not len(several):
        frame = shapely.box(*buildings.total_bounds)
        layer = UserLayer(gpd.GeoDataFrame(geometry=placed, crs=buildings.crs), ())
        reason = next(outside(layer, frame, "labels", "the assessed area"), "no label lies in a footprint with an id")
        raise DataError(f"{name}: {reason}.", hint="Name the assessment that was labelled, and check the file in QGIS.")
    ambiguous = np.isin(np.arange(len(shapes)), several)
    problems = {
        "lie in several footprints": ambiguous,
        "are lines": lines,
        "have coordinates that do not fit their system": lost,
        "lie in a footprint without an id": (ids == "") & in_footprint_without_id & ~ambiguous,
        "lie in no footprint, or with less than half of their area": (
            (ids == "") & ~(ambiguous | lines | lost | in_footprint_without_id)
        ),
    }
    for problem, rows in problems.items():
        if rows.any():
            _log.warning("%s: %d of %d shapes %s", name, rows.sum(), len(shapes), problem)
    return pd.Series(ids, shapes.index, dtype=object)


def _overlaps(placed: Any, buildings: gpd.GeoDataFrame) -> pd.DataFrame:  # noqa: ANN401
    """Return `shape` and `building` (positions) and the share of the shape inside, if at least half."""
    polygons = buildings.geometry.to_numpy()
    shape, row = shapely.STRtree(polygons).query(placed, predicate="intersects")
    inside, area = shapely.area(shapely.intersection(placed[shape], polygons[row])), shapely.area(placed[shape])
    share = np.divide(inside, area, out=np.ones(len(shape)), where=area > 0)
    table = pd.DataFrame({"shape": shape, "building": row, "share": share})
    return table[table["share"] >= _LEAST]
