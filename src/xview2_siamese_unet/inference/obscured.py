"""The obscured area of a pair, detected in its images and marked in masks of the vendor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import geometry_mask, shapes
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from shapely.geometry import shape

from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.footprints import read_polygons
from xview2_siamese_unet.inference.pair import HarmonisedPair
from xview2_siamese_unet.progress import track
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.obscured import CELL, RIM, obscured_cells
from xview2_siamese_unet.raster.reader import Pair
from xview2_siamese_unet.raster.source import open_raster, unreadable_raster
from xview2_siamese_unet.types import BoolArray

_ReadMask = Callable[[Window], BoolArray]
_BLOCK: Final = 1024  # pixels
_TIFF: Final = (".tif", ".tiff")
_UDM2: Final = (5, 6)
"""Bands of heavy haze and cloud among the eight of a usable-data mask of Planet."""


def with_obscured(harmonised: HarmonisedPair, params: InferenceParams) -> HarmonisedPair:
    """Return the pair with its obscured area, and a warning about its share.

    Raises:
        DataError: a mask that cannot be used.
    """
    detect, masks = params.images.find_obscured, [mask.expanduser() for mask in params.masks]
    if not detect and not masks:
        return harmonised
    pair, counts = harmonised.pair, np.zeros(3 + len(masks), int)
    pieces: list[Any] = []
    warnings: list[str] = []
    with rasterio.Env(), ExitStack() as files:
        cells = _cell_grid(pair.grid)
        readers = [_mask_reader(path, cells, files, warnings) for path in masks]
        for polygons, count in _blocks(pair, cells, readers, detect=detect):
            pieces += polygons
            counts += count
    warnings += _warnings(counts.tolist(), masks)
    obscured = gpd.GeoDataFrame(geometry=pieces, crs=cells.crs).assign(name="obscured") if pieces else None
    return replace(harmonised, obscured=obscured, warnings=(*harmonised.warnings, *warnings))


def _cell_grid(grid: Grid) -> Grid:
    """Return the grid of the cells, which may extend beyond that of the pixels."""
    step = max(2, round(CELL / grid.pixel))
    return replace(grid, pixel=grid.pixel * step, width=-(-grid.width // step), height=-(-grid.height // step))


def _blocks(
    pair: Pair, cells: Grid, masks: Sequence[_ReadMask], *, detect: bool
) -> Iterator[tuple[list[Any], list[int]]]:
    """Yield the obscured polygons of each block, and counts of cells: visible, obscured, by images, by each mask."""
    step = round(cells.pixel / pair.grid.pixel)
    side = _BLOCK // step
    corners = [(top, left) for top in range(0, cells.height, side) for left in range(0, cells.width, side)]
    with pair.open() as reader:
        for top, left in track("blocks searched for clouds", len(corners), corners):
            height, width = min(side, cells.height - top), min(side, cells.width - left)
            outer = (top - RIM, left - RIM, height + 2 * RIM, width + 2 * RIM)
            patch = reader.read(*(step * length for length in outer))
            if not patch.valid.any():
                continue
            inner = slice(RIM, RIM + height), slice(RIM, RIM + width)
            valid = np.asarray(patch.valid.reshape(outer[2], step, outer[3], step).any(axis=(1, 3)))[inner]
            by_images = np.zeros_like(valid)
            for image in (patch.post,) if pair.post_only else (patch.pre, patch.post):
                by_images |= detect and obscured_cells(image, patch.valid, step)[inner]
            layers = [by_images, *(valid & read(Window(left, top, width, height)) for read in masks)]
            obscured = np.any(layers, axis=0)
            transform = cells.transform @ Affine.translation(left, top)
            parts = [shape(part) for part, _ in shapes(obscured.view(np.uint8), obscured, transform=transform)]
            yield parts, [int(layer.sum()) for layer in (valid, obscured, *layers)]


def _mask_reader(path: Path, grid: Grid, files: ExitStack, warnings: list[str]) -> _ReadMask:
    """Return a function that reads a mask in windows of a grid."""
    if path.suffix.lower() not in _TIFF:
        layer = read_polygons(path, grid.crs, "inference.masks")
        warnings += layer.warnings
        tree = shapely.STRtree(layer.frame.geometry.to_numpy())
        return lambda window: _burn(tree, grid, window)
    if not path.is_file():
        raise DataError(f"{path}: no such file.", hint="Check the path given with --mask.")
    try:
        raster = files.enter_context(open_raster(path))
    except RasterioError as error:
        raise unreadable_raster(path, error) from error
    if raster.count not in (1, 8) or not raster.crs:
        wrong = f"{raster.count} bands" if raster.crs else "no coordinate reference system"
        raise DataError(
            f"{path} has {wrong}, and is not a cloud mask.",
            hint="Name polygons, a usable-data mask of 8 bands (UDM2), or a raster of one band that is 0 where clear.",
        )
    target = {"crs": grid.crs, "transform": grid.transform, "height": grid.height, "width": grid.width}
    warped = files.enter_context(WarpedVRT(raster, resampling=Resampling.nearest, **target))
    bands = _UDM2 if raster.count > 1 else (1,)
    return lambda window: warped.read(bands, window=window, masked=True).filled(0).any(axis=0)


def _burn(tree: shapely.STRtree, grid: Grid, window: Window) -> BoolArray:
    """Return the cells whose centres lie in polygons."""
    transform = grid.transform @ Affine.translation(window.col_off, window.row_off)
    (right, bottom) = transform @ (window.width, window.height)
    near = tree.geometries[tree.query(shapely.box(transform.c, bottom, right, transform.f))]
    size = int(window.height), int(window.width)
    return geometry_mask(near, size, transform, invert=True) if len(near) else np.zeros(size, bool)


def _warnings(counts: Sequence[int], masks: Sequence[Path]) -> Iterator[str]:
    visible, obscured, by_images, *each = counts
    if not visible or not (obscured or masks):
        return
    shares = [f"by the images {by_images / visible:.1%}"]
    shares += [f"{path.name} {count / visible:.1%}" for path, count in zip(masks, each, strict=True)]
    yield (
        f"{obscured / visible:.1%} of the area is obscured ({', '.join(shares)}): buildings there are not assessed, "
        "and the model cannot detect those that are hidden"
    )
