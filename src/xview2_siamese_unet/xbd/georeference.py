"""The georeference of a scene, from its label alone.

Every xBD scene lies exactly north-up with square pixels in a UTM zone, though its PNG does not state it. Least squares
of the polygons in pixels against the same polygons in degrees gives the transform back to well under a millimetre.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyproj
import shapely

from xview2_siamese_unet.types import Float64Array
from xview2_siamese_unet.xbd.labels import PolygonArray


@dataclass(frozen=True, slots=True)
class Georeference:
    """A north-up grid of square pixels.

    Attributes:
        epsg: code of a UTM zone on WGS 84.
        left: easting of the left edge of the grid in metres.
        top: northing of the top edge of the grid in metres.
        pixel: side of a pixel in metres.
        residual: largest distance in metres between a vertex placed by this grid and by its degrees.
    """

    epsg: int
    left: float
    top: float
    pixel: float
    residual: float


def fit_georeference(xy: PolygonArray, lng_lat: PolygonArray) -> Georeference | None:
    """Return the grid that fits polygons in pixels and in degrees; `None` without polygons or if no grid fits.

    A grid fits if no vertex is off by more than a pixel: no georeference is better than a wrong one.

    Args:
        xy: (n,) polygons in pixels, x to the right and y down.
        lng_lat: the same (n,) polygons in degrees.
    """
    pixels, degrees = shapely.get_coordinates(xy), shapely.get_coordinates(lng_lat)
    same = shapely.get_num_coordinates(xy).tolist() == shapely.get_num_coordinates(lng_lat).tolist()
    if not len(pixels) or not same or not np.ptp(pixels, axis=0).any() or (np.abs(degrees) > (180, 84)).any():
        return None
    longitude, latitude = degrees.mean(axis=0)
    # An event that crosses a zone border has one grid, so the grid of a scene may belong to an adjacent zone.
    zones = {utm_zone(longitude + shift, latitude) for shift in (-6, 0, 6)}
    best = min((_fit(pixels, degrees, epsg) for epsg in sorted(zones)), key=lambda grid: grid.residual)
    return best if best.pixel > 0 and best.residual <= best.pixel else None


def _fit(xy: Float64Array, lng_lat: Float64Array, epsg: int) -> Georeference:
    east, north = utm_transformer(epsg).transform(lng_lat[:, 0], lng_lat[:, 1])
    left, top, pixel = _least_squares(xy, np.asarray(east), np.asarray(north))
    placed = np.hypot(left + pixel * xy[:, 0] - east, top - pixel * xy[:, 1] - north)
    return Georeference(epsg, left, top, pixel, float(placed.max()))


def utm_zone(longitude: float, latitude: float) -> int:
    """Return the EPSG code of the UTM zone (WGS 84) of a point in degrees."""
    zone = int((longitude + 180) // 6) % 60 + 1
    return (32600 if latitude >= 0 else 32700) + zone


def _least_squares(xy: Float64Array, east: Float64Array, north: Float64Array) -> tuple[float, float, float]:
    """Solve east = left + pixel·x and north = top − pixel·y for the three unknowns.

    Centred first: eastings of 10⁶ m next to pixels of 0.5 m would cost half of the digits.
    """
    x, y = xy[:, 0] - xy[:, 0].mean(), xy[:, 1] - xy[:, 1].mean()
    pixel = float((x @ (east - east.mean()) - y @ (north - north.mean())) / (x @ x + y @ y))
    return (
        float(east.mean() - pixel * xy[:, 0].mean()),
        float(north.mean() + pixel * xy[:, 1].mean()),
        pixel,
    )


@lru_cache(maxsize=128)
def utm_transformer(epsg: int) -> pyproj.Transformer:
    """Return the transformer from longitude and latitude to metres in a UTM zone."""
    return pyproj.Transformer.from_crs("OGC:CRS84", f"EPSG:{epsg}", always_xy=True)
