"""Counts of buildings by class, 500 m cell and zone; those not assessed are counted separately."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from rasterio.crs import CRS

from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.inference.buildings import ABSTAINED, ASSESSED, NOT_ASSESSED, OBSCURED
from xview2_siamese_unet.raster.grid import wrap_longitude
from xview2_siamese_unet.types import Int64Array

CELL: Final = 500
"""Metres; the cells of other rapid damage products."""
OUTSIDE: Final = "outside of all zones"
_CLASSES: Final = tuple(code.word for code in SCORED)
_PARTLY: Final = r"only \d+% of it .*"
_UNKNOWN: Final = (ABSTAINED, NOT_ASSESSED)
NOTE: Final = (
    "Preliminary and automated; needs a person's check; not EMS-98. A view from above under-reports damage. "
    "Not for sole use in decisions on safety."
)


class Zoned(NamedTuple):
    """The zones, and the zone of each building.

    Attributes:
        names: one per zone, in the order of the file.
        first: number of the first zone that holds each building, -1 if none does.
        several: number of buildings in more than one zone.
    """

    names: list[str]
    first: Int64Array
    several: int


def assign_zones(buildings: gpd.GeoDataFrame, zones: gpd.GeoDataFrame | None) -> Zoned | None:
    """Return the zones (in degrees) that hold a point inside each building."""
    if zones is None:
        return None
    numbers, names = pd.factorize(zones["name"])
    shapes = zones.geometry.to_numpy().copy()
    west, _, east, _ = shapely.bounds(shapes).T
    crossing = (west <= -180) | (east >= 180) | (east - west > 180)  # 180 degrees of longitude
    shapes[crossing] = [wrap_longitude(shape, CRS.from_user_input(zones.crs)) for shape in shapes[crossing]]
    points = _points(buildings).to_crs(zones.crs).to_numpy()
    point, row = shapely.STRtree(shapes).query(points, predicate="intersects")
    pairs = np.unique([point, numbers[row]], axis=1)  # sorted: the first zone of a building comes first
    inside, start, count = np.unique(pairs[0], return_index=True, return_counts=True)
    first = np.full(len(buildings), -1)
    first[inside] = pairs[1, start]
    return Zoned(list(names), first, int((count > 1).sum()))


class Tally:
    """Counts of the buildings of one assessment, or of several parts of an area.

    A building counts once at each level: at a point inside it, and in the first of overlapping zones.

    Attributes:
        reasons: status → reason → number of buildings without a class.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, Counter[str]] = {NOT_ASSESSED: Counter(), ABSTAINED: Counter()}
        self._all: Counter[str] = Counter()
        self._cells: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._zones: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._names: list[str] | None = None
        self._several = 0

    def add(self, buildings: pd.DataFrame, cells: Sequence[str], zoned: Zoned | None = None) -> Self:
        """Count buildings with `status`, `reason` and `damage_label`.

        Args:
            buildings: any part of them.
            cells: name of the cell of each.
            zoned: the same zones for all parts.
        """
        kinds = _kinds(buildings).tolist()  # Counter is ten times as fast as pandas if there are thousands of zones
        self._all.update(kinds)
        for cell, kind in zip(cells, kinds, strict=True):
            self._cells[cell][kind] += 1
        if zoned is not None:
            self._names, self._several = zoned.names, self._several + zoned.several
            for number, kind in zip(zoned.first.tolist(), kinds, strict=True):
                self._zones[number][kind] += 1
        for status, reasons in self.reasons.items():
            texts = buildings.loc[buildings["status"] == status, "reason"]
            reasons.update(texts.astype("str").str.replace(_PARTLY, "mostly hidden", regex=True).fillna("unknown"))
        return self

    def table(self) -> pd.DataFrame:
        """Return a row for all buildings, each 500 m cell that holds any, and each zone.

        Columns: `level`, `name`, `buildings`, one for each class, `abstained`, `not_assessed`, `obscured` among these,
        and the share of damaged ones of all, of those visible and of those assessed.
        """
        rows = [_count("all", "all", self._all)]
        rows += [_count("cell", name, counts) for name, counts in sorted(self._cells.items())]
        if self._names is not None:
            rows += [_count("zone", name, self._zones[number]) for number, name in enumerate(self._names)]
            rows.append(_count("zone", OUTSIDE, self._zones[-1]))
        return pd.DataFrame(rows)

    def warnings(self) -> list[str]:
        """Return warnings about buildings without a class and buildings in several zones."""
        every = self._all.total()
        warnings = [] if every else ["the assessment holds no building"]
        for (_, reasons), what in zip(
            self.reasons.items(), ("were not assessed", "have no predicted class"), strict=True
        ):
            if reasons:
                warnings.append(f"{reasons.total():,} of {every:,} buildings {what}: {_listed(reasons)}")
        if self._several:
            lie, count = ("building lies", "counts") if self._several == 1 else ("buildings lie", "count")
            warnings.append(f"{self._several} {lie} in more than one zone and {count} in the first of them in the file")
        return warnings


