"""Vector files: their format, the layer with polygons, and its rows as stored."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
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

LAYER: Final = "|layername="
"""Separates a file from the name of one of its layers, as in the paths of QGIS."""
_TEXT: Final = (".geojson", ".json")
_LINES: Final = (".geojsonl", ".geojsons", ".ndjson", ".jsonl")
_MAGIC: Final = {".gpkg": b"SQLite format 3\0", ".fgb": b"fgb", ".shp": b"\0\0\x27\x0a"}
_FORMATS: Final = (".gpkg", ".fgb", ".shp", ".parquet", *_TEXT, *_LINES)
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
_MEGABYTES_OF_TEXT: Final = 500  # read, it takes four times as much
_MEGABYTES_PER_FEATURE: Final = "16"
_CODE_PAGE: Final = "CP1252"  # of Windows in Western languages, and of most old shapefiles
_GDAL: Final = {
    "OGR_GEOJSON_MAX_OBJ_SIZE": _MEGABYTES_PER_FEATURE,
    # GDAL 3.12: the fast paths repeat rows of a GeoPackage whose stored number of rows is too large, and crash on a
    # FlatGeobuf file with a row without geometry.
    "OGR_GPKG_STREAM_BASE_IMPL": "YES",
    "OGR_FLATGEOBUF_STREAM_BASE_IMPL": "YES",
}
# By default, pandas makes floating-point numbers of whole numbers with gaps.
_WHOLE: Final = {
    pa.type_for_alias(name.lower()): pd.api.types.pandas_dtype(name)
    for name in (f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
}


class Table(NamedTuple):
    """Rows of one layer: the wanted columns, names of all its columns, warnings of GDAL."""

    frame: gpd.GeoDataFrame
    columns: list[str]
    warnings: list[str]


def split_layer(path: Path) -> tuple[Path, str | None]:
    """Return the file and the layer that `file.gpkg|layername=houses` names."""
    name, separator, layer = str(path).partition(LAYER)
    return (path, None) if not separator or path.exists() else (Path(name), layer)


def read_table(path: Path, wanted: Iterable[str], where: str, *, points: bool = False) -> Table:
    """Return the rows of the one polygon layer of a file, or of the layer that is named.

    Args:
        path: GeoPackage, GeoJSON, GeoJSON lines, FlatGeobuf, Shapefile or GeoParquet; `|layername=NAME` names a layer.
        wanted: columns to read, in any case; a GeoParquet file comes with all of them.
        where: name of the parameter for error messages.
        points: whether a layer of points will do, too.

    Raises:
        DataError: missing, another format, unreadable, too large, without a coordinate reference system, or with
            several polygon layers of which none is named.
    """
    file, layer = split_layer(path)
    _check_format(file, where)
    try:
        if file.suffix.lower() == ".parquet":
            table = _read_parquet(file, layer)
        else:
            table = _read(file, layer, wanted, where, points=points)
    except (DataSourceError, DataLayerError, shapely.errors.ShapelyError, OSError, ValueError, RecursionError) as error:
        raise _unreadable(file, where, str(error).splitlines()[0]) from error
    if table.frame.crs is None:
        raise DataError(
            f"{file} ({where}) has no coordinate reference system.",
            hint=f"Assign one with ogr2ogr -a_srs EPSG:... {file.stem}_crs.gpkg {file.name}, or in QGIS.",
        )
    return table


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
    most = _MEGABYTES_OF_TEXT if ending in (*_TEXT, *_LINES) else _MEGABYTES
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
    most = f"Features larger than {_MEGABYTES_PER_FEATURE} MB are not supported. " if "MAX_OBJ_SIZE" in reason else ""
    return DataError(
        f"{path} ({where}) cannot be read: {reason}.", hint=f"{most}Write the polygons again as GeoPackage."
    )


def _read_parquet(path: Path, layer: str | None) -> Table:
    if layer is not None:
        raise ValueError("a GeoParquet file has no layers")
    frame = gpd.read_parquet(path, to_pandas_kwargs={"types_mapper": _WHOLE.get})
    for level in [name for name in frame.index.names if name is not None]:  # an id may have been part of the index
        frame = frame.reset_index(level, drop=level in frame.columns)
    _check_utf8(frame)
    return Table(frame, [str(name) for name in frame.columns if name != frame.geometry.name], [])


def _read(path: Path, layer: str | None, wanted: Iterable[str], where: str, *, points: bool) -> Table:
    names = {name.lower() for name in wanted}
    before = {option: pyogrio.get_gdal_config_option(option) for option in _GDAL}
    pyogrio.set_gdal_config_options(_GDAL)
    try:
        with _utf8(path) as text, _connection(text) as source, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RuntimeWarning)
            layers = dict(pyogrio.list_layers(source))
            chosen = _chosen_layer(path, layers, layer, where, points=points)
            info, columns, frame, doubts = _read_layer(source, chosen, names)
            if info["driver"] in ("GeoJSON", "GeoJSONSeq"):
                needed = "id" in names and "id" not in map(str.lower, columns)
                ids = _feature_ids(text, len(frame), lines=info["driver"] == "GeoJSONSeq", needed=needed)
                if any(each is not None for each in ids):
                    frame, columns = frame.assign(id=pd.Series(ids, frame.index, dtype=object)), ["id", *columns]
    finally:
        pyogrio.set_gdal_config_options(before)
    doubts += [str(warning.message) for warning in caught if _matters(warning)]
    others = [name for name, kind in layers.items() if kind and name != chosen] if layer is None else []
    if others:
        wrong = "neither polygons nor points" if points else "no polygons"
        doubts.append(f"the layer {chosen} is read, and not {', '.join(others)}, which holds {wrong}")
    if info["driver"] == "GPKG" and (key := info["fid_column"]):  # its primary key, which QGIS shows as a column
        frame, columns = frame.rename_axis(key).reset_index(), [key, *columns]
    return Table(frame, columns, list(dict.fromkeys(f"{path.name}: {doubt}" for doubt in doubts)))


def _matters(warning: warnings.WarningMessage) -> bool:
    # Repeated keys of GeoJSON do not matter, because they are not used.
    return issubclass(warning.category, RuntimeWarning) and not str(warning.message).startswith("Several features")


def _read_layer(
    source: str, layer: str, names: set[str]
) -> tuple[dict[str, Any], list[str], gpd.GeoDataFrame, list[str]]:
    """Return properties, names of all columns, rows with the columns `names`, and warnings."""
    if pyogrio.read_info(source, layer=layer)["encoding"] == "UTF-8":
        return *_read_rows(source, layer, names), []
    try:  # a shapefile that names no encoding: hardly any other text is valid UTF-8
        return *_read_rows(source, layer, names, encoding="UTF-8"), []
    except (DataSourceError, UnicodeError, pa.ArrowInvalid):
        doubt = f"has no .cpg file and its text is not UTF-8: it is read as Windows-1252 ({_CODE_PAGE})"
        return *_read_rows(source, layer, names, encoding=_CODE_PAGE), [doubt]


def _read_rows(
    source: str, layer: str, names: set[str], encoding: str | None = None
) -> tuple[dict[str, Any], list[str], gpd.GeoDataFrame]:
    info = pyogrio.read_info(source, layer=layer, encoding=encoding)
    fields = [str(field) for field in info["fields"]]
    columns = [field for field in fields if field.lower() in names]
    by_key = source.startswith("GPKG:")  # of GeoJSON the keys are not those of the file, and a column of ids collides
    arrow = {"use_arrow": True, "arrow_to_pandas_kwargs": {"types_mapper": _WHOLE.get}}
    options: dict[str, Any] = {"layer": layer, "fid_as_index": by_key, "encoding": encoding}
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
def _utf8(path: Path) -> Iterator[Path]:
    """Yield the text in UTF-8, without a byte order mark, which GDAL does not skip in lines."""
    with path.open("rb") as file:
        encoding = json.detect_encoding(file.read(4)) if path.suffix.lower() in (*_TEXT, *_LINES) else "utf-8"
    if encoding == "utf-8":
        yield path
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with path.open(encoding=encoding) as source, copy.open("w", encoding="utf-8") as target:
            copyfileobj(source, target)
        yield copy


@contextmanager
def _connection(path: Path) -> Iterator[str]:
    """Yield a name that GDAL opens with the driver of the ending.

    By content alone it would follow a text that tells it to read other files, to ask the network or to run its
    commands, whatever its name.
    """
    ending = path.suffix.lower()
    magic = _MAGIC.get(ending)
    if magic is None:
        yield f"GeoJSONSeq:{path}" if ending in _LINES or _is_lines(path) else f"GeoJSON:{path}"
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


def _is_lines(path: Path) -> bool:
    """Return whether the first line is a feature by itself, and more lines follow."""
    with path.open("rb") as file:
        first, second = (file.readline(int(_MEGABYTES_PER_FEATURE) * 10**6).strip() for _ in range(2))
    if not first.endswith(b"}") or not second:
        return False
    try:
        return bool(json.loads(first.removeprefix(b"\x1e")).get("type") == "Feature")
    except (ValueError, AttributeError):
        return False


def _feature_ids(path: Path, rows: int, *, lines: bool, needed: bool) -> list[Any]:
    """Return the `id` next to the properties of each feature, if they are needed.

    GDAL invents numbers where some are missing or repeat, and skips what is no feature: then the rows that it has read
    are fewer, which raises a ValueError.
    """
    if lines:
        text = path.read_bytes()  # lines, or records that begin with a separator (RFC 8142)
        entries: list[Any] = [line for line in text.split(b"\x1e" if b"\x1e" in text else b"\n") if line.strip()]
    elif needed:
        # Every object but a feature is dropped as soon as it is read, so that coordinates do not fill the memory.
        ids = json.loads(path.read_bytes(), object_hook=_only_ids)
        if ids is None:  # neither a collection nor a feature
            return []
        entries = list(ids)
    else:
        return []
    if len(entries) != rows:
        raise ValueError(f"{len(entries)} entries, of which {rows} are features")
    if not needed:
        return []
    return [json.loads(line).get("id") for line in entries] if lines else entries


def _only_ids(value: dict[str, Any]) -> Any:  # noqa: ANN401
    if value.get("type") == "FeatureCollection":
        return [each[0] if isinstance(each, tuple) else None for each in value.get("features") or ()]
    return (value.get("id"),) if value.get("type") == "Feature" else None
