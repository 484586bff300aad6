"""Tiles: one square grid for each UTM zone; every point of the Earth lies in one tile of one zone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import shapely
from rasterio.crs import CRS
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.campaign.acquisition import WGS84, polygons, wrap_antimeridian
from xview2_siamese_unet.raster.grid import reproject
from xview2_siamese_unet.types import Float64Array
from xview2_siamese_unet.xbd.georeference import utm_transformer, utm_zone

SIDE: Final = 2500
"""Metres; the cells of 500 m in which buildings are counted never cross the border of a tile."""
MARGIN: Final = 100.0
"""Metres around a tile that its jobs assess as well, so that buildings at its edge are whole."""
_SIDES: Final = (500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000)
"""Metres of the squares of a map."""
Corner = tuple[int, int, int]
"""UTM zone and south-west corner of a square in metres."""
_NAME: Final = re.compile(r"(32[67](?:0[1-9]|[1-5]\d|60))_(\d{1,4})_(\d{1,4})")


class Tile(NamedTuple):
    """A square of the grid of a UTM zone; west and south edges belong to it.

    Attributes:
        zone: EPSG code, 326xx in the north and 327xx in the south.
        column: easting of its west edge in sides.
        row: northing of its south edge in sides.
    """

    zone: int
    column: int
    row: int

    @property
    def name(self) -> str:
        """Zone, column and row, as in `32637_0130_1642`."""
        return f"{self.zone}_{self.column:04}_{self.row:04}"

    @property
    def corner(self) -> Corner:
        """Its zone and south-west corner."""
        return self.zone, self.column * SIDE, self.row * SIDE

    @property
    def box(self) -> Polygon:
        """Its square in metres."""
        _, west, south = self.corner
        return shapely.box(west, south, west + SIDE, south + SIDE)

    @property
    def surroundings(self) -> BaseGeometry:
        """Its square with a margin."""
        return self.box.buffer(MARGIN, join_style="mitre")

    @property
    def reach(self) -> BaseGeometry:
        """The part of its square in its zone, with a margin, in degrees, see `wrap_antimeridian`."""
        crs = CRS.from_epsg(self.zone)
        ground = in_zone(reproject(self.box, crs, WGS84), self.zone)
        return wrap_antimeridian(reproject(ground.buffer(MARGIN, join_style="mitre"), crs, WGS84))


def parse_tile(name: str) -> Tile | None:
    """Return the tile of a name, `None` for an invalid name."""
    match = _NAME.fullmatch(name)
    return None if match is None else Tile(*map(int, match.groups()))


def owners(shapes: Any) -> list[Tile | None]:  # noqa: ANN401  numpy array of shapely polygons
    """Return the tile of a point inside each shape in degrees, `None` for an empty shape."""
    shapes = np.array(shapes, object)
    west, _, east, _ = shapely.bounds(shapes).T
    for row in np.flatnonzero(east - west > 180):  # across 180 degrees
        shapes[row] = shapely.transform(shapes[row], lambda xy: xy + np.where(xy[:, :1] < 0, [360, 0], 0))
    x, y = shapely.get_coordinates(shapely.point_on_surface(shapes[~shapely.is_empty(shapes)])).T
    x = np.where(x > 180, x - 360, x)
    zones = np.array([utm_zone(*point) for point in zip(x.tolist(), y.tolist(), strict=True)], int)
    numbers = np.zeros((len(zones), 3), int)
    for zone in np.unique(zones).tolist():
        here = zones == zone
        metres = np.array(utm_transformer(zone).transform(x[here], y[here]))
        numbers[here] = np.column_stack([zones[here], *np.floor(metres / SIDE).astype(int)])
    known = iter(numbers.tolist())
    return [None if empty else Tile(*next(known)) for empty in shapely.is_empty(shapes)]


def neighbours(reach: Mapping[Tile, BaseGeometry]) -> dict[Tile, list[Tile]]:
    """Return for each tile the other tiles, of all zones, whose `reach` meets its own."""
    tiles, shapes = [*reach], [*reach.values()]
    near: dict[Tile, list[Tile]] = {tile: [] for tile in tiles}
    for one, other in shapely.STRtree(shapes).query(shapes, "intersects").T.tolist():
        if one != other:
            near[tiles[one]].append(tiles[other])
    return {tile: sorted(others) for tile, others in near.items()}


def zones_of(outlines: Iterable[BaseGeometry]) -> list[int]:
    """Return the EPSG codes of the UTM zones that shapes in degrees may lie in."""
    zones: set[int] = set()
    for outline in outlines:
        west, south, east, north = outline.bounds
        for latitude in {south, north}:
            steps = [*np.arange(west, east, 6.0), east]
            zones |= {utm_zone((longitude + 180) % 360 - 180, latitude) for longitude in steps}
    return sorted(zones)


def side_for(corners: Collection[Corner], most: int, *, at_least: int = SIDE) -> int:
    """Return the smallest side in metres with which at most `most` squares of a map hold all corners.

    Args:
        corners: south-west corners.
        most: number of squares; of the largest ones, with a side of 500 km, there may be more.
        at_least: the smallest side.
    """
    sides = [side for side in _SIDES if side >= at_least]
    return next((side for side in sides if len({around(corner, side) for corner in corners}) <= most), sides[-1])


def around(corner: Corner, side: int) -> Corner:
    """Return the square of a given side that holds a smaller one."""
    zone, east, north = corner
    return zone, east // side * side, north // side * side


def square(corner: Corner, side: int) -> BaseGeometry:
    """Return the part of a square that lies in its UTM zone, in degrees."""
    zone, left, bottom = corner
    west = 6 * (zone % 100) - 186

    def degrees(xy: Float64Array) -> Float64Array:
        x, y = utm_transformer(zone).transform(xy[:, 0], xy[:, 1], direction="INVERSE")
        return np.column_stack([(x - west + 177) % 360 + west - 177, y])  # across 180 degrees, too

    whole = shapely.transform(shapely.box(left, bottom, left + side, bottom + side), degrees)
    return whole.intersection(shapely.box(west, -90, west + 6, 90))


def length(side: int) -> str:
    """Return a side with its unit."""
    return f"{side} m" if side < 1000 else f"{side / 1000:g} km"


def in_zone(outline: BaseGeometry, zone: int) -> BaseGeometry:
    """Return the part of a shape in degrees that lies in a UTM zone, in metres."""
    west = 6 * (zone % 100) - 186
    south, north = (0, 90) if zone < 32700 else (-90, 0)
    band = shapely.box(west, south, west + 6, north)
    inside = polygons(wrap_antimeridian(outline).intersection(band))
    return inside if inside.is_empty else polygons(reproject(inside, WGS84, CRS.from_epsg(zone)))


def tiles_over(shapes: Iterable[BaseGeometry], zone: int) -> list[Tile]:
    """Return the tiles whose squares meet shapes in metres, by column and row."""
    tiles: set[Tile] = set()
    for shape in shapes:
        if not shape.is_empty:
            first, last = np.floor(np.array(shape.bounds) / SIDE).astype(int).reshape(2, 2)
            columns, rows = (range(low, high + 1) for low, high in zip(first.tolist(), last.tolist(), strict=True))
            tiles |= {Tile(zone, column, row) for column in columns for row in rows}
    return sorted(tiles)