def summary_table(buildings: gpd.GeoDataFrame, zoned: Zoned | None = None) -> pd.DataFrame:
    """Return the counts of one assessment, see `Tally.table`."""
    return Tally().add(buildings, cell_names(buildings), zoned).table()


def summary_warnings(buildings: gpd.GeoDataFrame, zoned: Zoned | None = None) -> list[str]:
    """Return the warnings of one assessment, see `Tally.warnings`."""
    return Tally().add(buildings, cell_names(buildings), zoned).warnings()


def _count(level: str, name: str, every: Counter[str]) -> dict[str, Any]:
    counts = {kind: every[kind] for kind in (*_CLASSES, *_UNKNOWN, OBSCURED)}
    counts[NOT_ASSESSED] += counts[OBSCURED]
    damaged, assessed = sum(counts[word] for word in _CLASSES[1:]), sum(counts[word] for word in _CLASSES)
    return {
        "level": level,
        "name": name,
        "buildings": every.total(),
        **counts,
        "damaged_share_of_all": _share(damaged, every.total()),
        "damaged_share_of_visible": _share(damaged, every.total() - counts[NOT_ASSESSED]),
        "damaged_share_of_assessed": _share(damaged, assessed),
    }


def summary_numbers(table: pd.DataFrame, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Return the table and the warnings as plain values, the totals also class by class."""
    rows = [
        {str(key): None if pd.isna(value) else value for key, value in row.items()} for row in table.to_dict("records")
    ]
    levels = {level: [row for row in rows if row["level"] == level] for level in ("cell", "zone")}
    return {
        "note": NOTE,
        "warnings": list(warnings),
        "all": rows[0],
        "classes": _classes(rows[0]),
        f"cells_{CELL}_m": levels["cell"],
        "zones": levels["zone"],
    }


def sentence(numbers: Mapping[str, Any]) -> str:
    """Return a sentence with the counts of all buildings; its classes are predictions without an interval.

    Args:
        numbers: see `summary_numbers`, and `reasons`, see `Tally`.
    """
    whole, reasons = numbers["all"], numbers["reasons"][NOT_ASSESSED]
    every, hidden, uncertain = whole["buildings"], whole[NOT_ASSESSED], whole[ABSTAINED]
    if not every:
        return "The assessment holds no building."
    if hidden == every:
        return f"Of {_counted(every, 'building')}, not one was assessed: {_listed(reasons)}."
    damaged, visible = sum(whole[word] for word in _CLASSES[1:]), every - hidden
    verb = "is" if damaged == 1 else "are"
    text = (
        f"Of {_counted(every, 'building')}, {_counted(visible, 'is', 'are')} visible; {damaged:,} of these "
        f"({damaged / visible:.1%}) {verb} predicted to be damaged (minor, major or destroyed), "
        f"{whole[_CLASSES[-1]]:,} of them destroyed"
    )
    if uncertain:
        text += f", and {_counted(uncertain, 'has', 'have')} no predicted class"
    if hidden:
        text += f"; {_counted(hidden, 'more was', 'more were')} not assessed: {_listed(reasons)}"
    return f"{text}."


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in Counter(reasons).most_common())


def _classes(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each class, abstained and not assessed."""
    assessed = sum(whole[word] for word in _CLASSES)
    return [
        {
            "class": kind,
            "buildings": whole[kind],
            "share_of_all": _share(whole[kind], whole["buildings"]),
            "share_of_assessed": _share(whole[kind], assessed) if kind in _CLASSES else None,
        }
        for kind in (*_CLASSES, *_UNKNOWN)
    ]


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _kinds(buildings: pd.DataFrame) -> pd.Series[Any]:
    kinds: pd.Series[Any] = buildings["damage_label"].where(buildings["status"] == ASSESSED, buildings["status"])
    return kinds.mask((kinds == NOT_ASSESSED) & (buildings["reason"] == OBSCURED), OBSCURED)


def _points(buildings: gpd.GeoDataFrame) -> gpd.GeoSeries:
    """Return a point inside each building, empty without a polygon."""
    return gpd.GeoSeries(shapely.point_on_surface(buildings.geometry.to_numpy()), crs=buildings.crs)


def cell_names(buildings: gpd.GeoDataFrame) -> list[str]:
    """Return the south-west corner of the cell that holds a point inside each building."""
    points = _points(buildings)
    xy = np.column_stack([points.x, points.y])
    known = np.isfinite(xy).all(axis=1)
    corners = np.floor(np.where(known[:, None], xy, 0) / CELL).astype(int) * CELL
    return [f"E{east}N{north}" if one else "nowhere" for (east, north), one in zip(corners, known, strict=True)]
