"""A STAC catalogue or collection on disk: its items, grouped into acquisitions.

The network is not used: a link or an asset that is an address, or that leads out of the folder of the catalogue, is
left out and counted.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import pystac
import shapely
from pystac.errors import STACError
from pystac.serialization import identify_stac_object_type
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.campaign.acquisition import (
    Acquisition,
    Image,
    WarningCounts,
    polygons,
    read_date,
    read_images,
    wrap_antimeridian,
)
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.source import SOURCE_DRIVERS

ROOTS: Final = ("catalog.json", "collection.json")
"""Names of the file of a catalogue in its folder."""
EVENT: Final = "event_date"
"""Field of a catalogue or collection with the date of its event."""
_ACQUISITION: Final = ("catalog_id", "pl:strip_id")
"""Properties in which vendors name one pass of a satellite, whose tiles are items."""
_CLOUD: Final = ("tile:clouds_percent", "eo:cloud_cover")  # per cent; that of the tile before that of the whole image
_OFF_NADIR: Final = ("view:off_nadir",)
_MASKS: Final = {"udm", "udm2", "cloud", "cloud-mask", "clouds", "cloud-mask-raster"}
_NO_IMAGES: Final = {*_MASKS, "data-mask"}  # the last marks pixels that hold data
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_BROKEN: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, STACError, ShapelyError)


class _Item(NamedTuple):
    """One item: name of its acquisition, its date, its raster."""

    group: str
    taken: str | None
    image: Image


def read_stac(path: Path, event: str | None = None) -> tuple[list[Acquisition], str | None, WarningCounts]:
    """Return the acquisitions of a catalogue, the date of its event if known, and warnings.

    Args:
        path: of `catalog.json`, `collection.json` or another file of that kind.
        event: date of the event, as `read_date` returns it; default: the date in the catalogue.

    Raises:
        DataError: the file is not a STAC catalogue, or states an invalid date or several dates of the event.
    """
    files = _Files(path.resolve())
    items: list[_Item] = []
    stated: dict[str, Path] = {}
    for file, content in files.walk():
        if content.get("type") == "Feature":
            items += _read_item(file, content, files)
        elif (text := content.get(EVENT)) is not None:
            if event is None:
                _add_event(stated, file, str(text))
            elif read_date(str(text)) != event:
                files.warnings.add("dates of an event in the catalogue, replaced by --event-date", f"{text!r}")
    return _grouped(items), event or next(iter(stated), None), files.warnings


def _add_event(stated: dict[str, Path], path: Path, text: str) -> None:
    """Add the date of the event that a file states; `stated` holds the first file of each date."""
    event = read_date(text)
    if event is None:
        raise DataError(f"{path} states the {EVENT} {text!r}, which is not a date.", hint="Name it with --event-date.")
    stated.setdefault(event, path)
    if len(stated) > 1:
        statements = ", but ".join(f"{file} states the {EVENT} {date}" for date, file in stated.items())
        raise DataError(
            f"{statements}.",
            hint="Plan each event separately: name its own catalogue or collection. If it is one event, name its date "
            "with --event-date.",
        )


class _Files:
    """The files of a catalogue: JSON and rasters in its folder or below.

    Attributes:
        warnings: what was left out.
    """

    def __init__(self, top: Path) -> None:
        self._top, self.warnings = top, WarningCounts()

    def walk(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield file and content of the catalogue, and of all catalogues, collections and items below it."""
        waiting, seen = [self._top], {self._top}
        while waiting:
            file = waiting.pop()
            try:
                content = json.loads(file.read_bytes())
                if identify_stac_object_type(content) is None:
                    raise ValueError("neither catalogue, collection nor item")
                links = [str(link["href"]) for link in content.get("links", []) if link["rel"] in ("child", "item")]
            except _BROKEN as error:
                if file == self._top:
                    raise DataError(
                        f"{file} is not a STAC catalogue ({error}).",
                        hint="Name a catalog.json or collection.json, a folder of scenes, or a table of pairs.",
                    ) from error
                self.warnings.add("files of the catalogue that cannot be read, left out", f"{file.name} ({error})")
                continue
            yield file, content
            targets = (self.find(href, file.parent, "links") for href in links)
            new = [target for target in dict.fromkeys(targets) if target is not None and target not in seen]
            seen.update(new)
            waiting.extend(reversed(new))

    def find(self, href: str, base: Path, kind: str) -> Path | None:
        """Return the file of a link; count a link that leads out of the folder, or to no file."""
        try:
            path = (base / href).resolve()
            inside, exists = path.is_relative_to(self._top.parent) and not _ADDRESS.match(href), path.is_file()
        except (OSError, RuntimeError, TypeError, ValueError):
            # A name that is too long, links in a circle, no text, a null byte.
            inside, exists = True, False
        if inside and exists:
            return path
        reason = "whose file is missing" if inside else "that lead out of the folder of the catalogue, not followed"
        self.warnings.add(f"{kind} {reason}", href)
        return None


