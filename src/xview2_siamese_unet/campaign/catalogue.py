"""The catalogue of a campaign: STAC on disk, a folder of scenes, or a table of pairs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.campaign.acquisition import (
    WGS84,
    Acquisition,
    WarningCounts,
    date_in_name,
    is_after,
    polygons,
    read_date,
    read_images,
)
from xview2_siamese_unet.campaign.stac import ROOTS, read_stac
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.raster.source import SOURCE_DRIVERS

NO_PRE: Final = "none"
"""Name in place of a pre-disaster image: only the post-disaster image is assessed."""
_TABLES: Final = (".csv", ".parquet", ".geoparquet")
_KNOWN: Final = {"pre", "post", "pre_date", "post_date", "event", "geometry"}
Pairs = Mapping[tuple[str | None, str], BaseGeometry | None]
"""Ids of a pre-disaster acquisition (`None`: no image) and a post-disaster one → area of the pair; `None`: no limit."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Acquisitions and pairs that a campaign chooses from.

    Attributes:
        before: acquisitions before the event, by id.
        after: acquisitions after it.
        pairs: the only pairs that may be chosen; `None`: any.
        event: date of the event, if pairs are chosen by it.
        warnings: what was left out.
    """

    before: Mapping[str, Acquisition]
    after: Mapping[str, Acquisition]
    pairs: Pairs | None = None
    event: str | None = None
    warnings: WarningCounts = field(default_factory=WarningCounts)


def read_catalogue(path: Path, event: str | None = None) -> Catalogue:
    """Read the metadata of a catalogue and the headers of its rasters.

    Args:
        path: a STAC catalogue or collection (`.json`, or its folder), a folder of scenes, or a table of pairs (`.csv`,
            `.parquet`).
        event: date of the event; default: the date in the catalogue. A table of pairs needs none.

    Raises:
        ConfigError: the date of the event is missing or invalid.
        DataError: nothing can be read, a STAC catalogue has several events, or one side of the event has no
            acquisition.
    """
    if path.suffix.lower() in _TABLES and path.is_file():
        if event is not None:
            raise ConfigError(f"{path} names pairs, which --event-date does not change.", hint="Leave it out.")
        return _read_pairs(path)
    if event is not None:
        event = _event(path, event)  # an invalid date is refused before any raster is opened
    top = next((path / name for name in ROOTS if (path / name).is_file()), path)
    if top.is_file() and top.suffix.lower() == ".json":
        acquisitions, date, warnings = read_stac(top, event)
    elif top.is_dir():
        (acquisitions, warnings), date = _read_folder(top), event
    else:
        raise DataError(
            f"{path} is not a catalogue.",
            hint="Name a STAC catalogue (.json or its folder), a folder of scenes, or a table of pairs (.csv, "
            ".parquet).",
        )
    return _divide(path, acquisitions, _event(path, date), warnings)


def _event(path: Path, text: str | None) -> str:
    if text is None:
        raise ConfigError(f"{path} states no date of the event.", hint="Name it: --event-date 2023-02-06T01:17.")
    event = read_date(text)
    if event is None:
        raise ConfigError(f"--event-date {text!r} is not a date.", hint="Write 2023-02-06, or 2023-02-06T01:17 in UTC.")
    return event


def _divide(path: Path, acquisitions: Iterable[Acquisition], event: str, warnings: WarningCounts) -> Catalogue:
    """Divide acquisitions by the date of the event."""
    sides: dict[bool, dict[str, Acquisition]] = {False: {}, True: {}}
    for each in acquisitions:
        after = None if each.taken is None else is_after(each.taken, event)
        if each.taken is None:
            warnings.add("acquisitions without a date, left out", each.id)
        elif after is None:
            warnings.add("acquisitions on the day of the event that may be before or after it, left out", each.id)
        else:
            sides[after][each.id] = each
    for after, word in ((False, "before"), (True, "after")):
        if not sides[after]:
            raise DataError(
                f"{path} has no usable acquisition {word} the event of {event} ({len(sides[not after])} on the other "
                "side).",
                hint=" ".join(["Check the date of the event.", *(f"{warning}." for warning in warnings)]),
            )
    return Catalogue(sides[False], sides[True], event=event, warnings=warnings)


def _read_folder(folder: Path) -> tuple[list[Acquisition], WarningCounts]:
    """Return one acquisition for each raster of a folder, and for each folder of tiles in it."""
    warnings = WarningCounts()
    shown = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    usable = [path for path in shown if path.is_dir() or path.suffix.lower() in SOURCE_DRIVERS]
    scenes = (_read_scene(path.name, path, warnings) for path in usable)
    return [scene for scene in scenes if scene is not None], warnings


def _read_scene(name: str, path: Path, warnings: WarningCounts, taken: str | None = None) -> Acquisition | None:
    """Return a scene, dated by `taken`, else by its metadata unless its name disagrees, else by its name."""
    images, stated = read_images(path, warnings)
    named = date_in_name(path.stem)
    if not taken and named and stated and named != stated[:10]:
        warnings.add("scenes with another date in their metadata than in their name, which was used", path.name)
        stated = None
    return Acquisition(name, taken or stated or named, images) if images else None


def _read_pairs(path: Path) -> Catalogue:
    """Return the pairs of a table."""
    table, scenes = _read_table(path), _Scenes(path)
    sides: dict[str, dict[str, Acquisition]] = {"pre": {}, "post": {}}
    pairs: dict[tuple[str | None, str], BaseGeometry | None] = {}
    if unknown := sorted({*table.columns} - _KNOWN):
        scenes.warnings.add(f"columns of {path.name} that are not used", ", ".join(unknown))
    for line, row in zip(table.index, table.to_dict("records"), strict=True):
        pair = {side: scenes.read(row, side, line) for side in sides if row[side] != NO_PRE or side == "post"}
        if None in pair.values():
            scenes.warnings.add(f"pairs of {path.name} with an image that cannot be used, left out", f"line {line}")
            continue
        pre, post = pair.get("pre"), pair["post"]
        if pre is not None and post is not None and (pre.taken or "")[:10] > (post.taken or "9")[:10]:
            scenes.warnings.add(f"pairs of {path.name} whose pre is later than their post, left out", f"line {line}")
            continue
        area = _area_of(row) if "geometry" in table else None
        if area is not None and area.is_empty:
            scenes.warnings.add(f"pairs of {path.name} without a polygon, left out", f"line {line}")
            continue
        ids = {side: scene.id for side, scene in pair.items() if scene is not None}
        for side, scene in pair.items():
            if scene is not None:
                sides[side][scene.id] = scene
        key = ids.get("pre"), ids["post"]
        if key in pairs:
            raise DataError(f"{path}, line {line} repeats a pair.", hint="List each pair once.")
        pairs[key] = area
    if not pairs:
        raise DataError(f"{path} has no usable pair.", hint=" ".join(f"{warning}." for warning in scenes.warnings))
    return Catalogue(sides["pre"], sides["post"], pairs, warnings=scenes.warnings)


def _area_of(row: Mapping[Any, Any]) -> BaseGeometry:
    """Return the polygons of a row, empty if it has none."""
    shape = row["geometry"]
    return shapely.Polygon() if shape is None else polygons(shapely.make_valid(shape))


class _Scenes:
    """The images of a table of pairs, each read once; paths are relative to the folder of the table."""

    def __init__(self, table: Path) -> None:
        self._table, self.warnings = table, WarningCounts()
        self._read: dict[str, tuple[str, Acquisition | None]] = {}

    def read(self, row: Mapping[Any, Any], side: str, line: int) -> Acquisition | None:
        """Return the acquisition in a column, `None` if it cannot be used.

        Raises:
            DataError: there is no path, the date is invalid, or the image has two dates.
        """
        where, path, text = f"{self._table}, line {line}", row[side], row.get(f"{side}_date") or ""
        if not path:
            raise DataError(f"{where}: {side} is empty.", hint="Name an image; pre may also be none.")
        date = read_date(text)
        if text and date is None:
            raise DataError(f"{where}: {side}_date {text!r} is not a date.", hint="Write 2023-02-08.")
        if path not in self._read:
            count = sum(Path(other).name == Path(path).name for other in self._read)
            name = Path(path).name + (f"_{count + 1}" if count else "")
            self._read[path] = text, _read_scene(name, self._table.parent / path, self.warnings, date)
        if self._read[path][0] != text:
            raise DataError(
                f"{where}: {path} has another date than on an earlier line.", hint="Give each image one date."
            )
        return self._read[path][1]


def read_csv(path: Path) -> pd.DataFrame:
    """Return the cells of a CSV as text, by line number; the separator is a comma, semicolon or tab.

    Raises:
        DataError: the file cannot be read, or a row has more cells than columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            delimiter = max(",;\t", key=head.count)
            names = _lower(path, next(csv.reader([head], delimiter=delimiter), []))
            reader = csv.reader(file, delimiter=delimiter)
            rows = [(reader.line_num + 1, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}).", hint="Save it as CSV in UTF-8.") from error
    if longer := [line for line, row in rows if len(row) > len(names)]:
        raise DataError(
            f"{path}, line {longer[0]} has more cells than columns.", hint="Put text with commas in quotes."
        )
    filled = [row + [""] * (len(names) - len(row)) for _, row in rows]
    return pd.DataFrame(filled, index=[line for line, _ in rows], columns=names, dtype=str)


