"""Confidence intervals: the percentile bootstrap over scenes.

A resample contains as many scenes as there are, drawn with replacement. As every score is a function of sums over
scenes, a resample is one row of multinomial weights, and all resamples together are one matrix product. Scenes of one
event resemble each other, so the intervals are too narrow for an unseen event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.metrics.confusion import Counts, rows_of
from xview2_siamese_unet.metrics.scores import official_scores
from xview2_siamese_unet.types import DrawWeights, Numbers

LEVEL: Final = 0.95
"""Confidence level of the intervals."""
DRAWS: Final = 2000
SEED: Final = 0


def draw_weights(scenes: int, *, draws: int = DRAWS, seed: int = SEED) -> DrawWeights:
    """Return how often each resample contains each scene."""
    return np.random.default_rng(seed).multinomial(scenes, np.full(scenes, 1 / scenes), size=draws)


def intervals(
    table: pd.DataFrame, unclassified: Unclassified = "ignore", *, draws: int = DRAWS, seed: int = SEED
) -> dict[str, list[float]]:
    """Return the 95 % interval of each of `official_scores`: key → [low, high]."""
    return bounds(_resampled_scores(table, draw_weights(len(table), draws=draws, seed=seed), unclassified))


def score_differences(
    table: pd.DataFrame,
    other: pd.DataFrame,
    unclassified: tuple[Unclassified, Unclassified] = ("ignore", "ignore"),
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> dict[str, list[float]]:
    """Return the 95 % interval of `other` minus `table`: key → [low, high].

    Paired: each resample contains the same scenes of both, so what makes a scene hard for both cancels out.

    Args:
        table: counts of each scene.
        other: counts of the same scenes in the same order.
        unclassified: meaning of un-classified truth, for each.
        draws: number of resamples.
        seed: of the resamples.
    """
    weights = draw_weights(len(table), draws=draws, seed=seed)
    one, two = _resampled_scores(table, weights, unclassified[0]), _resampled_scores(other, weights, unclassified[1])
    return bounds({key: two[key] - one[key] for key in one})


def bounds(values: Mapping[str, Numbers]) -> dict[str, list[float]]:
    """Return the middle 95 % of the resamples of each number: key → [low, high]."""
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    return {key: np.quantile(resampled, tails).tolist() for key, resampled in values.items()}


def _resampled_scores(table: pd.DataFrame, weights: DrawWeights, unclassified: Unclassified) -> dict[str, Numbers]:
    return official_scores(Counts.from_rows(weights @ rows_of(table)), unclassified)
