"""VRTs over north-up rasters of bytes in one coordinate reference system.

A VRT names its sources and holds no pixels. rasterio reads VRTs and writes none. Paths are relative to the VRT.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import rasterio
from rasterio.enums import ColorInterp

from xview2_siamese_unet.raster.grid import Grid

_EDGE: Final = 1e-6  # pixels

Rectangle = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""


class VrtSource(NamedTuple):
    """A raster below a VRT.

    Attributes:
        path: of its file.
        grid: its pixels.
        facts: its bands, as `read_vrt_source` returns them.
        masked: whether its mask hides pixels, in place of `nodata`.
    """

    path: Path
    grid: Grid
    facts: Mapping[str, Any]
    masked: bool = False


def read_vrt_source(path: Path) -> VrtSource:
    """Return what a VRT states about a GeoTIFF; its pixels are not read."""
    with rasterio.open(path, driver="GTiff") as raster:
        transform = raster.transform
        grid = Grid(raster.crs.to_string(), transform.c, transform.f, transform.a, raster.width, raster.height)
        facts = {
            "names": raster.descriptions,
            "meanings": [meaning.name for meaning in raster.colorinterp],
            "colours": raster.colormap(1) if raster.colorinterp[0] is ColorInterp.palette else {},
            "scales": raster.scales,
            "nodata": f"{raster.nodata:g}",
            "block": [str(side) for side in reversed(raster.block_shapes[0])],
            "tags": raster.tags(),
        }
    return VrtSource(path, grid, facts)


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


def matching_rectangles(source: Grid, mosaic: Grid) -> tuple[Rectangle, Rectangle]:
    """Return a rectangle of a source, and the rectangle of a mosaic that it fills.

    Pixels of the same size are copied, moved by up to half a pixel; larger ones fill those that lie wholly inside.
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


def vrt_over(path: Path, sources: Sequence[VrtSource], mask: Path | None = None) -> str:
    """Return the text of a VRT.

    Args:
        path: of its file.
        sources: rasters with the same bands, the last on top; where one has no data, it shows those below.
        mask: raster whose pixels of 0 hide those of the only source; the mask of the VRT hides its `nodata` as well.
    """
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
            _add_source(band, number, source, grid, path.parent)
    if mask is not None:
        band = SubElement(SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        for file, number_of_band, kind in ((sources[0].path, "mask,1", "SimpleSource"), (mask, "1", "ComplexSource")):
            item = SubElement(band, kind)
            _add(item, "SourceFilename", _relative(file, path.parent), relativeToVRT="1")
            _add(item, "SourceBand", number_of_band)
        _add(item, "NODATA", sources[0].facts["nodata"])
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _add_source(band: Element, number: int, source: VrtSource, grid: Grid, folder: Path) -> None:
    item = SubElement(band, "ComplexSource", resampling="nearest")
    _add(item, "SourceFilename", _relative(source.path, folder), relativeToVRT="1")
    _add(item, "SourceBand", str(number))
    # With these, GDAL opens a source when it is read and not before.
    own, (width, height) = source.grid, source.facts["block"]
    size = {"RasterXSize": str(own.width), "RasterYSize": str(own.height)}
    SubElement(item, "SourceProperties", size, DataType="Byte", BlockXSize=width, BlockYSize=height)
    for name, rectangle in zip(("SrcRect", "DstRect"), matching_rectangles(own, grid), strict=True):
        SubElement(item, name, dict(zip(("xOff", "yOff", "xSize", "ySize"), map(repr, rectangle), strict=True)))
    # Of the two, GDAL follows the first: the mask has to hide pixels without data as well.
    _add(item, *(("UseMaskBand", "true") if source.masked else ("NODATA", source.facts["nodata"])))


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _add(above: Element, name: str, text: str, **attributes: str) -> None:
    SubElement(above, name, attributes).text = text
