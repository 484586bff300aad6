"""Vector files: their format, the layer with polygons, and its rows as stored."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from pyogrio.util import vsi_path

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.around_images import MOST_ROWS, box_around, meet
from xview2_siamese_unet.inference.geojson import (
    LINES,
    MEGABYTES_PER_FEATURE,
    TEXT,
    feature_ids,
    in_utf8,
    is_lines,
    members,
)
from xview2_siamese_unet.inference.geoparquet import WHOLE, describe_parquet, read_parquet
from xview2_siamese_unet.raster.grid import Area

LAYER: Final = "|layername="
"""Separates a file from the name of one of its layers, as in the paths of QGIS."""
_MAGIC: Final = {".gpkg": b"SQLite format 3\0", ".fgb": b"fgb", ".shp": b"\0\0\x27\x0a"}
_FORMATS: Final = (".gpkg", ".fgb", ".shp", ".parquet", *TEXT, *LINES)
_OTHERS: Final = {
    ".kml": "KML",
    ".kmz": "KMZ",
    ".gml": "GML",
    ".gdb": "an Esri file geodatabase",
    ".csv": "CSV",
    ".tab": "MapInfo",
    ".mif": "MapInfo",
    ".dxf": "DXF",
    ".zip": "a ZIP archive",
    ".gz": "a gzip archive",
}
_ARCHIVES: Final = (".zip", ".gz")
_NO_AREA: Final = ("Point", "LineString")  # in the names of types, such as MultiLineString or Measured 3D Point
_NOT_PLACED: Final = ("LineString",)
_MEGABYTES: Final = 2_000
_MEGABYTES_OF_TEXT: Final = 500  # in memory, it takes four times as much
_CODE_PAGE: Final = "CP1252"  # of Windows in Western languages, and of most old shapefiles
_GDAL: Final = {
    "OGR_GEOJSON_MAX_OBJ_SIZE": MEGABYTES_PER_FEATURE,
    # GDAL 3.12: the fast paths repeat rows of a GeoPackage whose stored number of rows is too large, and crash on a
    # FlatGeobuf file with a row without geometry.
    "OGR_GPKG_STREAM_BASE_IMPL": "YES",
    "OGR_FLATGEOBUF_STREAM_BASE_IMPL": "YES",
}


class Table(NamedTuple):
    """Rows of one layer.

    Attributes:
        frame: the wanted columns and the geometry.
        columns: names of all columns.
        warnings: of GDAL, and of rows that were not read.
        rows: of the layer.
        stated: metadata of the file.
    """

    frame: gpd.GeoDataFrame
    columns: list[str]
    warnings: list[str]
    rows: int
    stated: dict[str, str]


def split_layer(path: Path) -> tuple[Path, str | None]:
    """Return the file and the layer that `file.gpkg|layername=houses` names."""
    name, separator, layer = str(path).partition(LAYER)
    return (path, None) if not separator or path.exists() else (Path(name), layer)


def read_table(
    path: Path, wanted: Iterable[str], where: str, *, points: bool = False, area: Area | None = None
) -> Table:
    """Return the rows of the one polygon layer of a file, or of the layer that is named.

    Args:
        path: GeoPackage, GeoJSON, GeoJSON lines, FlatGeobuf, Shapefile or GeoParquet; `|layername=NAME` names a layer.
        wanted: columns to read, in any case; of a GeoParquet file, all are read.
        where: name of the parameter for error messages.
        points: whether a layer of points is accepted as well.
        area: of files with more than `MOST_ROWS` rows, only those whose bounds meet it are returned.

    Raises:
        DataError: missing, another format, unreadable, too large, without a coordinate reference system, or with
            several polygon layers and no name of one; or large and without any row in the area.
    """
    file, layer = split_layer(path)
    _check_format(file, where)
    try:
        if file.suffix.lower() == ".parquet":
            table = _read_parquet(file, layer, where, area)
        else:
            if area is None or file.suffix.lower() not in _MAGIC:
                _check_size(file, where)
            table = _read(file, layer, wanted, where, points=points, area=area)
    except (DataSourceError, DataLayerError, shapely.errors.ShapelyError, OSError, ValueError, RecursionError) as error:
        raise _unreadable(file, where, str(error).splitlines()[0]) from error
    if table.frame.crs is None:
        raise DataError(
            f"{file} ({where}) has no coordinate reference system.",
            hint=f"Assign one with ogr2ogr -a_srs EPSG:... {file.stem}_crs.gpkg {file.name}, or in QGIS.",
        )
    return table if area is None or table.rows <= MOST_ROWS else _rows_in(table, area, f"{file} ({where})")


def _rows_in(table: Table, area: Area, name: str) -> Table:
    inside = meet(table.frame, area)
    if not inside.any():
        raise DataError(
            f"None of the {table.rows} rows of {name} lies in the images.",
            hint="Check the file and its coordinate reference system.",
        )
    warning = f"{name}: only {inside.sum()} of {table.rows} rows are used: those in the images or up to 100 m around"
    return table._replace(frame=table.frame[inside].reset_index(drop=True), warnings=[*table.warnings, warning])


def _check_format(path: Path, where: str) -> None:
    ending = path.suffix.lower()
    if not path.exists():
        raise DataError(f"{path} ({where}): no such file.", hint="Check the path.")
    if ending not in _FORMATS or not path.is_file():
        kind = _OTHERS.get(ending, "a folder" if path.is_dir() else "not a supported vector format")
        unpack = "Unpack it and name the file inside" if ending in _ARCHIVES else ""
        options = "-a_srs EPSG:4326 -oo GEOM_POSSIBLE_NAMES=WKT,wkt,geometry " if ending == ".csv" else ""
        convert = f"Convert it with ogr2ogr {options}{path.stem}.gpkg {path.name}, or export it from QGIS as GeoPackage"
        raise DataError(
            f"{path} ({where}) is {kind}.", hint=f"{unpack or convert}. Formats read: {', '.join(_FORMATS)}."
        )


def _check_size(path: Path, where: str) -> None:
    most = _MEGABYTES_OF_TEXT if path.suffix.lower() in (*TEXT, *LINES) else _MEGABYTES
    if path.stat().st_size > most * 10**6:
        raise DataError(
            f"{path} ({where}) has {path.stat().st_size / 1e6:.0f} MB; at most {most} MB are read.",
            hint="Clip it to the area of the images, or convert it to GeoPackage.",
        )


def _unreadable(path: Path, where: str, reason: str) -> DataError:
    if "Unknown WKB type" in reason:
        return DataError(
            f"{path} ({where}) holds surfaces in three dimensions (MultiPatch, TIN), which are not read.",
            hint=f"Convert them to polygons with ogr2ogr -nlt MULTIPOLYGON {path.stem}.gpkg {path.name}.",
        )
    if "utf8" in reason.lower().replace("-", ""):
        return DataError(
            f"{path} ({where}) cannot be read: its text is not valid UTF-8.",
            hint="Save it again in the encoding UTF-8.",
        )
    if ".shx" in reason:
        return DataError(
            f"{path} ({where}) lacks the file {path.stem}.shx.",
            hint="Copy all files of the shapefile (.shp, .shx, .dbf, .prj) into one folder.",
        )
    most = f"Features larger than {MEGABYTES_PER_FEATURE} MB are not supported. " if "MAX_OBJ_SIZE" in reason else ""
    return DataError(
        f"{path} ({where}) cannot be read: {reason}.", hint=f"{most}Write the polygons again as GeoPackage."
    )


def _read_parquet(path: Path, layer: str | None, where: str, area: Area | None) -> Table:
    if layer is not None:
        raise ValueError("a GeoParquet file has no layers")
    about = describe_parquet(path)
    large, box, messages = area is not None and about.rows > MOST_ROWS, None, []
    if area is not None and large and about.bounded and about.crs is not None:
        box = box_around(area, about.crs)
    else:
        _check_size(path, where)
        if large:
            messages.append(f"{path.name} has no column of bounds (bbox): it was read whole")
    frame = read_parquet(path, box, declared=about.declared)
    _check_utf8(frame)
    columns = [str(name) for name in frame.columns if name != frame.geometry.name]
    return Table(frame, columns, messages, about.rows, about.stated)


def _read(
    path: Path, layer: str | None, wanted: Iterable[str], where: str, *, points: bool, area: Area | None
) -> Table:
    names = {name.lower() for name in wanted}
    before = {option: pyogrio.get_gdal_config_option(option) for option in _GDAL}
    pyogrio.set_gdal_config_options(_GDAL)
    try:
        with in_utf8(path) as text, _connection(text) as source, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RuntimeWarning)
            layers = dict(pyogrio.list_layers(source))
            chosen = _chosen_layer(path, layers, layer, where, points=points)
            info, columns, frame, messages = _read_layer(source, chosen, names, area)
            stated = {**(info["dataset_metadata"] or {}), **(info["layer_metadata"] or {})}
            if info["driver"] in ("GeoJSON", "GeoJSONSeq"):
                needed = "id" in names and "id" not in map(str.lower, columns)
                ids = feature_ids(text, len(frame), lines=info["driver"] == "GeoJSONSeq", needed=needed)
                if any(each is not None for each in ids):
                    frame, columns = frame.assign(id=pd.Series(ids, frame.index, dtype=object)), ["id", *columns]
                stated |= members(text)
    finally:
        pyogrio.set_gdal_config_options(before)
    messages += [str(warning.message) for warning in caught if _matters(warning)]
    others = [name for name, kind in layers.items() if kind and name != chosen] if layer is None else []
    if others:
        wrong = "neither polygons nor points" if points else "no polygons"
        messages.append(f"the layer {chosen} is read, and not {', '.join(others)}, which holds {wrong}")
    if info["driver"] == "GPKG" and (key := info["fid_column"]):  # its primary key, which QGIS shows as a column
        frame, columns = frame.rename_axis(key).reset_index(), [key, *columns]
    messages = list(dict.fromkeys(f"{path.name}: {message}" for message in messages))
    return Table(frame, columns, messages, max(info["features"], len(frame)), stated)


def _matters(warning: warnings.WarningMessage) -> bool:
    # Repeated keys of GeoJSON do not matter, because they are not used.
    return issubclass(warning.category, RuntimeWarning) and not str(warning.message).startswith("Several features")


def _read_layer(
    source: str, layer: str, names: set[str], area: Area | None
) -> tuple[dict[str, Any], list[str], gpd.GeoDataFrame, list[str]]:
    """Return properties, names of all columns, rows with the columns `names`, and warnings."""
    if pyogrio.read_info(source, layer=layer)["encoding"] == "UTF-8":
        return *_read_rows(source, layer, names, area), []
    try:  # a shapefile that names no encoding: hardly any other text is valid UTF-8
        return *_read_rows(source, layer, names, area, encoding="UTF-8"), []
    except (DataSourceError, UnicodeError, pa.ArrowInvalid):
        message = f"has no .cpg file and its text is not UTF-8: it is read as Windows-1252 ({_CODE_PAGE})"
        return *_read_rows(source, layer, names, area, encoding=_CODE_PAGE), [message]


def _read_rows(
    source: str, layer: str, names: set[str], area: Area | None, encoding: str | None = None
) -> tuple[dict[str, Any], list[str], gpd.GeoDataFrame]:
    text = source.startswith("GeoJSON")  # which GDAL reads whole, and whose features `feature_ids` counts
    counted = area is not None and not text
    info = pyogrio.read_info(source, layer=layer, encoding=encoding, force_feature_count=counted)
    fields = [str(field) for field in info["fields"]]
    columns = [field for field in fields if field.lower() in names]
    by_key = source.startswith("GPKG:")  # of GeoJSON the keys are not those of the file, and a column of ids collides
    arrow = {"use_arrow": True, "arrow_to_pandas_kwargs": {"types_mapper": WHOLE.get}}
    options: dict[str, Any] = {"layer": layer, "fid_as_index": by_key, "encoding": encoding}
    if area is not None and counted and info["features"] > MOST_ROWS and info["crs"] is not None:
        options["bbox"] = box_around(area, info["crs"])
    try:
        frame: Any = pyogrio.read_dataframe(source, columns=columns, **options, **arrow)
    except (NotImplementedError, ValueError, RuntimeError) as error:
        if "Nonlinear" not in str(error):
            raise
        frame = pyogrio.read_dataframe(source, columns=[], **options)  # without Arrow, curves become lines
        frame[columns] = pyogrio.read_dataframe(source, columns=columns, read_geometry=False, **options, **arrow)
    if not isinstance(frame, gpd.GeoDataFrame):
        raise ValueError("a table without geometry")
    _check_utf8(frame)
    return info, fields, frame


def _check_utf8(frame: gpd.GeoDataFrame) -> None:
    """Raise a ValueError if text is not UTF-8, which Arrow does not check."""
    for column in frame.columns[frame.dtypes == "str"]:
        pa.array(frame[column]).validate(full=True)


@contextmanager
def _connection(path: Path) -> Iterator[str]:
    """Yield a name that GDAL opens with the driver of the suffix.

    If GDAL chose the driver by content, a text file of any name could make it read other files, use the network or run
    commands.
    """
    ending = path.suffix.lower()
    magic = _MAGIC.get(ending)
    if magic is None:
        yield f"GeoJSONSeq:{path}" if ending in LINES or is_lines(path) else f"GeoJSON:{path}"
        return
    with path.open("rb") as file:
        if not file.read(len(magic)).startswith(magic):
            raise ValueError(f"its content is not that of {ending}")
    if ending == ".gpkg":
        yield f"GPKG:{path}"
    elif ending == ".fgb":
        yield f"/vsisubfile/0,{path}"  # the file itself, whatever its name
    else:
        with plain_path(path) as plain:
            if vsi_path(str(plain)) != str(plain):
                raise ValueError("'!' or ';' in the name of a shapefile: rename its files")
            yield str(plain)


@contextmanager
def plain_path(path: Path) -> Iterator[Path]:
    """Yield a path to the file without `!`, at which pyogrio would split it."""
    if "!" not in str(path.parent) or os.name == "nt":
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / "link"
        link.symlink_to(path.parent.absolute(), target_is_directory=True)
        yield link / path.name


def _chosen_layer(path: Path, layers: dict[str, str | None], named: str | None, where: str, *, points: bool) -> str:
    """Return the named layer, else the only one whose declared type allows polygons (or points)."""
    listed = ", ".join(f"{name} ({kind or 'no geometry'})" for name, kind in layers.items())
    if named is not None:
        if named not in layers:
            raise DataError(f"{path} ({where}) has no layer {named!r}.", hint=f"Name one of its layers: {listed}.")
        return named
    unusable, shapes = (_NOT_PLACED, "polygons or points") if points else (_NO_AREA, "polygons")
    usable = [name for name, kind in layers.items() if kind and not any(each in kind for each in unusable)]
    if not usable:
        raise DataError(f"{path} ({where}) has no {shapes}: {listed}.", hint=f"Name a file with {shapes}.")
    if len(usable) > 1:
        raise DataError(
            f"{path} ({where}) has several layers that may hold {shapes}: {listed}.",
            hint=f"Name one, in quotes: '{path}{LAYER}{usable[0]}'.",
        )
    return usable[0]
