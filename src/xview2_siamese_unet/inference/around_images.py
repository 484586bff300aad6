"""Selection of the rows near the images, so that a file of a whole country is not read whole."""

from __future__ import annotations

from typing import Any, Final

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.geoparquet import Box
from xview2_siamese_unet.raster.grid import Area, Grid, reproject, wrap_longitude
from xview2_siamese_unet.types import BoolArray

MOST_ROWS: Final = 100_000
"""Rows up to which all rows of a file are read, and each gets a class or a reason."""
_MARGIN: Final = 100.0  # metres; footprints may be moved onto their buildings, by up to 24 pixels


def around(grid: Grid) -> Area:
    """Return the rectangle of a grid with a margin."""
    return Area(CRS.from_string(grid.crs), shapely.box(*grid.bounds).buffer(_MARGIN, join_style="mitre"))


def box_around(area: Area, crs: Any) -> Box:  # noqa: ANN401
    """Return the box to read in the system of a file; across 180 degrees it spans all longitudes.

    Raises:
        DataError: the area cannot be reprojected to that system.
    """
    shape, own = _in_system(area, crs)
    west, south, east, north = shape.bounds
    if own.is_geographic and (west < -180 or east > 180):  # shapes may be split there, continue or jump
        return -540, south, 540, north
    return west, south, east, north


def meet(frame: gpd.GeoDataFrame, area: Area) -> BoolArray:
    """Return which rows have bounds that meet an area."""
    shape, own = _in_system(area, frame.crs)
    bounds = shapely.bounds(frame.geometry.to_numpy())
    inside: BoolArray = np.asarray(np.isfinite(bounds).all(axis=1))
    inside[inside] = shapely.intersects(wrap_longitude(shape, own), shapely.box(*bounds[inside].T))
    return inside


def _in_system(area: Area, crs: Any) -> tuple[BaseGeometry, CRS]:  # noqa: ANN401
    system = pyproj.CRS.from_user_input(crs)
    own = CRS.from_wkt(system.to_wkt())
    try:
        shape = reproject(area.shape, area.crs, own)
    except ProjError:
        shape = shapely.Polygon()
    if shape.is_empty:
        raise DataError(
            f"The footprints are in {system.name}, a system that does not cover the images.",
            hint="Assign their true coordinate reference system.",
        )
    return shape, own
