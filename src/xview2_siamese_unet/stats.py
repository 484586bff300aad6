"""Statistics of a dataset: class counts and weights, sample weights, channel statistics, building counts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

import numpy as np
import pandas as pd

from xview2_siamese_unet.config.feature_statistics import ClassWeightParams, SampleWeightParams
from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.damage import SUBTYPES, Damage
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.types import AnyArray, CodeCounts, Float64Array, Int64Array, Numbers

ClassCounts = dict[str, dict[str, int]]
"""`pre`: pixels of background and building; `post`: pixels of each damage label."""
IMAGENET: Final = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
"""Grey values 0 to 255 that ImageNet weights were trained with (torchvision, documentation of its models)."""
AREA_SIZES: Final = {
    "under 50 m²": 50.0,
    "50 to 150 m²": 150.0,
    "150 to 500 m²": 500.0,
    "500 m² and more": float("inf"),
}
"""Size class → its upper limit: sheds, houses, large houses, halls."""
UNKNOWN: Final = "size unknown"
_RARE: Final = [Damage.MINOR_DAMAGE, Damage.MAJOR_DAMAGE]
_KEYS: Final = ["scene", "tier", "disaster", "damage", "size"]
_log = logging.getLogger(__name__)


def count_classes(records: AnyArray) -> ClassCounts:
    """Return the number of pixels of each class in some scenes.

    Args:
        records: (n,) of `raster.store.RECORD`.
    """
    building, damage = records["building_pixels"].sum(axis=0), records["damage_pixels"].sum(axis=0)
    return {
        "pre": {"background": int(building[0]), "building": int(building[1])},
        "post": {code.word: int(damage[code]) for code in Damage},
    }


def tabulate_balance(splits: pd.DataFrame, damage_pixels: CodeCounts, counts: pd.DataFrame) -> pd.DataFrame:
    """Return the distribution of the damage classes over the splits.

    Args:
        splits: a table of scene and split.
        damage_pixels: of each of its scenes.
        counts: of `count_buildings`.

    Returns:
        A table of split, class, scenes (with this class), buildings, pixels, and share of the pixels of the split.
    """
    pixels = pd.DataFrame(damage_pixels, columns=[code.word for code in Damage]).groupby(splits["split"].to_numpy())
    table = pd.DataFrame({"scenes": pixels.agg(np.count_nonzero).stack(), "pixels": pixels.sum().stack()})
    table.index.names = ["split", "class"]
    named = counts.rename(columns={"damage": "class"}).merge(splits[["scene", "split"]], on="scene")
    buildings = named.groupby(["split", "class"])["buildings"].sum()
    table.insert(1, "buildings", buildings.reindex(table.index, fill_value=0))
    table["share"] = table["pixels"] / table.groupby("split")["pixels"].transform("sum")
    return table.loc[list(splits["split"].unique())].reset_index()


def trained_counts(counts: ClassCounts, unclassified: Unclassified) -> dict[str, list[int]]:
    """Return the number of pixels of the classes of both heads, with un-classified pixels treated as configured."""
    *classes, unclassified_pixels = counts["post"].values()
    if unclassified == "class":
        classes.append(unclassified_pixels)
    elif unclassified == "no_damage":
        classes[Damage.NO_DAMAGE] += unclassified_pixels
    return {"pre": list(counts["pre"].values()), "post": classes}


def weigh_classes(counts: ClassCounts, params: ClassWeightParams, unclassified: Unclassified) -> dict[str, list[float]]:
    """Return one weight for each class of both heads, with a mean of 1 before clipping.

    A class without pixels has weight 0, which is logged, and does not count for the mean.

    Raises:
        ConfigError: the number of listed weights is not the number of classes.
    """
    return {
        phase: _weigh(np.asarray(pixels, np.float64), params, phase, list(counts[phase])).tolist()
        for phase, pixels in trained_counts(counts, unclassified).items()
    }


def _weigh(pixels: Numbers, params: ClassWeightParams, phase: str, words: list[str]) -> Numbers:
    present = pixels > 0
    weights = _raw_weights(pixels, params, phase)
    if params.method not in ("list", "none"):
        weights = np.where(present, weights / weights[present].mean(), 0.0)
        for number in np.flatnonzero(~present):
            _log.warning("no pixel of %s in the training split: its weight is 0, so it is not learnt", words[number])
    if params.clip is None:
        return weights
    for number in np.flatnonzero(weights > params.clip):
        _log.warning("weight %.3g of %s is clipped to %g", weights[number], words[number], params.clip)
    return np.minimum(weights, params.clip)


def _raw_weights(pixels: Numbers, params: ClassWeightParams, phase: str) -> Numbers:
    share = np.maximum(pixels, 1.0)
    match params.method:
        case "inverse":
            return 1 / share
        case "sqrt_inverse":
            return 1 / np.sqrt(share)
        case "effective_number":
            # expm1: 1 − beta ** n loses all its digits if beta is near 1.
            return np.asarray((1 - params.beta) / -np.expm1(share * np.log(params.beta)))
        case "list":
            return _listed(params.pre if phase == "pre" else params.post, len(pixels), phase)
        case "none":
            return np.ones_like(pixels)


def _listed(weights: tuple[float, ...] | None, classes: int, phase: str) -> Float64Array:
    if weights is None or len(weights) != classes:
        count = 0 if weights is None else len(weights)
        raise ConfigError(
            f"feature_statistics.class_weights.{phase} has {count} weights, but this head has {classes} classes.",
            hint="List one weight per class, or choose another method.",
        )
    return np.asarray(weights, np.float64)


def weigh_samples(records: AnyArray, params: SampleWeightParams) -> Numbers:
    """Return one weight per scene by the rules of `SampleWeightParams`.

    Args:
        records: (n,) of `raster.store.RECORD`.
        params: the bonuses.
    """
    damage = records["damage_pixels"]
    rare_pixels, buildings = damage[:, _RARE].sum(axis=1), damage[:, Damage.NO_DAMAGE :].sum(axis=1)
    rare = rare_pixels > 0
    damaged = rare | (damage[:, Damage.DESTROYED] > 0)
    built = (records["building_pixels"][:, 1] > 0) | (buildings > 0)
    bonus = params.damaged * damaged + params.rare * rare + params.rare_pixels * rare_pixels / np.maximum(buildings, 1)
    weights: Numbers = np.where(built, 1 + bonus, params.empty)
    return weights


def channel_statistics(records: AnyArray) -> dict[str, dict[str, list[float]]]:
    """Return mean and standard deviation of red, green and blue in pre-disaster, post-disaster and all images.

    Args:
        records: (n,) of `raster.store.RECORD`.

    Returns:
        `pre`, `post` and `both`, each with `mean` and `std` in grey values 0 to 255 over the pixels that hold data.
    """
    for phase, pixels in zip(("pre", "post"), records["valid_pixels"].sum(axis=0), strict=True):
        if not pixels:
            _log.warning("no %s-disaster image holds data: mean 0 and deviation 1 are assumed", phase)
    count, total, squares = (records[name].sum(axis=0) for name in ("valid_pixels", "channel_sums", "channel_squares"))
    return {
        "pre": _moments(count[0], total[0], squares[0]),
        "post": _moments(count[1], total[1], squares[1]),
        "both": _moments(count.sum(), total.sum(axis=0), squares.sum(axis=0)),
    }


def _moments(count: np.int64, total: Int64Array, squares: Int64Array) -> dict[str, list[float]]:
    mean = total / max(int(count), 1)
    variance = squares / max(int(count), 1) - mean**2
    return {"mean": mean.tolist(), "std": np.sqrt(np.maximum(variance, 1.0)).tolist()}


def count_buildings(scenes: pd.DataFrame, parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the number of buildings of each class and size in each scene.

    Args:
        scenes: of `xbd.ingest.SCENE_COLUMNS`.
        parts: the table of buildings (columns scene, damage and area of `xbd.ingest.BUILDING_COLUMNS`), in any parts.

    Returns:
        A table of scene, tier, disaster, damage, size (of `AREA_SIZES`, or `UNKNOWN` if the scene has no georeference)
        and buildings, without rows of zero.
    """
    facts = scenes[["scene", "tier", "disaster", "pixel"]]
    counts = pd.concat([_count(part.merge(facts, on="scene")) for part in parts], ignore_index=True)
    return counts.groupby(_KEYS, as_index=False, sort=False).agg(buildings=("buildings", "sum"))


