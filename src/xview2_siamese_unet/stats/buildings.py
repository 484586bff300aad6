"""Buildings by folder, event, class and size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pandas as pd

from xview2_siamese_unet.damage import SUBTYPES

SIZES: Final = {"under 50 m²": 50.0, "50 to 150 m²": 150.0, "150 to 500 m²": 500.0, "500 m² and more": float("inf")}
"""Class of size → its upper end; sheds, houses, large houses, halls."""
UNKNOWN: Final = "size unknown"
_KEYS: Final = ["scene", "tier", "disaster", "damage", "size"]


def count_buildings(scenes: pd.DataFrame, parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return how many buildings of each class and size a scene has.

    Args:
        scenes: of `xbd.ingest.SCENE_COLUMNS`.
        parts: the table of buildings (columns scene, damage and area of `xbd.ingest.BUILDING_COLUMNS`) in any parts.

    Returns:
        A table of scene, tier, disaster, damage, size (of `SIZES`, or `UNKNOWN` where the scene has no place on Earth)
        and buildings, without rows of none.
    """
    facts = scenes[["scene", "tier", "disaster", "pixel"]]
    counts = pd.concat([_count(part.merge(facts, on="scene")) for part in parts], ignore_index=True)
    return counts.groupby(_KEYS, as_index=False, sort=False).agg(buildings=("buildings", "sum"))


def summarise_buildings(scenes: pd.DataFrame, counts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return tables to read, of `count_buildings`; they add up over any parts of a dataset.

    Returns:
        `folder` and `event` (rows; columns: scenes, empty scenes, buildings of each class), `event and size` and `size`
        (rows; columns: buildings of each class).
    """
    return {
        "folder": _scenes(scenes, "tier").join(_classes(counts, "tier")).fillna(0).astype("int64"),
        "event": _scenes(scenes, "disaster").join(_classes(counts, "disaster")).fillna(0).astype("int64"),
        "event and size": _classes(counts, ["disaster", "size"]),
        "size": _classes(counts, "size").reindex([*SIZES, UNKNOWN], fill_value=0),
    }


def _count(buildings: pd.DataFrame) -> pd.DataFrame:
    square_metres = buildings["area"] * buildings["pixel"] ** 2
    sizes = pd.cut(square_metres, [-1.0, *SIZES.values()], labels=list(SIZES), right=False)
    told = buildings.assign(size=sizes.astype("object").fillna(UNKNOWN).astype("str"))
    return told.groupby(_KEYS, as_index=False, sort=False).agg(buildings=("area", "size"))


def _scenes(scenes: pd.DataFrame, by: str) -> pd.DataFrame:
    grouped = scenes.assign(empty=scenes["buildings"] == 0).groupby(by, sort=False)
    return grouped.agg(scenes=("scene", "size"), empty=("empty", "sum"))


def _classes(counts: pd.DataFrame, by: str | list[str]) -> pd.DataFrame:
    table = counts.pivot_table(index=by, columns="damage", values="buildings", aggfunc="sum", fill_value=0)
    return table.reindex(columns=list(SUBTYPES), fill_value=0).astype("int64")
