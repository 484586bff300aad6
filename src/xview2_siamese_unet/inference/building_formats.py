"""Output formats of the buildings in addition to the GeoPackage.

This module does not import geopandas.
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
        suffix: of the file `buildings`.
        write: writes the layer `buildings` to the path of a new file, which contains no `!`.
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
    # Longitude and latitude with seven decimals, right-hand rule, no `crs`.
    frame.to_file(path, driver="GeoJSON", engine="pyogrio", RFC7946="YES")


def _write_geoparquet(frame: gpd.GeoDataFrame, path: Path) -> None:
    frame.to_parquet(path, index=False, schema_version="1.1.0", write_covering_bbox=True)


FORMATS: Final[dict[str, Format]] = {
    "geojson": Format(".geojson", _write_geojson),
    "geoparquet": Format(".parquet", _write_geoparquet),
}
"""Names for `--format` and `inference.formats`."""
