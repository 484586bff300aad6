"""Layers of one GeoPackage, each with the style that QGIS shows it in."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import geopandas as gpd
from kedro_datasets._typing import TablePreview

from xview2_siamese_unet.atomic import sha256, whole_file, written
from xview2_siamese_unet.datasets.one_file import OneFile

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


class LayersDataset(OneFile[Layers, Path]):
    """A GeoPackage, written whole or not at all; loading gives its path."""

    def save(self, data: Layers) -> None:
        """Write all layers and styles."""
        import pyogrio  # noqa: PLC0415  a run without an assessment does not wait for GDAL

        from xview2_siamese_unet.inference.vector_formats import plain_path  # noqa: PLC0415

        before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": data.stamp})
        try:
            with whole_file(self._path) as part:
                with plain_path(part) as plain:
                    for name, frame in data.frames.items():
                        pyogrio.write_dataframe(
                            frame, plain, layer=name, driver="GPKG", append=part.exists(), promote_to_multi=True
                        )
                _write_styles(part, data)
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})

    def load(self) -> Path:
        """Return the path."""
        return self._path

    def preview(self, nrows: int = 10) -> TablePreview:
        """Return the first rows without their polygons, as Kedro-Viz shows them."""
        import pyogrio  # noqa: PLC0415

        table = pyogrio.read_dataframe(f"GPKG:{self._path}", layer=0, read_geometry=False, max_features=nrows)
        return TablePreview(json.loads(table.to_json(orient="split", index=False)))


class FormatsDataset(OneFile[dict[str, gpd.GeoDataFrame], list[Path]]):
    """The same rows in other formats, each written whole or not at all; loading gives the files."""

    def save(self, data: dict[str, gpd.GeoDataFrame]) -> None:
        """Write `geojson` after RFC 7946 and `geoparquet`; what an earlier assessment wrote in another goes."""
        for name, (ending, write) in _FORMATS.items():
            path = self._path.with_suffix(ending)
            if name in data:
                with whole_file(path) as part:
                    write(data[name], part)
            elif path.is_file() and sha256(path) in written(path.parent):
                path.unlink()

    def load(self) -> list[Path]:
        """Return the files that are there."""
        return [path for ending, _ in _FORMATS.values() if (path := self._path.with_suffix(ending)).is_file()]

    def _exists(self) -> bool:
        return bool(self.load())


def _write_geojson(frame: gpd.GeoDataFrame, path: Path) -> None:
    import pyogrio  # noqa: PLC0415

    from xview2_siamese_unet.inference.vector_formats import plain_path  # noqa: PLC0415

    with plain_path(path) as plain:
        # Longitude and latitude, seven decimals, outer rings against the clock, no `crs`.
        pyogrio.write_dataframe(frame, plain, driver="GeoJSON", RFC7946="YES")


def _write_geoparquet(frame: gpd.GeoDataFrame, path: Path) -> None:
    frame.to_parquet(path, index=False, schema_version="1.1.0", write_covering_bbox=True)


_FORMATS: Final = {"geojson": (".geojson", _write_geojson), "geoparquet": (".parquet", _write_geoparquet)}


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
