"""Two images of one's own → one pair on one grid, or a sentence that says why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.crs import CRS

from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.inference.register import SIDE, Shift, estimate_shift
from xview2_siamese_unet.inference.register_field import estimate_field
from xview2_siamese_unet.raster.grid import Area, Grid, clip, common_grid, reproject, wrap_longitude
from xview2_siamese_unet.raster.no_data import undeclared_fill
from xview2_siamese_unet.raster.reader import Pair, ShiftField, Stretch
from xview2_siamese_unet.raster.source import Source, read_source

FloatArray = npt.NDArray[np.float32]
USUAL_PIXELS: Final = (0.2, 1.5)
"""Metres; the training images of xBD lie well inside."""
COARSEST: Final = 3.0
_SAMPLES: Final = 6  # windows along each axis
_SIDE: Final = 96
_MOST_FILLS: Final = 2  # values of one date: a low and a high one
_PLACES: Final = 12  # windows along each axis where the shift is measured
_LEFT_ALONE: Final = 0.25  # pixels; moving by less would only blur
_LARGE_SHIFT: Final = 3.0
_PERCENTILES: Final = (0.5, 99.5)
_LITTLE: Final = 0.1  # of the smaller image
_CLIPPED: Final = 0.05  # of the pixels; a stretch by percentiles clips a hundredth
_DIM: Final = 0.25  # of the stretch
_WHITE: Final = 0.05  # of the pixels
_REFLECTANCE: Final = 2.0  # 1 is white; snow in the sun lies above it, bytes lie far above it


@dataclass(frozen=True, slots=True)
class Harmonised:
    """A pair that can be read window by window.

    Attributes:
        pair: both dates on one grid.
        warnings: what a person should know about them.
        shift: measured between the dates, unless that is switched off.
        footprints: GeoDataFrame of the user's buildings on that grid, if there are any.
        zones: GeoDataFrame of `name` and polygons in degrees to count buildings by, if there are any.
    """

    pair: Pair
    warnings: tuple[str, ...]
    shift: Shift | None = None
    footprints: Any = None
    zones: Any = None


def harmonise(params: InferenceParams) -> Harmonised:
    """Return both dates on one grid, in one radiometry.

    Raises:
        ConfigError: an image is not named.
        DataError: an image that cannot be used, two that do not overlap, pixels too coarse, a grid too large.
    """
    pre = read_source(_named(params.pre, "pre"), params.images.pre_bands)
    post = read_source(_named(params.post, "post"), params.images.post_bands)
    area, doubts = (None, ()) if params.aoi is None else _area(params.aoi.expanduser())
    grid = common_grid(pre.extent, post.extent, params.pixel_size, area)
    _check_size(grid, params)
    aoi = None if area is None else clip(area, shapely.box(*grid.bounds), CRS.from_string(grid.crs))
    footprints, zones, more = _vectors(params, grid, shapely.box(*grid.bounds) if aoi is None else aoi)
    pair = Pair(grid, pre, post, black_is_no_data=params.images.black_is_no_data, aoi=aoi)
    pair, samples, filled = _without_fill(pair)
    pair = replace(pair, stretch=_stretches(pair, samples, params.images.stretch))
    shift = None if params.registration == "off" else _measure(pair)
    if shift is not None:
        pair = _register(pair, shift, place_by_place=params.registration == "auto")
    warnings = (
        *_said(pre, "pre-disaster"),
        *_said(post, "post-disaster"),
        *filled,
        *_collars(pair, samples),
        *_warnings(pair, samples),
        *_doubts(shift, pair.field),
        *doubts,
        *more,
    )
    return Harmonised(pair, warnings, shift, footprints, zones)


def _vectors(params: InferenceParams, grid: Grid, overlap: Any) -> tuple[Any, Any, tuple[str, ...]]:  # noqa: ANN401
    """Return footprints on the grid and zones in degrees, and what a person should know about them."""
    from xview2_siamese_unet.inference import footprints as vectors  # noqa: PLC0415  geopandas is slow to import

    place = "the overlap of the images" if params.aoi is None else "the area of interest"
    buildings = zones = None
    warnings: list[str] = []
    if params.footprints is not None:
        given = vectors.given_buildings(params.footprints.expanduser(), grid.crs, params.buildings.id_column)
        buildings, warnings = given.frame, [*given.warnings, *vectors.outside(given, overlap, "footprints", place)]
    if params.zones is not None:
        given = vectors.given_zones(params.zones.expanduser(), params.zone_column)
        wgs84 = CRS.from_epsg(4326)
        degrees = wrap_longitude(reproject(overlap, CRS.from_string(grid.crs), wgs84), wgs84)
        zones, warnings = given.frame, [*warnings, *given.warnings, *vectors.outside(given, degrees, "zones", place)]
    return buildings, zones, tuple(warnings)


def _area(path: Path) -> tuple[Area, tuple[str, ...]]:
    from xview2_siamese_unet.inference.footprints import given_area  # noqa: PLC0415  geopandas is slow to import

    given = given_area(path)
    return Area(CRS.from_epsg(4326), given.frame.geometry.union_all()), given.warnings


def _named(path: Path | None, date: str) -> Path:
    if path is None:
        raise ConfigError(
            f"inference.{date}",
            found="nothing",
            allowed="a GeoTIFF, a VRT, or a folder of GeoTIFF tiles",
            remedy="run kedro assess PRE POST --out DIR",
        )
    return path.expanduser()


def _check_size(grid: Grid, params: InferenceParams) -> None:
    if grid.pixel > COARSEST:
        raise DataError(
            "inference.pre and inference.post",
            found=f"pixels of {grid.pixel:.2f} m",
            allowed=f"up to {COARSEST:g} m: in coarser ones no damage to a building is to be seen",
            remedy="use images of higher resolution",
        )
    if grid.width * grid.height > params.max_pixels:
        raise DataError(
            "inference.pre and inference.post",
            found=f"an overlap of {grid.width} × {grid.height} pixels",
            allowed=f"up to {params.max_pixels} pixels",
            remedy="cut the images to the place in question, or raise inference.max_pixels",
        )


def _sample(pair: Pair) -> tuple[FloatArray, FloatArray]:
    """Return values (n, 3) of both dates where both hold data, from small windows from edge to edge of the grid.

    Borders of fill values lie at the edges.
    """
    before, after = [np.empty((0, 3), np.float32)], [np.empty((0, 3), np.float32)]
    with pair.open() as reader:
        for top, left in _places(pair.grid, _SIDE, _SAMPLES):
            (pre, seen_before), (post, seen_after) = (
                d.read(top, left, _SIDE, _SIDE) for d in (reader.pre, reader.post)
            )
            both = seen_before & seen_after
            before.append(pre[both])
            after.append(post[both])
    return np.concatenate(before), np.concatenate(after)


def _without_fill(pair: Pair) -> tuple[Pair, tuple[FloatArray, FloatArray], list[str]]:
    """Return the pair without fill values that no header declares, samples of it, and a warning for each value."""
    samples, warnings = _sample(pair), []
    for _ in range(_MOST_FILLS):
        dates = []
        for source, values in zip((pair.pre, pair.post), samples, strict=True):
            found = None if source.dtype == "uint8" else undeclared_fill(values, source.dtype)
            if found is None:
                dates.append(source)
                continue
            fill, share = found
            tiles = tuple(replace(tile, fills=(*tile.fills, fill)) for tile in source.tiles)
            dates.append(replace(source, tiles=tiles))
            warnings.append(
                f"{share:.1%} of the sampled pixels of {source.path.name} hold {fill:.9g}, which the file does not "
                f"declare as no data. They were left out. If that is right: rio edit-info --nodata {fill:.9g} FILE"
            )
        if (dates[0], dates[1]) == (pair.pre, pair.post):
            break
        pair = replace(pair, pre=dates[0], post=dates[1])
        samples = _sample(pair)
    return pair, samples, warnings


def _collars(pair: Pair, samples: tuple[FloatArray, FloatArray]) -> Iterator[str]:
    """Count the pixels that are taken for a black border blurred by lossy compression."""
    for source in (pair.pre, pair.post):
        if pair.black_is_no_data and any(tile.lossy for tile in source.tiles):
            plain = replace(source, tiles=tuple(replace(tile, lossy=False) for tile in source.tiles))
            both = replace(pair, pre=plain) if source is pair.pre else replace(pair, post=plain)
            every = len(_sample(both)[0])
            if every > len(samples[0]):
                yield (
                    f"{1 - len(samples[0]) / every:.1%} of the sampled pixels of {source.path.name} are nearly black "
                    "beside a black border of a lossy image: they hold no data"
                )


def _measure(pair: Pair) -> Shift:
    with pair.open() as reader:
        return estimate_shift(reader.read(top, left, SIDE, SIDE) for top, left in _places(pair.grid))


def _places(grid: Grid, side: int = SIDE, most: int = _PLACES) -> Iterator[tuple[int, int]]:
    """Yield first row and column of windows from edge to edge that overlap by half where the grid is small."""
    axes = [max(length - side, 0) for length in (grid.height, grid.width)]
    firsts = [np.linspace(0, last, min(most, last // (side // 2) + 1)).astype(int) for last in axes]
    return ((int(top), int(left)) for top in firsts[0] for left in firsts[1])


def _register(pair: Pair, shift: Shift, *, place_by_place: bool) -> Pair:
    """Return the pair with the image after moved as far as the shift is to be trusted."""
    grid = pair.grid
    if place_by_place and shift.local:
        middles = np.array(list(_places(grid)), float)[[one.window for one in shift.local]] + SIDE / 2
        local = np.array([(one.rows, one.columns) for one in shift.local])
        field = estimate_field(middles, local, (grid.height, grid.width))
        if field is not None:
            rows, columns = (round(float(np.median(each))) for each in (field.rows, field.columns))
            rest = ShiftField(field.spacing, field.rows - rows, field.columns - columns)
            return replace(pair, shift=(columns, rows), field=rest)
    if shift.sure and shift.size > _LEFT_ALONE:
        return replace(pair, shift=(round(shift.columns, 2), round(shift.rows, 2)))
    return pair


def _doubts(shift: Shift | None, field: ShiftField | None) -> Iterator[str]:
    if shift is None:
        return
    if field is not None:
        yield "the shift between the images differs from place to place: the post-disaster image was moved accordingly"
    elif not shift.is_shared:
        yield (
            "the shift between the images differs from place to place without a pattern (relief, or a poor mosaic): "
            "the post-disaster image was not moved"
        )
    elif not shift.sure:
        yield "no shift between the images could be measured: nothing was moved, compare them by eye first"
    elif shift.size > _LARGE_SHIFT:
        yield f"the post-disaster image was shifted by {shift.size:.1f} pixels, and was moved back"


def _stretches(
    pair: Pair, samples: tuple[FloatArray, FloatArray], given: tuple[float, float] | None
) -> tuple[Stretch | None, Stretch | None]:
    """One stretch for all dates in one unit that need one: one for each would show damage where light has changed."""
    if given is not None:
        return Stretch(*given), Stretch(*given)
    units = [_unit(source, values) for source, values in zip((pair.pre, pair.post), samples, strict=True)]
    made = {unit: _stretch(samples, units, unit) for unit in set(units) if unit is not None}
    pre, post = (None if unit is None else made[unit] for unit in units)
    return pre, post


def _unit(source: Source, values: FloatArray) -> float | None:
    """Return the value that is about one grey level: that of reflectance, or that of more bits; `None` for bytes."""
    if source.dtype == "uint8" or not len(values):
        return None
    # Not the largest value: it may be a glint, or a fill value.
    if source.dtype.startswith("float") and np.percentile(values, _PERCENTILES[1]) <= _REFLECTANCE:
        return 1 / 255
    return 1.0 if float(values.max()) > 255 else None


def _stretch(samples: tuple[FloatArray, FloatArray], units: list[float | None], unit: float) -> Stretch:
    pooled = np.concatenate([values for values, own in zip(samples, units, strict=True) if own == unit])
    low, high = (float(value) for value in np.percentile(pooled, _PERCENTILES))
    return Stretch(low, max(high, low + unit))


def _said(source: Source, date: str) -> Iterator[str]:
    return (f"{date} image: {warning}" for warning in source.warnings)


def _warnings(pair: Pair, samples: tuple[FloatArray, FloatArray]) -> Iterator[str]:
    low, high = USUAL_PIXELS
    if not low <= pair.grid.pixel <= high:
        yield f"pixels of {pair.grid.pixel:.2f} m: models trained on xBD have seen about 0.3 to 0.8 m"
    shared = _shared(pair)
    if pair.aoi is None and shared < _LITTLE:
        yield f"the images share only {shared:.1%} of the smaller one: is one of them cut, or misplaced?"
    if _later(pair.pre, pair.post):
        yield f"the pre-disaster image is dated {pair.pre.taken}, the post-disaster one {pair.post.taken}: swapped?"
    if not len(samples[0]):
        yield "none of the sampled pixels has data in both images"
        return
    if np.array_equal(*samples):
        yield "both images show the same pixels: was one named twice?"
    if pair.stretch[0] != pair.stretch[1]:
        yield "the images are in different units: each was stretched by itself, so changed light looks like change"
    for each in zip((pair.pre, pair.post), samples, pair.stretch, strict=True):
        yield from _doubtful_values(*each)


def _shared(pair: Pair) -> float:
    """Return the share of the smaller image that lies in the grid."""
    crs = CRS.from_string(pair.grid.crs)
    areas = [reproject(each.extent.outline, each.extent.crs, crs).area for each in (pair.pre, pair.post)]
    return pair.grid.width * pair.grid.height * pair.grid.pixel**2 / min(areas)


def _doubtful_values(source: Source, values: FloatArray, stretch: Stretch | None) -> Iterator[str]:
    """Warn where the bytes of a date show less than its values."""
    low, high = stretch or Stretch(0, 255)
    clipped = float(((values < low) | (values > high)).any(axis=1).mean())
    if clipped > _CLIPPED:
        yield f"{clipped:.0%} of the pixels of {source.path.name} lie outside of {low:g} to {high:g} and are clipped"
    reached = float(np.percentile(values, _PERCENTILES[1]) - low) / (high - low)
    if stretch is not None and reached < _DIM:
        yield (
            f"the values of {source.path.name} reach only {reached:.0%} of the stretch that serves both dates: "
            "is one of them in other units? See inference.images.stretch"
        )
    white = float((values == 255).all(axis=1).mean())
    if stretch is None and white > _WHITE:
        yield f"{white:.0%} of the pixels of {source.path.name} are white, as of a border or clouds: they count as data"


def _later(pre: Source, post: Source) -> bool:
    return pre.taken is not None and post.taken is not None and pre.taken > post.taken