def tabulate_building_counts(scenes: pd.DataFrame, counts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return summaries of `count_buildings`; they add up over any parts of a dataset.

    Returns:
        `folder` and `event` (rows; columns: scenes, empty scenes, buildings of each class), `event and size` and `size`
        (rows; columns: buildings of each class).
    """
    return {
        "folder": _scenes(scenes, "tier").join(_classes(counts, "tier")).fillna(0).astype("int64"),
        "event": _scenes(scenes, "disaster").join(_classes(counts, "disaster")).fillna(0).astype("int64"),
        "event and size": _classes(counts, ["disaster", "size"]),
        "size": _classes(counts, "size").reindex([*AREA_SIZES, UNKNOWN], fill_value=0),
    }


def _count(buildings: pd.DataFrame) -> pd.DataFrame:
    square_metres = buildings["area"] * buildings["pixel"] ** 2
    sizes = pd.cut(square_metres, [-1.0, *AREA_SIZES.values()], labels=list(AREA_SIZES), right=False)
    sized = buildings.assign(size=sizes.astype("object").fillna(UNKNOWN).astype("str"))
    return sized.groupby(_KEYS, as_index=False, sort=False).agg(buildings=("area", "size"))


def _scenes(scenes: pd.DataFrame, by: str) -> pd.DataFrame:
    grouped = scenes.assign(empty=scenes["buildings"] == 0).groupby(by, sort=False)
    return grouped.agg(scenes=("scene", "size"), empty=("empty", "sum"))


def _classes(counts: pd.DataFrame, by: str | list[str]) -> pd.DataFrame:
    table = counts.pivot_table(index=by, columns="damage", values="buildings", aggfunc="sum", fill_value=0)
    return table.reindex(columns=list(SUBTYPES), fill_value=0).astype("int64")