def _lower(path: Path, names: Iterable[object]) -> list[str]:
    """Return the names of columns in lower case, without spaces around them."""
    lower = [str(name).strip().lower() for name in names]
    if len({*lower}) < len(lower):
        raise DataError(f"{path} repeats a column ({', '.join(lower)}).", hint="Give each column its own name.")
    return lower


def _read_table(path: Path) -> pd.DataFrame:
    """Return the rows of a table as text, and its polygons in degrees.

    Raises:
        DataError: the file is not a table, lacks the column `pre` or `post`, or has several events.
    """
    if path.suffix.lower() == ".csv":
        table = read_csv(path)
    else:
        try:
            table = gpd.read_parquet(path).to_crs(WGS84).reset_index(drop=True)
            table = table.rename(columns={table.geometry.name: "geometry"}).set_geometry("geometry")
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read ({error}).", hint="Save it as GeoParquet, or as CSV.") from error
        table.columns = _lower(path, table.columns)
        for name in {*table.columns} - {"geometry"}:
            table[name] = ["" if pd.isna(value) else str(value).strip() for value in table[name]]
    if missing := {"pre", "post"} - {*table.columns}:
        raise DataError(
            f"{path} has no column {' and '.join(sorted(missing))}, but {', '.join(table.columns)}.",
            hint="Give each row the paths of a pair in the columns pre and post.",
        )
    if len(events := sorted({*table.get("event", [])} - {""})) > 1:
        raise DataError(
            f"{path} holds pairs of {len(events)} events ({', '.join(events[:3])}).", hint="Plan each event separately."
        )
    return table
