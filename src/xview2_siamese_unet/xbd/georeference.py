"""The place of a scene on Earth, from its label alone.

Every xBD scene lies exactly north-up with square pixels in a UTM zone, though its PNG does not say so. Least squares of
the polygons in pixels against the same polygons in degrees gives the transform back to well under a millimetre.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from xview2_siamese_unet.xbd.labels import Label

FloatArray = npt.NDArray[np.float64]


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


def fit_georeference(label: Label) -> Georeference | None:
    """Return the grid that fits the label's polygons, or `None` where there are none.

    Args:
        label: one that was read with `georeferenced=True`.
    """
    paired = [(b.xy, b.lng_lat) for b in label.buildings if b.lng_lat]
    if not paired:
        return None
    xy = shapely.get_coordinates(shapely.from_wkt([xy for xy, _ in paired]))
    lng_lat = shapely.get_coordinates(shapely.from_wkt([lng_lat for _, lng_lat in paired]))
    longitude, latitude = lng_lat.mean(axis=0)
    # An event that crosses a zone border lies on one grid, so a scene may lie on that of the zone beside its own.
    zones = {utm_zone(longitude + degrees, latitude) for degrees in (-6, 0, 6)}
    return min((_fit(xy, lng_lat, epsg) for epsg in sorted(zones)), key=lambda grid: grid.residual)


def _fit(xy: FloatArray, lng_lat: FloatArray, epsg: int) -> Georeference:
    east, north = _to_zone(epsg).transform(lng_lat[:, 0], lng_lat[:, 1])
    left, top, pixel = _least_squares(xy, np.asarray(east), np.asarray(north))
    placed = np.hypot(left + pixel * xy[:, 0] - east, top - pixel * xy[:, 1] - north)
    return Georeference(epsg, left, top, pixel, float(placed.max()))


def utm_zone(longitude: float, latitude: float) -> int:
    """Return the EPSG code of the UTM zone (WGS 84) of a point in degrees."""
    zone = int((longitude + 180) // 6) % 60 + 1
    return (32600 if latitude >= 0 else 32700) + zone


def _least_squares(xy: FloatArray, east: FloatArray, north: FloatArray) -> tuple[float, float, float]:
    """Solve east = left + pixel·x and north = top − pixel·y for the three unknowns.

    Centred first: eastings of 10⁶ m beside pixels of 0.5 m would cost half of the digits.
    """
    x, y = xy[:, 0] - xy[:, 0].mean(), xy[:, 1] - xy[:, 1].mean()
    pixel = float((x @ (east - east.mean()) - y @ (north - north.mean())) / (x @ x + y @ y))
    return (
        float(east.mean() - pixel * xy[:, 0].mean()),
        float(north.mean() + pixel * xy[:, 1].mean()),
        pixel,
    )


@lru_cache(maxsize=128)
def _to_zone(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs("OGC:CRS84", f"EPSG:{epsg}", always_xy=True)
