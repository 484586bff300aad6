"""The harmonised pair: both images on one grid, co-registered and in one radiometry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from rasterio.crs import CRS

from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.inference.around_images import around
from xview2_siamese_unet.inference.coregistration import SIDE, Shift, estimate_field, estimate_shift
from xview2_siamese_unet.inference.footprints import (
    UserLayer,
    outside,
    read_area_layer,
    read_footprint_layer,
    read_zone_layer,
)
from xview2_siamese_unet.inference.no_model import NONE
from xview2_siamese_unet.raster.grid import COARSEST, Area, Grid, clip, common_grid, reproject, wrap_longitude
from xview2_siamese_unet.raster.no_data import undeclared_fill
from xview2_siamese_unet.raster.reader import Pair, ShiftField, Stretch
from xview2_siamese_unet.raster.source import Source, read_source
from xview2_siamese_unet.types import PixelValues

Samples = tuple[PixelValues, PixelValues]
"""Values of both images at pixels where both hold data."""
_USUAL_PIXELS: Final = (0.2, 1.5)  # metres; the training images of xBD lie well inside
_SAMPLES: Final = 6  # windows along each axis
_SIDE: Final = 96
_MOST_FILLS: Final = 2  # values of one image: a low and a high one
_SHIFT_WINDOWS: Final = 12  # along each axis
# Pixels. Training images are shifted by as much: correcting smaller shifts lowered the official score of synthetic
# scenes, even in whole pixels, which blurs nothing.
_SMALL_SHIFT: Final = 2.0
_LARGE_SHIFT: Final = 3.0
_NO_SHIFT: Final = 0.5  # pixels; the error of a measured shift
_PERCENTILES: Final = (0.5, 99.5)
_SMALL_OVERLAP: Final = 0.1  # of the smaller image
_CLIPPED: Final = 0.05  # of the pixels; a stretch by percentiles clips a hundredth
_DIM: Final = 0.25  # of the stretch
_WHITE: Final = 0.05  # of the pixels
_REFLECTANCE: Final = 2.0  # 1 is white; snow in the sun lies above it, bytes lie far above it


@dataclass(frozen=True, slots=True)
class HarmonisedPair:
    """A pair that can be read window by window.

    Attributes:
        pair: both images on one grid.
        warnings: about the images, for the user.
        shift: measured between the images, if that is enabled.
        footprints: GeoDataFrame of the user's buildings on that grid, if there are any.
        zones: GeoDataFrame of `name` and polygons in degrees to count buildings by, if there are any.
        footprint_sources: data sets of the footprints with licence and date, as far as their file states them.
        obscured: GeoDataFrame of polygons on that grid under which the ground cannot be seen, if there are any.
    """

    pair: Pair
    warnings: tuple[str, ...]
    shift: Shift | None = None
    footprints: Any = None
    zones: Any = None
    footprint_sources: tuple[dict[str, Any], ...] = ()
    obscured: Any = None


def harmonise(params: InferenceParams) -> HarmonisedPair:
    """Return both images on one grid, in one radiometry.

    Raises:
        ConfigError: an image is not named.
        DataError: an image that cannot be used, two that do not overlap, pixels too coarse, a grid too large.
    """
    post_only = params.pre == NONE
    first = None if post_only else read_source(_required(params.pre, "pre"), params.images.pre_bands)
    post = read_source(_required(params.post, "post"), params.images.post_bands)
    pre = first or post
    area, area_warnings = (None, ()) if params.aoi is None else _area(params.aoi.expanduser())
    grid = common_grid(pre.extent, post.extent, params.pixel_size, area)
    _check_size(grid, params)
    frame = shapely.box(*grid.bounds)
    aoi = None if area is None else clip(area, frame, CRS.from_string(grid.crs))
    footprints, zones, vector_warnings = _vectors(params, grid, frame if aoi is None else aoi)
    pair = Pair(grid, pre, post, black_is_no_data=params.images.black_is_no_data, aoi=aoi, post_only=post_only)
    pair, samples, fill_warnings = without_fill(pair)
    pair = replace(pair, stretch=_stretches(pair, samples, params.images.stretch))
    shift = None if post_only or params.registration == "off" else _measure_shift(pair)
    if shift is not None:
        pair = _coregister(pair, shift, local=params.registration == "auto")
    warnings = (
        *(f"pre-disaster image: {warning}" for warning in pre.warnings if not post_only),
        *(f"post-disaster image: {warning}" for warning in post.warnings),
        *fill_warnings,
        *_collar_warnings(pair, samples),
        *_pair_warnings(pair, samples),
        *_shift_warnings(shift, pair.field),
        *area_warnings,
        *vector_warnings,
    )
    return HarmonisedPair(
        pair, warnings, shift, footprints and footprints.frame, zones, footprints.sources if footprints else ()
    )


def _vectors(params: InferenceParams, grid: Grid, overlap: Any) -> tuple[UserLayer | None, Any, tuple[str, ...]]:  # noqa: ANN401
    """Return footprints on the grid, zones in degrees, and warnings on both."""
    region = "the overlap of the images" if params.aoi is None else "the area of interest"
    buildings = zones = None
    warnings: list[str] = []
    if params.footprints is not None:
        path, column = params.footprints.expanduser(), params.buildings.id_column
        buildings = read_footprint_layer(path, grid.crs, column, around(grid))
        warnings = [*buildings.warnings, *outside(buildings, overlap, "footprints", region)]
    if params.zones is not None:
        layer = read_zone_layer(params.zones.expanduser(), params.zone_column)
        wgs84 = CRS.from_epsg(4326)
        degrees = wrap_longitude(reproject(overlap, CRS.from_string(grid.crs), wgs84), wgs84)
        zones, warnings = layer.frame, [*warnings, *layer.warnings, *outside(layer, degrees, "zones", region)]
    return buildings, zones, tuple(warnings)


def _area(path: Path) -> tuple[Area, tuple[str, ...]]:
    layer = read_area_layer(path)
    return Area(CRS.from_epsg(4326), layer.frame.geometry.union_all()), layer.warnings


def _required(path: Path | None, name: str) -> Path:
    if path is None:
        raise ConfigError(
            f"inference.{name} names no image.",
            hint="Run kedro assess PRE POST --out DIR, where each is a GeoTIFF, a VRT, or a folder of GeoTIFF tiles.",
        )
    return path.expanduser()


def _check_size(grid: Grid, params: InferenceParams) -> None:
    if grid.pixel > COARSEST:
        raise DataError(
            f"The images have pixels of {grid.pixel:.2f} m; damage to buildings is not visible above {COARSEST:g} m.",
            hint="Use images of higher resolution.",
        )
    if grid.width * grid.height > params.max_pixels:
        raise DataError(
            f"The images have an overlap of {grid.width} × {grid.height} pixels; at most {params.max_pixels} pixels "
            "are assessed.",
            hint="Name an area of interest (--aoi), or raise inference.max_pixels.",
        )


def _windows(grid: Grid, side: int = SIDE, most: int = _SHIFT_WINDOWS) -> Iterator[tuple[int, int]]:
    """Yield first row and column of windows from edge to edge, at most half overlapping."""
    axes = [max(length - side, 0) for length in (grid.height, grid.width)]
    firsts = [np.linspace(0, last, min(most, last // (side // 2) + 1)).astype(int) for last in axes]
    return ((int(top), int(left)) for top in firsts[0] for left in firsts[1])


def _sample(pair: Pair) -> Samples:
    """Return samples of windows from edge to edge: borders of fill values lie at the edges."""
    before, after = [np.empty((0, 3), np.float32)], [np.empty((0, 3), np.float32)]
    with pair.open() as reader:
        for top, left in _windows(pair.grid, _SIDE, _SAMPLES):
            pre, pre_valid = reader.pre.read(top, left, _SIDE, _SIDE)
            post, post_valid = reader.post.read(top, left, _SIDE, _SIDE)
            both = pre_valid & post_valid
            before.append(pre[both])
            after.append(post[both])
    return np.concatenate(before), np.concatenate(after)


def without_fill(pair: Pair) -> tuple[Pair, Samples, list[str]]:
    """Return the pair without undeclared fill values, samples of it, and warnings."""
    samples, warnings = _sample(pair), []
    for _ in range(_MOST_FILLS):
        images = []
        for source, values in zip((pair.pre, pair.post), samples, strict=True):
            fill = None if source.dtype == "uint8" else undeclared_fill(values, source.dtype)
            if fill is None:
                images.append(source)
                continue
            value, share = fill
            tiles = tuple(replace(tile, fills=(*tile.fills, value)) for tile in source.tiles)
            images.append(replace(source, tiles=tiles))
            warnings.append(
                f"{share:.1%} of the sampled pixels of {source.path.name} hold {value:.9g}, which the file does not "
                f"declare as no data. They were left out. If that is right: rio edit-info --nodata {value:.9g} FILE"
            )
        if (images[0], images[1]) == (pair.pre, pair.post):
            break
        pair = replace(pair, pre=images[0], post=images[1])
        samples = _sample(pair)
    return pair, samples, [*dict.fromkeys(warnings)]


def _collar_warnings(pair: Pair, samples: Samples) -> Iterator[str]:
    """Warn of pixels that are treated as a black border blurred by lossy compression."""
    for source in (pair.pre, pair.post):
        if pair.black_is_no_data and any(tile.lossy for tile in source.tiles):
            plain = replace(source, tiles=tuple(replace(tile, lossy=False) for tile in source.tiles))
            both = replace(pair, pre=plain) if source is pair.pre else replace(pair, post=plain)
            every = len(_sample(both)[0])
            if every > len(samples[0]):
                yield (
                    f"{1 - len(samples[0]) / every:.1%} of the sampled pixels of {source.path.name} are nearly black "
                    "next to a black border of a lossy image: they hold no data"
                )


def _measure_shift(pair: Pair) -> Shift:
    with pair.open() as reader:
        return estimate_shift(reader.read(top, left, SIDE, SIDE) for top, left in _windows(pair.grid))


def _coregister(pair: Pair, shift: Shift, *, local: bool) -> Pair:
    """Return the pair with the post-disaster image moved, if the shift is reliable."""
    grid = pair.grid
    if local and shift.local:
        middles = np.array(list(_windows(grid)), float)[[one.window for one in shift.local]] + SIDE / 2
        shifts = np.array([(one.rows, one.columns) for one in shift.local])
        field = estimate_field(middles, shifts, (grid.height, grid.width))
        if field is not None:
            rows, columns = (round(float(np.median(each))) for each in (field.rows, field.columns))
            rest = ShiftField(field.spacing, field.rows - rows, field.columns - columns)
            return replace(pair, shift=(columns, rows), field=rest)
    if shift.is_reliable and shift.size >= _SMALL_SHIFT:
        return replace(pair, shift=(round(shift.columns, 2), round(shift.rows, 2)))
    return pair


def _shift_warnings(shift: Shift | None, field: ShiftField | None) -> Iterator[str]:
    if shift is None:
        return
    if field is not None:
        yield "the shift between the images varies within them: the post-disaster image was moved accordingly"
    elif not shift.is_shared:
        yield (
            "the shift between the images varies within them without a pattern (relief, or a poor mosaic): "
            "the post-disaster image was not moved"
        )
    elif not shift.is_reliable:
        yield "no shift between the images could be measured: nothing was moved, compare them by eye first"
    elif _NO_SHIFT <= shift.size < _SMALL_SHIFT:
        yield (
            f"the post-disaster image is shifted by {shift.size:.1f} pixels; shifts below {_SMALL_SHIFT:.0f} pixels "
            "are not corrected"
        )
    elif shift.size > _LARGE_SHIFT:
        yield f"the post-disaster image was shifted by {shift.size:.1f} pixels, and was moved back"


def _stretches(
    pair: Pair, samples: Samples, values: tuple[float, float] | None
) -> tuple[Stretch | None, Stretch | None]:
    """Return one stretch for images in one unit: with two, changed light would look like damage."""
    if values is not None:
        return Stretch(*values), Stretch(*values)
    units = [_unit(source, sample) for source, sample in zip((pair.pre, pair.post), samples, strict=True)]
    stretches: dict[float | None, Stretch] = {}
    for unit in {unit for unit in units if unit is not None}:
        pooled = np.concatenate([sample for sample, own in zip(samples, units, strict=True) if own == unit])
        low, high = (float(value) for value in np.percentile(pooled, _PERCENTILES))
        stretches[unit] = Stretch(low, max(high, low + unit))
    return stretches.get(units[0]), stretches.get(units[1])


def _unit(source: Source, values: PixelValues) -> float | None:
    """Return the value of one grey level, for reflectance or more than 8 bits, else `None`."""
    if source.dtype == "uint8" or not len(values):
        return None
    # Not the largest value: it may be a glint, or a fill value.
    if source.dtype.startswith("float") and np.percentile(values, _PERCENTILES[1]) <= _REFLECTANCE:
        return 1 / 255
    return 1.0 if float(values.max()) > 255 else None


def _pair_warnings(pair: Pair, samples: Samples) -> Iterator[str]:
    grid, pre, post = pair.grid, pair.pre, pair.post
    low, high = _USUAL_PIXELS
    if not low <= grid.pixel <= high:
        yield f"pixels of {grid.pixel:.2f} m: models trained on xBD expect about 0.3 to 0.8 m"
    crs = CRS.from_string(grid.crs)
    smaller = min(reproject(each.extent.outline, each.extent.crs, crs).area for each in (pre, post))
    shared = grid.width * grid.height * grid.pixel**2 / smaller
    if pair.aoi is None and shared < _SMALL_OVERLAP:
        yield f"the images share only {shared:.1%} of the smaller one: is one of them cut, or misplaced?"
    if pre.taken is not None and post.taken is not None and pre.taken > post.taken:
        yield f"the pre-disaster image is dated {pre.taken}, the post-disaster one {post.taken}: swapped?"
    if not len(samples[0]):
        yield "none of the sampled pixels has data in both images"
        return
    if not pair.post_only and np.array_equal(*samples):
        yield "both images show the same pixels: was one named twice?"
    if pair.stretch[0] != pair.stretch[1]:
        yield "the images are in different units: each was stretched by itself, so changed light looks like change"
    for each in zip((pre, post), samples, pair.stretch, strict=True):
        yield from _value_warnings(*each)


def _value_warnings(source: Source, values: PixelValues, stretch: Stretch | None) -> Iterator[str]:
    """Warn if an image loses detail when its values become bytes."""
    low, high = stretch or Stretch(0, 255)
    clipped = float(((values < low) | (values > high)).any(axis=1).mean())
    if clipped > _CLIPPED:
        yield f"{clipped:.0%} of the pixels of {source.path.name} lie outside of {low:g} to {high:g} and are clipped"
    reached = float(np.percentile(values, _PERCENTILES[1]) - low) / (high - low)
    if stretch is not None and reached < _DIM:
        yield (
            f"the values of {source.path.name} reach only {reached:.0%} of the stretch that serves both images: "
            "is one of them in other units? See inference.images.stretch"
        )
    white = float((values == 255).all(axis=1).mean())
    if stretch is None and white > _WHITE:
        yield f"{white:.0%} of the pixels of {source.path.name} are white, as of a border or clouds: they count as data"
