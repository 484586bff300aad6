"""Footprints of a campaign, each assigned to one tile and assessed in its jobs; zones to count by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import shapely
from rasterio.crs import CRS
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.campaign.acquisition import WGS84
from xview2_siamese_unet.campaign.jobs import INPUTS
from xview2_siamese_unet.campaign.tiles import Tile, owners
from xview2_siamese_unet.inference.building_formats import FORMATS
from xview2_siamese_unet.inference.footprints import UserLayer, outside, read_footprint_layer, read_zone_layer
from xview2_siamese_unet.raster.grid import Area, reproject, wrap_longitude

_SUFFIX, _WRITE = FORMATS["geoparquet"]
CRS_OF_ALL: Final = "EPSG:4326"
"""Coordinate reference system of footprints and merged table: jobs may lie in several UTM zones."""


@dataclass(frozen=True, slots=True)
class Footprints:
    """Footprints in degrees, in the order of their file.

    Attributes:
        by_tile: tile → `building_id`, `footprint_source` and polygon; `None`: rows without a polygon.
        warnings: on the file.
        sources: see `footprint_sources`.
    """

    by_tile: Mapping[Tile | None, gpd.GeoDataFrame]
    warnings: tuple[str, ...]
    sources: tuple[dict[str, Any], ...]

    def of(self, tile: Tile | None) -> gpd.GeoDataFrame:
        """Return the footprints of a tile; the frame may have no rows."""
        texts = {name: pd.Series(dtype="str") for name in ("building_id", "footprint_source")}
        empty = gpd.GeoDataFrame(texts, geometry=[], crs=CRS_OF_ALL)
        return self.by_tile.get(tile, empty)


def divide_footprints(path: Path, id_column: str | None, tiles: Iterable[Tile]) -> Footprints:
    """Return the footprints of a file by the tile that owns a point inside them.

    Args:
        path: as for `read_table`; of a large file, only the part around the tiles is read.
        id_column: of the file, see `read_footprint_layer`.
        tiles: of the plan.

    Raises:
        DataError: the file or the column cannot be used.
    """
    given = read_footprint_layer(path.expanduser(), CRS_OF_ALL, id_column, Area(WGS84, _ground(tiles)))
    rows: defaultdict[Tile | None, list[int]] = defaultdict(list)
    for row, tile in enumerate(owners(given.frame.geometry.to_numpy())):
        rows[tile].append(row)
    by_tile = {tile: given.frame.iloc[rows_of_tile].reset_index(drop=True) for tile, rows_of_tile in rows.items()}
    return Footprints(by_tile, given.warnings, given.sources)


def read_zones(path: Path, column: str | None, tiles: Iterable[Tile]) -> UserLayer:
    """Return zones to count by, see `read_zone_layer`, with a warning if none of them meets a tile.

    Raises:
        DataError: the file or the column cannot be used.
    """
    given = read_zone_layer(path.expanduser(), column)
    warnings = outside(given, wrap_longitude(_ground(tiles), WGS84), "zones", "the tiles of the plan")
    return given._replace(warnings=(*given.warnings, *warnings))


def _ground(tiles: Iterable[Tile]) -> BaseGeometry:
    """Return the area of tiles with their margins, in degrees."""
    return shapely.union_all([reproject(t.surroundings, CRS.from_epsg(t.zone), WGS84) for t in sorted({*tiles})])


def ids_of(frame: gpd.GeoDataFrame) -> pd.Series[str]:
    """Return the ids of the footprints of a tile in its assessments: row numbers if the file has no ids."""
    ids: pd.Series[str] = frame["building_id"]
    if (ids.fillna("").str.strip() != "").any():
        return ids
    return pd.Series([f"row {number}" for number in range(1, len(frame) + 1)], frame.index, "str")


def write_footprints(folder: Path, tile: Tile, frame: gpd.GeoDataFrame, id_column: str | None) -> Path:
    """Write the footprints of a tile for its assessments; return the path."""
    path = folder / INPUTS / f"{tile.name}{_SUFFIX}"
    with whole_file(path) as part:
        named = frame.assign(building_id=ids_of(frame))
        _WRITE(named.rename(columns={"building_id": id_column or "building_id"}), part)
    return path
