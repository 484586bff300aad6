"""Buildings → numbers that can be quoted: each building once, those not judged as numbers of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from rasterio.crs import CRS

from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.inference.vote import ABSTAINED, ASSESSED, NOT_ASSESSED
from xview2_siamese_unet.raster.grid import around

CELL: Final = 500
"""Metres; the cells of other rapid damage products."""
OUTSIDE: Final = "outside of all zones"
_WORDS: Final = tuple(code.word for code in SCORED)
_PARTLY: Final = r"only \d+% of it .*"
_UNKNOWN: Final = (ABSTAINED, NOT_ASSESSED)
NOTE: Final = (
    "Preliminary and automated; needs a person's check; not EMS-98. A view from above under-reports damage. "
    "Not for sole use in decisions on safety."
)


def summary_table(buildings: gpd.GeoDataFrame, zones: gpd.GeoDataFrame | None = None) -> pd.DataFrame:
    """Return one row for all buildings, one for each 500 m cell that holds any, one for each zone, empty ones too.

    A building counts once at each level: where a point inside it lies, in the first of zones that overlap. Columns:
    `level`, `name`, `buildings`, one for each class, `abstained`, `not_assessed`, and the share of damaged ones of all
    and of those assessed.

    Args:
        buildings: with status and label, in metres.
        zones: `name` and polygons, in any system.
    """
    kinds, points = _kinds(buildings), _points(buildings)
    rows = [_count("all", "all", kinds)]
    rows += [_count("cell", str(name), part) for name, part in kinds.groupby(_cells(points))]
    if zones is not None:
        inside = _zone_of(points, zones)
        rows += [_count("zone", name, kinds[inside == number]) for number, name in enumerate(zones["name"])]
        rows.append(_count("zone", OUTSIDE, kinds[inside < 0]))
    return pd.DataFrame(rows)


def summary_warnings(buildings: gpd.GeoDataFrame, zones: gpd.GeoDataFrame | None = None) -> list[str]:
    """Return sentences, with counts, on what the table leaves out or settles by a rule.

    Args:
        buildings: with status and reason, in metres.
        zones: `name` and polygons, in any system.
    """
    warnings = [] if len(buildings) else ["the assessment holds no building"]
    for status, what in ((NOT_ASSESSED, "were not assessed"), (ABSTAINED, "have no answer")):
        reasons = buildings.loc[buildings["status"] == status, "reason"]
        reasons = reasons.str.replace(_PARTLY, "hidden in large part", regex=True)
        if len(reasons):
            counts = ", ".join(f"{count} {reason}" for reason, count in reasons.value_counts().items())
            warnings.append(f"{len(reasons)} of {len(buildings)} buildings {what}: {counts}")
    if zones is not None:
        several = int((np.bincount(_inside(_points(buildings), zones)[0], minlength=1) > 1).sum())
        if several:
            warnings.append(f"{several} buildings lie in more than one zone and count in the first of them in the file")
    return warnings


def _count(level: str, name: str, kinds: pd.Series[Any]) -> dict[str, Any]:
    counts = {kind: int((kinds == kind).sum()) for kind in (*_WORDS, *_UNKNOWN)}
    damaged, assessed = sum(counts[word] for word in _WORDS[1:]), sum(counts[word] for word in _WORDS)
    return {
        "level": level,
        "name": name,
        "buildings": len(kinds),
        **counts,
        "damaged_share_of_all": _share(damaged, len(kinds)),
        "damaged_share_of_assessed": _share(damaged, assessed),
    }


def summarise_buildings(table: pd.DataFrame, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Return the table as plain values, the whole first and once more class by class, and the warnings on it."""
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


def _classes(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each class and each kind of not knowing; the latter have no share of those assessed."""
    assessed = sum(whole[word] for word in _WORDS)
    return [
        {
            "class": kind,
            "buildings": whole[kind],
            "share_of_all": _share(whole[kind], whole["buildings"]),
            "share_of_assessed": _share(whole[kind], assessed) if kind in _WORDS else None,
        }
        for kind in (*_WORDS, *_UNKNOWN)
    ]


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _kinds(buildings: gpd.GeoDataFrame) -> pd.Series[Any]:
    kinds: pd.Series[Any] = buildings["damage_label"].where(buildings["status"] == ASSESSED, buildings["status"])
    return kinds


def _points(buildings: gpd.GeoDataFrame) -> gpd.GeoSeries:
    """Return a point inside each building, an empty one where it has no polygon."""
    return gpd.GeoSeries(shapely.point_on_surface(buildings.geometry.to_numpy()), crs=buildings.crs)


def _cells(points: gpd.GeoSeries) -> list[str]:
    places = np.column_stack([points.x, points.y])
    known = np.isfinite(places).all(axis=1)
    corners = np.floor(np.where(known[:, None], places, 0) / CELL).astype(int) * CELL
    return [f"E{east}N{north}" if there else "nowhere" for (east, north), there in zip(corners, known, strict=True)]


def _inside(points: gpd.GeoSeries, zones: gpd.GeoDataFrame) -> npt.NDArray[np.int64]:
    """Return numbers of points and of zones that hold them (2, pairs)."""
    degrees = CRS.from_user_input(zones.crs)
    tree = shapely.STRtree([around(shape, degrees) for shape in zones.geometry])
    pairs: npt.NDArray[np.int64] = tree.query(points.to_crs(zones.crs).to_numpy(), predicate="intersects")
    return pairs


def _zone_of(points: gpd.GeoSeries, zones: gpd.GeoDataFrame) -> npt.NDArray[np.int64]:
    """Return the number of the first zone that holds each point, -1 where none does."""
    point, zone = _inside(points, zones)
    first = np.full(len(points), len(zones))
    np.minimum.at(first, point, zone)
    return np.where(first < len(zones), first, -1)
