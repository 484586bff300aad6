"""Vector layers of the user: footprints, zones, the area of interest. Problems become warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from pyproj.exceptions import ProjError

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.footprint_sources import SOURCES, describe_sources
from xview2_siamese_unet.inference.vector_formats import read_table, split_layer
from xview2_siamese_unet.raster.grid import Area
from xview2_siamese_unet.types import BoolArray

_POLYGONAL: Final = (3, 6)  # ids of Polygon and MultiPolygon in GEOS
_COLLECTION: Final = 7
_IDS: Final = ("building_id", "id", "objectid", "fid")
_ZONE_NAMES: Final = ("name", "id")
_DEGREES: Final = "OGC:CRS84"


class UserLayer(NamedTuple):
    """A layer of a user: rows, warnings, names of all columns of the file, and its sources as `describe_sources`."""

    frame: gpd.GeoDataFrame
    warnings: tuple[str, ...]
    columns: tuple[str, ...] = ()
    sources: tuple[dict[str, Any], ...] = ()


def read_polygons(path: Path, crs: str, where: str, wanted: Iterable[str] = (), area: Area | None = None) -> UserLayer:
    """Read a layer as valid polygons in another coordinate reference system, rows in the same order.

    A geometry without area becomes empty.

    Args:
        path: as for `read_table`.
        crs: coordinate reference system of the result.
        where: name of the parameter for error messages.
        wanted: columns to read.
        area: as for `read_table`.

    Raises:
        DataError: a file that cannot be used, or coordinates that do not fit its system.
    """
    frame, columns, warnings, _, stated = read_table(path, wanted, where, area=area)
    name = split_layer(path)[0].name
    geometries, problems = _polygons(frame.geometry.to_numpy())
    known = ~shapely.is_empty(geometries)
    placed, lost = reproject_shapes(geometries, frame.crs, crs, f"{name} ({where})")
    if known.any() and lost.sum() == known.sum():
        raise misplaced(geometries, frame.crs, f"{name} ({where})")
    invalid = ~shapely.is_valid(placed)
    # Drop what has collapsed: an outline with a spike would become a polygon and a line.
    placed[invalid] = shapely.make_valid(placed[invalid], method="structure", keep_collapsed=False)
    problems |= {
        f"cannot be placed in {crs}: their coordinates do not fit {_title(frame.crs)}, or lie too far away": lost,
        "were not valid polygons and were repaired": invalid & ~shapely.is_empty(placed),
        "have no area": invalid & shapely.is_empty(placed),
    }
    warnings += [
        f"{name}: {rows.sum()} of {len(frame)} rows {problem}" for problem, rows in problems.items() if rows.any()
    ]
    if not len(frame):
        warnings.append(f"{name} has no rows")
    sources = describe_sources(frame.get(SOURCES, ()), stated, len(frame))
    return UserLayer(frame.set_geometry(placed, crs=crs), tuple(warnings), tuple(columns), tuple(sources))


def _polygons(geometries: Any) -> tuple[Any, dict[str, BoolArray]]:  # noqa: ANN401
    """Return the polygons of each row without heights, and the rows of each problem."""
    polygons = np.array(geometries, object)
    collections = shapely.get_type_id(polygons) == _COLLECTION
    problems = {"have heights (Z), which are left out": shapely.has_z(polygons)}
    for row in np.flatnonzero(collections):
        polygons[row] = shapely.MultiPolygon(list(_parts(polygons[row])))
    none = ~np.isin(shapely.get_type_id(polygons), _POLYGONAL) | shapely.is_empty(polygons)
    polygons[none] = shapely.Polygon()
    problems["are collections, of which only the polygons are used"] = collections & ~none
    problems["hold no polygon"] = none
    return shapely.force_2d(polygons), problems


def _parts(shape: Any) -> Iterator[Any]:  # noqa: ANN401
    for part in shapely.get_parts(shape):
        if part.geom_type == "Polygon":
            yield part
        elif hasattr(part, "geoms"):
            yield from _parts(part)


def reproject_shapes(geometries: Any, source: pyproj.CRS, crs: str, name: str) -> tuple[Any, BoolArray]:  # noqa: ANN401
    """Return the geometries in another system, and which of them failed and are empty."""
    try:
        placed = gpd.GeoSeries(geometries, crs=source).to_crs(crs).to_numpy().copy()
    except ProjError as error:
        raise DataError(
            f"{name} is in {source.name}, a system without a position on Earth.",
            hint="Assign its true coordinate reference system.",
        ) from error
    points, owners = shapely.get_coordinates(placed, return_index=True)
    outside = ~np.isfinite(points).all(axis=1)
    if pyproj.CRS(crs).is_geographic:  # from degrees to degrees, PROJ computes and checks nothing
        outside |= (np.abs(points) > (360, 90 + 1e-6)).any(axis=1)
    lost = np.zeros(len(placed), bool)
    lost[owners[outside]] = True
    placed[lost] = shapely.Polygon()
    return placed, lost


def misplaced(geometries: Any, source: pyproj.CRS, name: str) -> DataError:  # noqa: ANN401
    """Return the error of a file of which no row can be reprojected."""
    west, south, east, north = shapely.total_bounds(geometries)
    degrees, lost = reproject_shapes(geometries, source, _DEGREES, name)
    if lost.sum() < (~shapely.is_empty(geometries)).sum():
        corners = [round(float(value), 5) for value in shapely.total_bounds(degrees)]
        return DataError(f"{name} lies too far from the images: {corners} in degrees.", hint="Name another file.")
    swapped = source.is_geographic and max(abs(west), abs(east)) <= 90 < max(abs(south), abs(north)) <= 360
    return DataError(
        f"The coordinates of {name}, x {west:.7g} to {east:.7g} and y {south:.7g} to {north:.7g}, "
        f"do not fit {_title(source)}.",
        hint="Latitude and longitude are swapped: write longitude first."
        if swapped
        else "Assign its true coordinate reference system (ogr2ogr -a_srs EPSG:... fixed.gpkg FILE, or in QGIS).",
    )


def _title(crs: Any) -> str:  # noqa: ANN401
    return f"{crs.to_string() if crs.to_authority() else crs.name}{' (degrees)' if crs.is_geographic else ''}"


def outside(layer: UserLayer, frame: Any, what: str, region: str) -> Iterator[str]:  # noqa: ANN401
    """Yield a warning if no row of a layer (`what`) lies in a frame (`region`)."""
    geometries = layer.frame.geometry.to_numpy()
    known = geometries[~shapely.is_empty(geometries)]
    if not len(known) or shapely.intersects(known, frame).any():
        return
    degrees = gpd.GeoSeries(known, crs=layer.frame.crs).to_crs(_DEGREES)
    swapped = shapely.transform(degrees.to_numpy(), lambda xy: xy[:, ::-1])
    swapped = gpd.GeoSeries(swapped, crs=_DEGREES).to_crs(layer.frame.crs).to_numpy()
    reason = (
        "their latitude and longitude are swapped"
        if shapely.intersects(swapped, frame).any()
        else "check their position and their coordinate reference system"
    )
    yield f"none of the {len(known)} {what} lies in {region}: {reason}"


def row_names(
    layer: UserLayer, column: str | None, usual: Sequence[str], where: str, *, unique: bool = True
) -> tuple[Sequence[str | None], list[str]]:
    """Return one name per row as text, and warnings.

    The names are those of `column`, else of the first usable one of the `usual` columns (case-insensitive), else row
    numbers from 1. A row without a name stays without one.

    Raises:
        DataError: a column that does not exist, or one that is not usable: empty, not exact or, if names have to be
            `unique`, with values that repeat.
    """
    frame, warnings, rejected = layer.frame, [], []
    if column is not None and column not in layer.columns:
        raise DataError(f"{where}: there is no column {column!r}.", hint=f"Name one of {', '.join(layer.columns)}.")
    lower = {name.lower(): name for name in reversed(layer.columns)} | {name: name for name in layer.columns}
    for name in [column] if column is not None else [lower[name] for name in usual if name in lower]:
        fault = _fault(frame[name], unique=unique)
        if fault is None:
            break
        rejected.append(f"column {name!r} {fault}")
    else:
        reason = " and ".join(rejected) or f"no column is named {', '.join(usual[:-1])} or {usual[-1]}"
        if column is not None:
            raise DataError(f"{where}: {reason}.", hint="Name another column, or null.")
        numbers = [str(number) for number in range(1, len(frame) + 1)]
        return numbers, [f"{where}: {reason}; row numbers starting at 1 are used, name another column if there is one"]
    if rejected:
        warnings.append(f"{where}: {' and '.join(rejected)}; column {name!r} is used")
    names = as_texts(frame[name])
    if missing := sum(not (each or "").strip() for each in names):
        warnings.append(f"{where}: {missing} of {len(names)} rows have no value in column {name!r}, which stays empty")
    return names, warnings


def _fault(values: pd.Series[Any], *, unique: bool) -> str | None:
    """Return why a column cannot name rows."""
    names = [name for name in as_texts(values) if (name or "").strip()]
    repeated = len(names) - len(set(names))
    if unique and repeated:
        return f"repeats {repeated} of its values"
    if len(values) and not names:
        return "is empty"
    if values.dtype.kind == "f":
        bits = np.finfo(getattr(values.dtype, "numpy_dtype", values.dtype)).nmant + 1
        if bool((values.abs() >= 2**bits).any()):  # each may represent several whole numbers
            return f"stores whole numbers as floating-point numbers, which are not exact from 2^{bits} on"
    return None


def as_texts(values: pd.Series[Any]) -> list[str | None]:
    """Return the values as text, whole numbers in floating point without decimals."""
    floating = values.dtype.kind == "f"
    return [  # through NumPy, because Python would write 3.1 in single precision as 3.0999999046325684
        None if missing else str(int(value)) if floating and float(value).is_integer() else str(value)
        for value, missing in zip(values.to_numpy() if floating else values, values.isna(), strict=True)
    ]


def read_footprint_layer(path: Path, crs: str, id_column: str | None, area: Area | None = None) -> UserLayer:
    """Return a user's footprints as `building_id`, `footprint_source` and polygons.

    Args:
        path: as for `read_table`.
        crs: coordinate reference system of the result.
        id_column: of the file; `None`: one with a usual name.
        area: as for `read_table`.

    Raises:
        DataError: a file or a column that cannot be used.
    """
    layer = read_polygons(path, crs, "inference.footprints", _with((*_IDS, SOURCES), id_column), area)
    ids, warnings = row_names(layer, id_column, _IDS, "inference.buildings.id_column")
    columns = {"building_id": pd.array(ids, dtype=object), "footprint_source": split_layer(path)[0].name}
    frame = gpd.GeoDataFrame(columns, geometry=layer.frame.geometry.to_numpy(), crs=crs)
    return UserLayer(frame, (*layer.warnings, *warnings), sources=layer.sources)


def read_zone_layer(path: Path, column: str | None) -> UserLayer:
    """Return a user's zones as `name` and polygons in degrees; rows of one name are one zone.

    Raises:
        DataError: a file or a column that cannot be used.
    """
    where = "inference.zones"
    layer = read_polygons(path, _DEGREES, where, _with(_ZONE_NAMES, column))
    texts, warnings = row_names(layer, column, _ZONE_NAMES, "inference.zone_column", unique=False)
    names = pd.Series([text or "" for text in texts], dtype=object)
    shared = names.duplicated(keep=False) & (names.str.strip() != "")
    if shared.any():
        rows = f"{shared.sum()} of {len(names)} rows share {names[shared].nunique()} of the names"
        warnings.append(f"{where}: {rows}; all rows of one name are counted as one zone")
    frame = gpd.GeoDataFrame({"name": names.to_numpy()}, geometry=layer.frame.geometry.to_numpy(), crs=_DEGREES)
    return UserLayer(frame, (*layer.warnings, *warnings))


def read_area_layer(path: Path) -> UserLayer:
    """Return a user's area of interest in degrees.

    Raises:
        DataError: a file that cannot be used, or one without any polygon.
    """
    layer = read_polygons(path, _DEGREES, "inference.aoi")
    if shapely.is_empty(layer.frame.geometry.to_numpy()).all():
        raise DataError(f"{path} (inference.aoi) holds no polygon.", hint="Name a file with the area as polygons.")
    return layer


def _with(usual: tuple[str, ...], column: str | None) -> tuple[str, ...]:
    return usual if column is None else (*usual, column)
