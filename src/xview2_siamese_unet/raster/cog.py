"""Write cloud-optimised GeoTIFFs (COG) block by block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import rasterio
import rasterio.shutil
from rasterio.windows import Window

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.io import NO_DATA
from xview2_siamese_unet.types import Bands

_BLOCK: Final = 512
_CACHE_MEGABYTES: Final = 128


@dataclass(frozen=True)
class RasterContent:
    """A uint8 raster to be written.

    Attributes:
        grid: of the raster.
        bands: names of the bands.
        blocks: rows, columns and pixels of every block with data, each pixel once.
        colours: code → RGBA, for a raster of one band with classes.
        scale: a stored value times this is the value.
        tags: of the file.
    """

    grid: Grid
    bands: tuple[str, ...]
    blocks: Iterable[tuple[slice, slice, Bands]]
    colours: Mapping[int, tuple[int, int, int, int]] | None = None
    scale: float = 1.0
    tags: Mapping[str, str] = field(default_factory=dict)


def write_cog(path: Path, content: RasterContent) -> None:
    """Write a raster atomically; memory does not grow with it."""
    classes = content.colours is not None
    with (
        rasterio.Env(GDAL_CACHEMAX=_CACHE_MEGABYTES, GDAL_NUM_THREADS=1, GTIFF_WRITE_COG_GHOST_AREA="NO"),
        whole_file(path) as part,
    ):
        plain = part.with_suffix(".plain")
        _write_plain(plain, content)
        rasterio.shutil.copy(
            plain,
            part,
            driver="COG",
            compress="deflate",
            blocksize=_BLOCK,
            bigtiff="IF_SAFER",
            resampling="nearest" if classes else "average",
            predictor="NO" if classes else "STANDARD",
            sparse_ok=True,
        )


def _write_plain(path: Path, content: RasterContent) -> None:
    grid = content.grid
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": len(content.bands),
        "height": grid.height,
        "width": grid.width,
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": NO_DATA,
    }
    # Blocks that are not written stay sparse, in the file and on disk.
    options = {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK, "compress": "lzw", "sparse_ok": True}
    with rasterio.open(path, "w", bigtiff="IF_SAFER", interleave="pixel", **options, **profile) as target:
        for rows, columns, pixels in content.blocks:
            window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
            target.write(pixels, window=window)
        if content.colours is not None:
            target.write_colormap(1, content.colours)
        else:
            target.scales = [content.scale] * len(content.bands)
        target.descriptions = content.bands
        target.update_tags(**content.tags)


def read_small(path: Path, side: int) -> Bands:
    """Return the bands, at most `side` pixels long, from overviews."""
    with rasterio.open(path, driver="GTiff") as raster:
        factor = max(1.0, max(raster.shape) / side)
        size = [max(1, round(length / factor)) for length in raster.shape]
        bands: Bands = raster.read(out_shape=(raster.count, *size))
    return bands
