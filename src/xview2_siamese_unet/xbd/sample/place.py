"""Where a scene lies: a north-up grid of square pixels in a UTM zone, as the scenes of xBD are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

DEGREES = 4326


@dataclass(frozen=True, slots=True)
class Place:
    """The georeference of one scene, shared by its two dates.

    Attributes:
        epsg: code of the UTM zone.
        east: easting of the image's left edge in metres.
        north: northing of the image's top edge in metres.
        pixel: side of a pixel in metres.
    """

    epsg: int
    east: float
    north: float
    pixel: float

    def degrees(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return longitude and latitude (WGS 84) of pixel positions, both (n, 2)."""
        east, north = self.east + self.pixel * xy[:, 0], self.north - self.pixel * xy[:, 1]
        return np.column_stack(_from_zone(self.epsg).transform(east, north))


def place_near(epsg: int, longitude: float, latitude: float, rng: np.random.Generator) -> Place:
    """Return a place within 15 km of a position, with pixels of 0.45 to 0.50 m."""
    east, north = _to_zone(epsg).transform(longitude, latitude)
    step = rng.uniform(-15_000, 15_000, 2)
    return Place(epsg, float(east + step[0]), float(north + step[1]), float(rng.uniform(0.45, 0.50)))


@lru_cache
def _to_zone(epsg: int) -> Transformer:
    return Transformer.from_crs(DEGREES, epsg, always_xy=True)


@lru_cache
def _from_zone(epsg: int) -> Transformer:
    return Transformer.from_crs(epsg, DEGREES, always_xy=True)
