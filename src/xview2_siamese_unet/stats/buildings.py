"""Buildings by folder, event, class and size."""

from __future__ import annotations

from typing import Final

import pandas as pd

from xview2_siamese_unet.damage import SUBTYPES

SIZES: Final = {"under 50 m²": 50.0, "50 to 150 m²": 150.0, "150 to 500 m²": 500.0, "500 m² and more": float("inf")}
"""Class of size → its upper end; sheds, houses, large houses, halls."""
UNKNOWN: Final = "size unknown"


def count_buildings(scenes: pd.DataFrame, buildings: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return tables of scenes and post-disaster buildings; counts add up over any parts of a dataset.

    Args:
        scenes: of `xbd.ingest.SCENE_COLUMNS`.
        buildings: of `xbd.ingest.BUILDING_COLUMNS`.

    Returns:
        `folder` and `event` (rows; columns: scenes, empty scenes, buildings of each class) and `size` (rows: `SIZES`,
        or `UNKNOWN` where the scene has no place on Earth).
    """
    told = buildings.merge(scenes[["scene", "tier", "disaster", "pixel"]], on="scene")
    square_metres = told["area"] * told["pixel"] ** 2
    edges = [-1.0, *SIZES.values()]
    told["size"] = pd.cut(square_metres, edges, labels=list(SIZES), right=False).astype("object").fillna(UNKNOWN)
    sizes = _classes(told, "size").reindex([*SIZES, UNKNOWN], fill_value=0)
    return {
        "folder": _scenes(scenes, "tier").join(_classes(told, "tier")).fillna(0).astype("int64"),
        "event": _scenes(scenes, "disaster").join(_classes(told, "disaster")).fillna(0).astype("int64"),
        "size": sizes,
    }


def _scenes(scenes: pd.DataFrame, by: str) -> pd.DataFrame:
    grouped = scenes.assign(empty=scenes["buildings"] == 0).groupby(by, sort=False)
    return grouped.agg(scenes=("scene", "size"), empty=("empty", "sum"))


def _classes(buildings: pd.DataFrame, by: str) -> pd.DataFrame:
    table = pd.crosstab(buildings[by], buildings["damage"])
    return table.reindex(columns=list(SUBTYPES), fill_value=0)
