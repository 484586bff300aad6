"""Mosaics of a campaign: for each raster of an assessment and each coordinate reference system, a VRT over all jobs.

A VRT names its sources and holds no pixels. All paths are relative: the folder of the campaign can be moved.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.campaign.jobs import Task
from xview2_siamese_unet.raster.grid import Grid

MOSAICS: Final = "mosaics"
"""Folder of the VRTs."""
RASTERS: Final = ("damage.tif", "probability.tif")
_EDGE: Final = 1e-6  # pixels
_log = logging.getLogger(__name__)

Rectangle = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""


class _Source(NamedTuple):
    """A raster of an assessment; `facts` describe its bands (`_facts`)."""

    path: Path
    grid: Grid
    facts: Mapping[str, Any]


def write_mosaics(folder: Path, done: Iterable[Task]) -> list[str]:
    """Write `mosaics/damage_32637.vrt` and the like over finished jobs; return the paths relative to the campaign.

    Mosaics of an earlier run that no job belongs to any more are removed.
    """
    below_first = sorted(done, key=lambda task: (task.job.rank, task.job.name), reverse=True)
    written = {}
    for name in RASTERS:
        paths = [task.scene / name for task in below_first]
        by_crs: defaultdict[str, list[_Source]] = defaultdict(list)
        for path in paths:
            if path.is_file():
                source = _read(path)
                by_crs[source.grid.crs].append(source)
        missing = sum(not path.is_file() for path in paths)
        if missing:
            _log.warning("%s is missing in %d of %d assessments, left out of the mosaics", name, missing, len(paths))
        for crs, sources in by_crs.items():
            written[f"{MOSAICS}/{Path(name).stem}_{_code(crs)}.vrt"] = _vrt(sources)
    for path in (path for name in RASTERS for path in (folder / MOSAICS).glob(f"{Path(name).stem}_*.vrt")):
        if f"{MOSAICS}/{path.name}" not in written:
            path.unlink()
    for target, vrt in written.items():
        write_atomically(folder / target, vrt)
    return sorted(written)


def _code(crs: str) -> str:
    """Return the EPSG code of a system, or a digest if it has none."""
    return str(CRS.from_string(crs).to_epsg() or hashlib.sha256(crs.encode()).hexdigest()[:8])


def _read(path: Path) -> _Source:
    with rasterio.open(path, driver="GTiff") as raster:
        place = raster.transform
        grid = Grid(raster.crs.to_string(), place.c, place.f, place.a, raster.width, raster.height)
        return _Source(path, grid, _facts(raster))


def _facts(raster: Any) -> dict[str, Any]:  # noqa: ANN401
    palette = raster.colorinterp[0] is ColorInterp.palette
    return {
        "names": raster.descriptions,
        "colours": raster.colormap(1) if palette else {},
        "meanings": [meaning.name for meaning in raster.colorinterp],
        "nodata": f"{raster.nodata:g}",
        "scales": raster.scales,
        "block": [str(side) for side in reversed(raster.block_shapes[0])],
        "tags": raster.tags(),
    }


def mosaic_grid(grids: Sequence[Grid]) -> Grid:
    """Return a grid over others of one system, aligned with the first of those that have the smallest pixels."""
    finest = min(grids, key=lambda grid: grid.pixel)
    pixel = finest.pixel
    west, south, east, north = (
        edge(values)
        for edge, values in zip((min, min, max, max), zip(*(grid.bounds for grid in grids), strict=True), strict=True)
    )
    left = finest.left + math.floor((west - finest.left) / pixel + _EDGE) * pixel
    top = finest.top - math.floor((finest.top - north) / pixel + _EDGE) * pixel
    width, height = (math.ceil(length / pixel - _EDGE) for length in (east - left, top - south))
    return Grid(finest.crs, left, top, pixel, width, height)


def place(source: Grid, mosaic: Grid) -> tuple[Rectangle, Rectangle]:
    """Return which pixels of a source fill which of a mosaic.

    Pixels of one size are copied, moved by up to half a pixel; larger ones fill those that lie wholly inside.
    """
    factor = source.pixel / mosaic.pixel
    starts = (source.left - mosaic.left) / mosaic.pixel, (mosaic.top - source.top) / mosaic.pixel
    sizes = source.width, source.height
    if (factor - 1) * max(sizes) < 0.5:
        column, row = (math.floor(start + 0.5) for start in starts)
        return (0, 0, *sizes), (column, row, *sizes)
    first = [math.ceil(start - _EDGE) for start in starts]
    count = [
        max(1, math.floor(start + size * factor + _EDGE) - low)
        for start, size, low in zip(starts, sizes, first, strict=True)
    ]
    offset = [max(0.0, (low - start) / factor) for low, start in zip(first, starts, strict=True)]
    extent = [min(number / factor, size - begin) for number, size, begin in zip(count, sizes, offset, strict=True)]
    return (offset[0], offset[1], extent[0], extent[1]), (first[0], first[1], count[0], count[1])


def _vrt(sources: Sequence[_Source]) -> str:
    """Return a VRT over sources of one system, the last on top; pixels without data show what is below."""
    grid, facts = mosaic_grid([source.grid for source in sources]), sources[0].facts
    root = Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    _add(root, "SRS", grid.crs)
    _add(root, "GeoTransform", ", ".join(map(repr, grid.transform.to_gdal())))
    tags = SubElement(root, "Metadata")
    for key, value in facts["tags"].items():
        if all(source.facts["tags"].get(key) == value for source in sources):
            _add(tags, "MDI", value, key=key)
    for number, name in enumerate(facts["names"], start=1):
        band = SubElement(root, "VRTRasterBand", dataType="Byte", band=str(number))
        _add(band, "Description", name)
        _add(band, "NoDataValue", facts["nodata"])
        _add(band, "ColorInterp", facts["meanings"][number - 1])
        _add(band, "Scale", repr(facts["scales"][number - 1]))
        if facts["colours"]:
            colours = SubElement(band, "ColorTable")
            for _, colour in sorted(facts["colours"].items()):
                SubElement(colours, "Entry", {f"c{part}": str(value) for part, value in enumerate(colour, start=1)})
        for source in sources:
            _add_source(band, number, source, grid)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _add_source(band: Element, number: int, source: _Source, grid: Grid) -> None:
    item = SubElement(band, "ComplexSource", resampling="nearest")
    path = Path("..", *source.path.parts[-3:]).as_posix()  # scenes/JOB/damage.tif
    _add(item, "SourceFilename", path, relativeToVRT="1")
    _add(item, "SourceBand", str(number))
    # With these, GDAL opens a source when it is read and not before.
    own, (width, height) = source.grid, source.facts["block"]
    size = {"RasterXSize": str(own.width), "RasterYSize": str(own.height)}
    SubElement(item, "SourceProperties", size, DataType="Byte", BlockXSize=width, BlockYSize=height)
    for name, rectangle in zip(("SrcRect", "DstRect"), place(own, grid), strict=True):
        SubElement(item, name, dict(zip(("xOff", "yOff", "xSize", "ySize"), map(repr, rectangle), strict=True)))
    _add(item, "NODATA", source.facts["nodata"])


def _add(above: Element, name: str, text: str, **attributes: str) -> None:
    SubElement(above, name, attributes).text = text
