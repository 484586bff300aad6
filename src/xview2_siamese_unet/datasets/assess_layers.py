"""Layers of one GeoPackage, each with the style that QGIS shows it in."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
from kedro.io import AbstractDataset

from xview2_siamese_unet.atomic import whole_file

_STYLES: Final = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
    f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME
)"""


@dataclass(frozen=True, slots=True)
class Layers:
    """What a GeoPackage holds.

    Attributes:
        frames: layer → rows, the main layer first.
        styles: layer → style of QGIS (QML).
        stamp: time that the file states as its own, ISO 8601: fixed, so that equal content gives equal bytes.
    """

    frames: dict[str, gpd.GeoDataFrame]
    styles: dict[str, str]
    stamp: str


class LayersDataset(AbstractDataset[Layers, gpd.GeoDataFrame]):
    """A GeoPackage, written beside and renamed; loading gives its first layer.

    Args:
        filepath: the file.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def save(self, data: Layers) -> None:
        """Write all layers and styles."""
        import pyogrio  # noqa: PLC0415  a run without an assessment does not wait for GDAL

        before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": data.stamp})
        try:
            with whole_file(self._path, ".gpkg") as part:
                part.unlink()  # GDAL makes a new file; it opens one that is there
                for name, frame in data.frames.items():
                    pyogrio.write_dataframe(
                        frame, part, layer=name, driver="GPKG", append=part.exists(), promote_to_multi=True
                    )
                _write_styles(part, data)
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})

    def load(self) -> gpd.GeoDataFrame:
        """Return the rows of the first layer."""
        import pyogrio  # noqa: PLC0415

        return pyogrio.read_dataframe(self._path, layer=0)

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path}


def _write_styles(path: Path, layers: Layers) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(_STYLES)
        file.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change) VALUES (?, ?, ?, ?)",
            ("layer_styles", "attributes", "layer_styles", layers.stamp),
        )
        for name, qml in layers.styles.items():
            file.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
                " styleQML, styleSLD, useAsDefault, description, update_time)"
                " VALUES ('', '', ?, 'geom', ?, ?, '', 1, ?, ?)",
                (name, name, qml, "", layers.stamp),
            )
