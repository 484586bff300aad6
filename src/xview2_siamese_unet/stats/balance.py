"""Pixels by class → weights of classes and of scenes."""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from xview2_siamese_unet.config.feature_statistics import ClassWeightParams, SampleWeightParams
from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import ConfigError

ClassCounts = dict[str, dict[str, int]]
"""`pre`: pixels of background and building; `post`: pixels of each damage word."""
FloatArray = npt.NDArray[np.float64]
_log = logging.getLogger(__name__)
_RARE: Final = [Damage.MINOR_DAMAGE, Damage.MAJOR_DAMAGE]


def count_classes(records: npt.NDArray[Any]) -> ClassCounts:
    """Return the pixels by class of some scenes.

    Args:
        records: (n,) of `raster.store.RECORD`.
    """
    building, damage = records["building_pixels"].sum(axis=0), records["damage_pixels"].sum(axis=0)
    return {
        "pre": {"background": int(building[0]), "building": int(building[1])},
        "post": {code.word: int(damage[code]) for code in Damage},
    }


def tabulate_balance(splits: pd.DataFrame, damage_pixels: npt.NDArray[np.int64], counts: pd.DataFrame) -> pd.DataFrame:
    """Return how the classes after the disaster are shared out among the splits.

    Args:
        splits: a table of scene and split.
        damage_pixels: of each of its scenes, (n, 6).
        counts: of `stats.buildings.count_buildings`.

    Returns:
        A table of split, class, scenes (that show it), buildings, pixels, and share of the pixels of the split.
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
    """Return pixels of the classes that the two heads learn, un-classified pixels treated as the experiment says."""
    *classes, unjudged = counts["post"].values()
    if unclassified == "class":
        classes.append(unjudged)
    elif unclassified == "no_damage":
        classes[Damage.NO_DAMAGE] += unjudged
    return {"pre": list(counts["pre"].values()), "post": classes}


def weigh_classes(counts: ClassCounts, params: ClassWeightParams, unclassified: Unclassified) -> dict[str, list[float]]:
    """Return one weight for each class of both heads, with a mean of 1 before clipping.

    A class without a pixel has no weight to learn by: 0, and it does not count for the mean.

    Raises:
        ConfigError: a list of weights of another length than there are classes.
    """
    return {
        phase: _weigh(np.asarray(pixels, np.float64), params, phase, list(counts[phase])).tolist()
        for phase, pixels in trained_counts(counts, unclassified).items()
    }


def _weigh(pixels: FloatArray, params: ClassWeightParams, phase: str, words: list[str]) -> FloatArray:
    seen = pixels > 0
    weights = _raw_weights(pixels, params, phase)
    if params.method not in ("list", "none"):
        weights = np.where(seen, weights / weights[seen].mean(), 0.0)
        for number in np.flatnonzero(~seen):
            _log.warning("no pixel of %s in the training split: its weight is 0, and it is not learnt", words[number])
    if params.clip is None:
        return weights
    for number in np.flatnonzero(weights > params.clip):
        _log.warning("weight %.3g of %s is clipped to %g", weights[number], words[number], params.clip)
    return np.minimum(weights, params.clip)


def _raw_weights(pixels: FloatArray, params: ClassWeightParams, phase: str) -> FloatArray:
    share = np.maximum(pixels, 1.0)
    match params.method:
        case "inverse":
            return 1 / share
        case "sqrt_inverse":
            return 1 / np.sqrt(share)
        case "effective_number":
            # expm1 and log1p: 1 − beta ** n loses every digit where beta is near 1.
            return np.asarray((1 - params.beta) / -np.expm1(share * np.log(params.beta)))
        case "list":
            return _listed(params.pre if phase == "pre" else params.post, len(pixels), phase)
        case "none":
            return np.ones_like(pixels)


def _listed(weights: tuple[float, ...] | None, classes: int, phase: str) -> FloatArray:
    if weights is None or len(weights) != classes:
        raise ConfigError(
            f"feature_statistics.class_weights.{phase}",
            found=f"{0 if weights is None else len(weights)} weights",
            allowed=f"{classes}, one for each class of this head",
            remedy="list as many, or choose another method",
        )
    return np.asarray(weights, np.float64)


def weigh_samples(records: npt.NDArray[Any], params: SampleWeightParams) -> FloatArray:
    """Return one weight for each scene, (n,); how, stands at `SampleWeightParams`.

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
    weights: FloatArray = np.where(built, 1 + bonus, params.empty)
    return weights
