"""Buildings → numbers that can be quoted: each building once, those not judged as numbers of their own."""

from __future__ import annotations

from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.inference.vote import ABSTAINED, ASSESSED, NOT_ASSESSED

CELL: Final = 500
"""Metres; the cells of other rapid damage products."""
NOTE: Final = (
    "Preliminary and automated; needs a person's check; not EMS-98. A view from above under-reports damage. "
    "Not for sole use in decisions on safety."
)


def summary_table(buildings: gpd.GeoDataFrame) -> pd.DataFrame:
    """Return one row for all buildings and one for each 500 m cell that holds any.

    A building counts in the cell of a point inside it. Columns: `level`, `name`, `buildings`, one for each class,
    `abstained`, `not_assessed`, and the share of damaged ones of all and of those assessed.
    """
    marked = pd.DataFrame({"name": _cells(buildings), "kind": _kinds(buildings)})
    cells = [_count("cell", str(name), part["kind"]) for name, part in marked.groupby("name")]
    return pd.DataFrame([_count("all", "all", marked["kind"]), *cells])


def _count(level: str, name: str, kinds: pd.Series[Any]) -> dict[str, Any]:
    words = [code.word for code in SCORED]
    counts = {kind: int((kinds == kind).sum()) for kind in (*words, ABSTAINED, NOT_ASSESSED)}
    damaged, assessed = sum(counts[word] for word in words[1:]), sum(counts[word] for word in words)
    return {
        "level": level,
        "name": name,
        "buildings": len(kinds),
        **counts,
        "damaged_share_of_all": _share(damaged, len(kinds)),
        "damaged_share_of_assessed": _share(damaged, assessed),
    }


def summarise_buildings(table: pd.DataFrame) -> dict[str, Any]:
    """Return the table as plain values, the whole first."""
    rows = [{key: None if pd.isna(value) else value for key, value in row.items()} for row in table.to_dict("records")]
    return {"note": NOTE, "all": rows[0], f"cells_{CELL}_m": [row for row in rows[1:] if row["level"] == "cell"]}


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _kinds(buildings: gpd.GeoDataFrame) -> pd.Series[Any]:
    kinds: pd.Series[Any] = buildings["damage_label"].where(buildings["status"] == ASSESSED, buildings["status"])
    return kinds


def _cells(buildings: gpd.GeoDataFrame) -> list[str]:
    shapes: Any = buildings.geometry.to_numpy().copy()
    empty = shapely.is_empty(shapes)
    shapes[empty] = shapely.Point(0, 0)
    points = shapely.get_coordinates(shapely.point_on_surface(shapes))
    corners = np.floor(points / CELL).astype(int) * CELL
    return ["nowhere" if none else f"E{east}N{north}" for (east, north), none in zip(corners, empty, strict=True)]
