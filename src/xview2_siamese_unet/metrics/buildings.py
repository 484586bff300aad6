"""Scores of buildings, each of which weighs the same whatever its size: ours, not official."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import numpy as np
import pandas as pd

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.config.reporting import IntervalParams
from xview2_siamese_unet.damage import N_CODES, SCORED, Damage
from xview2_siamese_unet.metrics.bootstrap import bounds, draw_weights, f1_of_sums
from xview2_siamese_unet.metrics.confusion import IntArray
from xview2_siamese_unet.metrics.scores import class_scores, scored_damage

SIZES: Final = {
    "below 10 × 10 px": (0, 100),
    "10 × 10 to 20 × 20 px": (100, 400),
    "20 × 20 to 40 × 40 px": (400, 1600),
    "40 × 40 px and more": (1600, np.iinfo(np.int64).max),
}
"""Name → pixels from, below; a pixel of xBD is about half a metre wide."""


def building_confusion(matches: pd.DataFrame) -> IntArray:
    """Return int64 (6, 6): rows truth with 0 for false alarms, columns prediction with 0 for missed buildings."""
    joint = matches["truth"].to_numpy(np.int64) * N_CODES + matches["predicted"].to_numpy(np.int64)
    return np.bincount(joint, minlength=N_CODES**2).astype(np.int64).reshape(N_CODES, N_CODES)


def summarise_buildings(
    matches: pd.DataFrame, scenes: int, policy: Unclassified, params: IntervalParams
) -> dict[str, Any]:
    """Return what `metrics.json` says about buildings.

    Keys: `precision`, `recall`, `f1`, `support` of finding a building; `f1_interval` (95 %, over scenes); `damage`
    (scores of each class by the rules of the official score, a building in place of a pixel); `sizes` (as the first
    four, false alarms by their own size); `confusion` (counts before the policy).

    Args:
        matches: table of `matching.match_scenes`.
        scenes: how many scenes were scored, those without a building among them.
        policy: what un-classified truth means.
        params: of the interval.
    """
    confusion = building_confusion(matches)
    scores = class_scores(scored_damage(confusion, policy))
    sizes = {
        name: matches[matches["pixels"].between(low, high, inclusive="left")] for name, (low, high) in SIZES.items()
    }
    return {
        **_found(confusion),
        "f1_interval": _interval(matches, scenes, params),
        "damage": {code.word: asdict(scores[code]) for code in SCORED},
        "sizes": {name: _found(building_confusion(rows)) for name, rows in sizes.items()},
        "confusion": confusion.tolist(),
    }


def _found(confusion: IntArray) -> dict[str, float]:
    found = asdict(class_scores(_binary(confusion))[1])
    return {key: found[key] for key in ("precision", "recall", "f1", "support")}


def _binary(confusion: IntArray) -> IntArray:
    """Reduce (..., 6, 6) to found or not, (..., 2, 2)."""
    first = [Damage.BACKGROUND, Damage.NO_DAMAGE]
    return np.add.reduceat(np.add.reduceat(confusion, first, axis=-2), first, axis=-1)


def _interval(matches: pd.DataFrame, scenes: int, params: IntervalParams) -> list[float]:
    """Draw scenes; one without any building adds nothing, and still may be drawn."""
    each = np.zeros((scenes, N_CODES, N_CODES), np.int64)
    for place, (_, rows) in enumerate(matches.groupby("scene", sort=True)):
        each[place] = building_confusion(rows)
    sums = draw_weights(scenes, draws=params.draws, seed=params.seed) @ _binary(each).reshape(scenes, 4)
    return bounds({"f1": f1_of_sums(sums.reshape(-1, 2, 2))[:, 1]})["f1"]
