"""A GeoPackage with the style of each layer, written atomically and row group by row group."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import geopandas as gpd
import pyogrio

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.inference.vector_formats import plain_path

_LAYER_STYLES: Final = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
    f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME
)"""


def write_geopackage(
    path: Path, frames: Iterable[tuple[str, gpd.GeoDataFrame]], styles: Mapping[str, str], stamp: str
) -> None:
    """Write layers of polygons with their styles; rows of one layer may come in several frames.

    Args:
        path: of the file.
        frames: layer and rows, the main layer first.
        styles: layer → style of QGIS (QML).
        stamp: time of the file, ISO 8601; an argument, so that equal content gives equal bytes.
    """
    # The file gets its name when it is complete, so waiting for the disk after each step would only take time.
    options = {"OGR_CURRENT_DATE": stamp, "OGR_SQLITE_SYNCHRONOUS": "OFF"}
    before = {name: pyogrio.get_gdal_config_option(name) for name in options}
    pyogrio.set_gdal_config_options(options)
    try:
        with whole_file(path) as part:
            with plain_path(part) as plain:
                for name, frame in frames:
                    polygons = {"geometry_type": "MultiPolygon", "promote_to_multi": True}  # also without any row
                    pyogrio.write_dataframe(frame, plain, layer=name, driver="GPKG", append=part.exists(), **polygons)
            _write_styles(part, styles, stamp)
    finally:
        pyogrio.set_gdal_config_options(before)


def _write_styles(path: Path, styles: Mapping[str, str], stamp: str) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("PRAGMA synchronous = OFF")
        file.execute(_LAYER_STYLES)
        file.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change) VALUES (?, ?, ?, ?)",
            ("layer_styles", "attributes", "layer_styles", stamp),
        )
        for name, qml in styles.items():
            file.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
                " styleQML, styleSLD, useAsDefault, description, update_time)"
                " VALUES ('', '', ?, 'geom', ?, ?, '', 1, '', ?)",
                (name, name, qml, stamp),
            )