def _read_item(file: Path, content: dict[str, Any], files: _Files) -> Iterator[_Item]:
    """Yield an item, if it has a visual raster that can be assessed."""
    try:
        item = pystac.Item.from_dict(content, preserve_dict=False)
        href, when = _visual(item), item.datetime or item.common_metadata.start_datetime
        marked = [asset.href for key, asset in item.assets.items() if _MASKS & {key, *(asset.roles or ())}]
    except _BROKEN as error:
        files.warnings.add("items that cannot be read, left out", f"{file.name} ({error})")
        return
    if href is None:
        files.warnings.add(
            "items without a visual raster (asset or role visual, or a single GeoTIFF), left out", item.id
        )
        return
    path = files.find(href, file.parent, "assets")
    images, _ = ((), None) if path is None else read_images(path, files.warnings)
    masks = [mask for mask in (files.find(href, file.parent, "masks") for href in marked) if mask is not None]
    group = next((str(item.properties[key]) for key in _ACQUISITION if item.properties.get(key)), item.id)
    cloud, off_nadir = _stated(item, _CLOUD, 100, files.warnings), _stated(item, _OFF_NADIR, 90, files.warnings)
    for raster in images:
        outline = _outline(raster, item.geometry, files.warnings)
        share = None if cloud is None else cloud / 100
        image = replace(raster, outline=outline, cloud=share, off_nadir=off_nadir, masks=tuple(masks))
        yield _Item(group, None if when is None else read_date(when.isoformat()), image)


def _stated(item: pystac.Item, names: Iterable[str], most: float, warnings: WarningCounts) -> float | None:
    """Return the first of some properties that is stated; a value out of range, such as -1, counts as not stated."""
    name = next((name for name in names if item.properties.get(name) is not None), None)
    if name is None:
        return None
    value = item.properties[name]
    if isinstance(value, int | float) and 0 <= value <= most:
        return float(value)
    warnings.add(f"items whose {name} is not a number from 0 to {most:g}, read as not stated", f"{value!r}")
    return None


def _visual(item: pystac.Item) -> str | None:
    """Return the link of the asset in colour."""
    rasters = {key: asset for key, asset in item.assets.items() if Path(asset.href).suffix.lower() in SOURCE_DRIVERS}
    named = [asset for key, asset in rasters.items() if "visual" in (key, *(asset.roles or ()))]
    plain = [asset for key, asset in rasters.items() if not _NO_IMAGES & {key, *(asset.roles or ())}]
    return next((assets[0].href for assets in (named, plain) if len(assets) == 1), None)


def _outline(image: Image, geometry: dict[str, Any] | None, warnings: WarningCounts) -> BaseGeometry:
    """Return the area in which an image has data: the part of its raster inside the geometry of its item."""
    if geometry is None:
        return image.outline
    try:
        stated = polygons(shapely.make_valid(shapely.from_geojson(json.dumps(geometry))))
        inside = polygons(image.outline.intersection(wrap_antimeridian(stated)))
    except ShapelyError:
        inside = shapely.Polygon()
    if inside.is_empty:
        warnings.add("items with a geometry away from their raster, whose outline was used", image.path.name)
        return image.outline
    return inside


def _grouped(items: list[_Item]) -> list[Acquisition]:
    """Return the acquisitions; a name that occurs on two days gives two of them."""
    groups: defaultdict[str, defaultdict[str, list[_Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        groups[item.group][(item.taken or "")[:10]].append(item)
    return [
        Acquisition(
            group if len(days) == 1 else f"{group}_{day or 'undated'}",
            min((item.taken for item in of_day if item.taken), default=None),
            tuple({item.image.path: item.image for item in of_day}.values()),
        )
        for group, days in groups.items()
        for day, of_day in days.items()
    ]
