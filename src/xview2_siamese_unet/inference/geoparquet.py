"""GeoParquet files: their rows as stored, all of them or those in a box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Box = tuple[float, float, float, float]
"""West, south, east, north, in the system of the file."""
# By default, pandas converts whole numbers with missing values to floating point.
WHOLE: Final = {
    pa.type_for_alias(name.lower()): pd.api.types.pandas_dtype(name)
    for name in (f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
}
_BOUNDS: Final = "bbox"  # name of the column in all files of Overture and geopandas
_SIDES: Final = {"xmin", "ymin", "xmax", "ymax"}
_GEO: Final = b"geo"
_INTERNAL: Final = (_GEO, b"pandas", b"ARROW:schema", b"PANDAS_ATTRS")


class Parquet(NamedTuple):
    """Properties that a GeoParquet file states.

    Attributes:
        rows: of the file.
        crs: of its geometry, as pyproj takes it: degrees by default, `None` if unknown.
        stated: other metadata.
        declared: whether bounds are declared, by which geopandas selects rows.
        column: whether there is a column `bbox`; DuckDB copies it from Overture without declaring it.
    """

    rows: int
    crs: Any
    stated: dict[str, str]
    declared: bool
    column: bool

    @property
    def bounded(self) -> bool:
        """Whether rows outside of a box can be left unread."""
        return self.declared or self.column


def describe_parquet(path: Path) -> Parquet:
    """Read the footer of a file.

    Raises:
        ValueError: not a GeoParquet file.
    """
    with pq.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    metadata = dict(schema.metadata or {})
    try:
        geo = json.loads(metadata[_GEO])
        geometry = geo["columns"][geo["primary_column"]]
        crs = geometry.get("crs", "OGC:CRS84")
    except (KeyError, TypeError) as error:
        raise ValueError("not GeoParquet: it does not describe its geometry") from error
    stated = {key.decode(): value.decode("utf-8", "replace") for key, value in metadata.items() if key not in _INTERNAL}
    sides = schema.field(_BOUNDS).type if _BOUNDS in schema.names else None
    return Parquet(
        rows,
        crs,
        stated,
        declared="covering" in geometry or str(geo.get("version", "")).startswith("2"),
        column=sides is not None and pa.types.is_struct(sides) and {field.name for field in sides} >= _SIDES,
    )


def read_parquet(path: Path, box: Box | None = None, *, declared: bool = True) -> gpd.GeoDataFrame:
    """Return the rows of a file, or those whose bounds meet a box; other row groups are not read.

    Args:
        path: the file.
        box: to select rows by.
        declared: as in `Parquet`; if false, the column `bbox` is used.
    """
    options: dict[str, Any] = {}
    if box is not None and declared:
        options = {"bbox": box}
    elif box is not None:
        west, south, east, north = box
        options["filters"] = (
            (pc.field(_BOUNDS, "xmin") <= east)
            & (pc.field(_BOUNDS, "xmax") >= west)
            & (pc.field(_BOUNDS, "ymin") <= north)
            & (pc.field(_BOUNDS, "ymax") >= south)
        )
    frame = gpd.read_parquet(path, to_pandas_kwargs={"types_mapper": WHOLE.get}, **options)
    for level in [name for name in frame.index.names if name is not None]:  # an id may have been part of the index
        frame = frame.reset_index(level, drop=level in frame.columns)
    return frame
