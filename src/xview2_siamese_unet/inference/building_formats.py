"""Formats of the buildings besides the GeoPackage: the only table of them.

Importing this module imports no geopandas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from xview2_siamese_unet.config.validation import look_up

if TYPE_CHECKING:
    import geopandas as gpd


class Format(NamedTuple):
    """An entry of `FORMATS`.

    Attributes:
        suffix: of the file, which is called `buildings` otherwise.
        write: the layer `buildings` and the path of a new file → nothing.
    """

    suffix: str
    write: Callable[[gpd.GeoDataFrame, Path], None]


def check_formats(names: Iterable[str]) -> None:
    """Check the names that `inference.formats` lists.

    Raises:
        ConfigError: no such format.
    """
    for name in names:
        look_up(FORMATS, name, "Each of inference.formats")


def _write_geojson(frame: gpd.GeoDataFrame, path: Path) -> None:
    import pyogrio  # noqa: PLC0415  loads GDAL

    from xview2_siamese_unet.inference.vector_formats import plain_path  # noqa: PLC0415  geopandas is slow to import

    with plain_path(path) as plain:
        # Longitude and latitude with seven decimals, right-hand rule, no `crs`.
        pyogrio.write_dataframe(frame, plain, driver="GeoJSON", RFC7946="YES")


def _write_geoparquet(frame: gpd.GeoDataFrame, path: Path) -> None:
    frame.to_parquet(path, index=False, schema_version="1.1.0", write_covering_bbox=True)


FORMATS: Final[dict[str, Format]] = {
    "geojson": Format(".geojson", _write_geojson),
    "geoparquet": Format(".parquet", _write_geoparquet),
}
"""Names for `--format` and `inference.formats`."""
