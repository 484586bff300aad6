"""Building outlines that a user brings, in any vector format and system, as they are: same order, nothing dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj.exceptions import ProjError

from xview2_siamese_unet.errors import DataError

_FORMATS: Final = (".gpkg", ".geojson", ".json", ".fgb", ".shp", ".parquet")
_MEGABYTES: Final = 2_000
_MEGABYTES_OF_TEXT: Final = 500  # read, it takes four times as much
_MEGABYTES_A_FEATURE: Final = "16"
_POLYGONAL: Final = (3, 6)  # ids of Polygon and MultiPolygon in GEOS
_HEADS: Final = {".gpkg": b"SQLite format 3\0", ".fgb": b"fgb", ".shp": b"\0\0\x27\x0a"}
_IDS: Final = ("building_id", "id")
_ZONE_NAMES: Final = ("name", "id")


def read_polygons(path: Path, crs: str, where: str) -> gpd.GeoDataFrame:
    """Return a layer of valid polygons in another system; a geometry without any area comes out empty.

    Args:
        path: GeoPackage, GeoJSON, FlatGeobuf, Shapefile or GeoParquet.
        crs: system of the result.
        where: name of the parameter for error messages.

    Raises:
        DataError: missing, unreadable, too large, without a coordinate reference system.
    """
    if not path.is_file() or path.suffix.lower() not in _FORMATS or path.stat().st_size > _most(path) * 10**6:
        found = f"a file of {path.stat().st_size / 1e6:.0f} MB" if path.is_file() else "no such file"
        raise _unusable(path, where, found)
    try:
        frame = _read(path)
    except (DataSourceError, DataLayerError, shapely.errors.ShapelyError, OSError, ValueError) as error:
        raise _unusable(path, where, f"a file that cannot be read ({str(error).splitlines()[0]})") from error
    if frame.crs is None:
        raise _unusable(path, where, "no coordinate reference system")
    try:
        frame = frame.to_crs(crs)
    except ProjError as error:
        raise _unusable(path, where, f"{frame.crs.name}, a system without a place on Earth") from error
    geometries: Any = frame.geometry.to_numpy().copy()
    geometries[~np.isin(shapely.get_type_id(geometries), _POLYGONAL)] = shapely.Polygon()
    points, owners = shapely.get_coordinates(geometries, return_index=True)
    geometries[owners[~np.isfinite(points).all(axis=1)]] = shapely.Polygon()  # a place that the system cannot say
    torn = ~shapely.is_valid(geometries)
    # Without what has collapsed: an outline with a spike would become a polygon and a line.
    geometries[torn] = shapely.make_valid(geometries[torn], method="structure", keep_collapsed=False)
    frame.geometry = shapely.force_2d(geometries)
    return frame


def row_names(frame: gpd.GeoDataFrame, column: str | None, usual: Sequence[str], where: str) -> list[str]:
    """Return one name a row: those of `column`, of the first of the `usual` columns, or else row numbers from 1.

    Raises:
        DataError: a column that does not exist, or names that repeat.
    """
    chosen = column or next((name for name in usual if name in frame and frame[name].is_unique), None)
    if chosen is None:
        return [str(number) for number in range(1, len(frame) + 1)]
    if chosen not in frame or not frame[chosen].is_unique:
        raise DataError(
            where,
            found=f"{chosen}, which {'repeats' if chosen in frame else 'is no column'}",
            allowed=f"one of {', '.join(map(str, frame.columns.drop(frame.geometry.name)))} without repeats, or null",
            remedy="name another column",
        )
    return [str(value) for value in frame[chosen]]


def given_buildings(path: Path, crs: str, id_column: str | None) -> gpd.GeoDataFrame:
    """Return a user's footprints as `building_id`, `footprint_source` and polygons; rows and order stay.

    Raises:
        DataError: a file or a column that cannot be used.
    """
    where = "inference.footprints"
    frame = read_polygons(path, crs, where)
    ids = row_names(frame, id_column, _IDS, f"{where}, inference.buildings.id_column")
    return gpd.GeoDataFrame(
        {"building_id": ids, "footprint_source": path.name}, geometry=frame.geometry.to_numpy(), crs=crs
    )


def given_zones(path: Path, column: str | None) -> gpd.GeoDataFrame:
    """Return a user's zones as `name` and polygons in degrees, which hold a country as well as a street.

    Raises:
        DataError: a file or a column that cannot be used.
    """
    where = "inference.zones"
    frame = read_polygons(path, "OGC:CRS84", where)
    names = row_names(frame, column, _ZONE_NAMES, f"{where}, inference.zone_column")
    return gpd.GeoDataFrame({"name": names}, geometry=frame.geometry.to_numpy(), crs=frame.crs)


def _read(path: Path) -> gpd.GeoDataFrame:
    if path.suffix.lower() == ".parquet":
        return gpd.read_parquet(path)
    before = pyogrio.get_gdal_config_option("OGR_GEOJSON_MAX_OBJ_SIZE")
    pyogrio.set_gdal_config_options({"OGR_GEOJSON_MAX_OBJ_SIZE": _MEGABYTES_A_FEATURE})
    try:
        frame: Any = pyogrio.read_dataframe(_with_driver(path))
    finally:
        pyogrio.set_gdal_config_options({"OGR_GEOJSON_MAX_OBJ_SIZE": before})
    if not isinstance(frame, gpd.GeoDataFrame):
        raise ValueError("a table without geometry")
    return frame


def _with_driver(path: Path) -> str:
    """Return a name that GDAL opens with the driver of the ending.

    By content alone it would follow a text that tells it to read other files, to ask the network or to run its
    commands, whatever its name.
    """
    head = _HEADS.get(path.suffix.lower())
    if head is None:
        return f"GeoJSON:{path}"
    with path.open("rb") as file:
        if not file.read(len(head)).startswith(head):
            raise ValueError(f"content that is no {path.suffix.lower()}")
    return str(path)


def _unusable(path: Path, where: str, found: str) -> DataError:
    return DataError(
        f"{where} {path}",
        found=found,
        allowed=f"polygons in {', '.join(_FORMATS)} with a coordinate reference system, "
        f"up to {_most(path)} MB and {_MEGABYTES_A_FEATURE} MB a feature",
        remedy="check the path, or write the outlines again as GeoPackage",
    )


def _most(path: Path) -> int:
    return _MEGABYTES_OF_TEXT if path.suffix.lower() in (".geojson", ".json") else _MEGABYTES
