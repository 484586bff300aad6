"""Acquisitions of a catalogue: rasters, their outlines, dates and viewing conditions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import shapely
from rasterio.crs import CRS
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.grid import COARSEST, pixel_size, reproject, wrap_longitude
from xview2_siamese_unet.raster.source import read_source
from xview2_siamese_unet.xbd.georeference import utm_zone

WGS84: Final = CRS.from_epsg(4326)
_DATE: Final = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)(?:[T ]+(\S.*))?")
_DAY_IN_NAME: Final = re.compile(
    r"(?<![0-9A-Za-z])(20\d\d)([-_]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?:T?\d{6})?(?!\d)"
)


@dataclass(frozen=True, slots=True)
class Image:
    """One raster of an acquisition.

    Attributes:
        path: of the file.
        outline: of the area that it covers, longitude and latitude (WGS 84).
        crs: its own coordinate reference system.
        pixel: side of a pixel in metres.
        cloud: share of the area below clouds as the catalogue states it, 0 to 1.
        off_nadir: angle in degrees as the catalogue states it.
        masks: files of the vendor that mark clouds or unusable pixels.
    """

    path: Path
    outline: BaseGeometry
    crs: str
    pixel: float
    cloud: float | None = None
    off_nadir: float | None = None
    masks: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Rasters that one satellite took in one pass.

    Attributes:
        id: name in the plan.
        taken: `2023-02-08`, or with a time `2023-02-08T08:30:15Z` (UTC).
        images: its rasters, in one UTM zone or several.
    """

    id: str
    taken: str | None
    images: tuple[Image, ...]


class WarningCounts:
    """Counts of inputs that were left out or replaced, by reason."""

    def __init__(self) -> None:
        self._examples: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, reason: str, example: object) -> None:
        """Count an input: a reason such as "scenes without a date, left out", and its name."""
        self._examples[reason].append(str(example))

    def __iter__(self) -> Iterator[str]:
        """Yield a sentence for each reason."""
        return (f"{reason}: {len(examples)} (first: {examples[0]})" for reason, examples in self._examples.items())


def read_images(path: Path, warnings: WarningCounts) -> tuple[tuple[Image, ...], str | None]:
    """Return the rasters of an image (a file or a folder of tiles), and the date that its metadata state.

    Only headers are read. Rasters that cannot be used are left out and counted.
    """
    try:
        source = read_source(path)
    except DataError as error:
        warnings.add("rasters that cannot be used, left out", error.message)
        return (), None
    for warning in source.warnings:
        warnings.add("warnings on rasters", warning)
    images = []
    for tile in source.tiles:
        outline = polygons(reproject(tile.extent.outline, tile.extent.crs, WGS84))
        if outline.is_empty:
            warnings.add("rasters without a place on Earth, left out", tile.path.name)
            continue
        pixel = pixel_size(tile.extent, CRS.from_epsg(utm_zone(outline.centroid.x, outline.centroid.y)))
        if pixel <= COARSEST:
            images.append(Image(tile.path, outline, tile.extent.crs.to_string(), pixel))
        else:
            warnings.add(
                f"rasters with pixels above {COARSEST:g} m, too coarse to show damage to buildings, left out",
                tile.path.name,
            )
    return tuple(images), read_date(source.taken or "")


def read_date(text: str) -> str | None:
    """Return a date of ISO 8601 or of a TIFF in the format of `Acquisition.taken`, `None` for other texts.

    A time without a zone is UTC.
    """
    match = _DATE.fullmatch(text.strip())
    if not match:
        return None
    year, month, day, time = match.groups()
    try:
        when = datetime.fromisoformat(f"{year}-{month}-{day}" + (f"T{time}" if time else ""))
    except ValueError:
        return None
    if not time:
        return f"{year}-{month}-{day}"
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def date_in_name(name: str) -> str | None:
    """Return the one day that a name holds, as in `2023-02-08_city` or `20230208_083015_a.tif`, else `None`."""
    days = {f"{year}-{month}-{day}" for year, _, month, day in _DAY_IN_NAME.findall(name)}
    day = days.pop() if len(days) == 1 else None
    return day and read_date(day)


def is_after(taken: str, event: str) -> bool | None:
    """Return whether a date is that of the event or later; `None` on the day of the event if either has no time."""
    if taken[:10] == event[:10] and (len(taken) == 10 or len(event) == 10):
        return None
    return taken >= event


def wrap_antimeridian(shape: BaseGeometry) -> BaseGeometry:
    """Return a shape in degrees; if it reaches the antimeridian, with copies 360 degrees to the west and the east."""
    west, _, east, _ = shape.bounds
    return shape if west > -179 and east < 179 else wrap_longitude(shape, WGS84)


def polygons(shape: BaseGeometry) -> BaseGeometry:
    """Return the parts of a valid shape that have an area."""
    if shape.geom_type in ("Polygon", "MultiPolygon"):
        return shape
    parts = shapely.get_parts(shapely.get_parts(shape))
    parts = parts[shapely.get_dimensions(parts) == 2]
    return shapely.union_all(parts) if len(parts) else shapely.Polygon()
