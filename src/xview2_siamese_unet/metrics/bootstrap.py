"""How sure a score is: the percentile bootstrap over scenes.

A draw takes as many scenes as there are, with replacement. As every score is a function of sums over scenes, a draw is
one row of multinomial weights and all draws together are one matrix product. Scenes of one event resemble each other,
so for an event that nobody has seen the intervals are too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.damage import N_CODES, SCORED, Damage
from xview2_siamese_unet.metrics.confusion import IntArray
from xview2_siamese_unet.metrics.scores import DAMAGE_SHARE, EPSILON, LOCALIZATION_SHARE
from xview2_siamese_unet.metrics.table import COUNT_COLUMNS

FloatArray = npt.NDArray[np.float64]
LEVEL: Final = 0.95
"""Share of repetitions whose interval holds the truth."""
DRAWS: Final = 2000
SEED: Final = 0


def draw_weights(scenes: int, *, draws: int = DRAWS, seed: int = SEED) -> IntArray:
    """Return how often each scene is taken in each draw, int64 (draws, scenes); each row adds up to `scenes`."""
    return np.random.default_rng(seed).multinomial(scenes, np.full(scenes, 1 / scenes), size=draws)


def scores_of_sums(sums: IntArray, policy: Unclassified = "ignore") -> dict[str, FloatArray]:
    """Return the seven official numbers and `present_class_damage_f1` of many sums of counts at once.

    Args:
        sums: int64 (n, 40), columns as `metrics.table.COUNT_COLUMNS`.
        policy: what un-classified truth means.

    Returns:
        The keys of the official script and ours → (n,).
    """
    localization, damage = sums[:, :4].reshape(-1, 2, 2), sums[:, 4:].reshape(-1, N_CODES, N_CODES).copy()
    if policy == "no_damage":
        damage[:, Damage.NO_DAMAGE] += damage[:, Damage.UNCLASSIFIED]
    damage[:, [Damage.BACKGROUND, Damage.UNCLASSIFIED]] = 0
    located = f1_of_sums(localization)[:, 1]
    f1 = f1_of_sums(damage)[:, list(SCORED)]
    parts = 1 / (f1 + EPSILON)
    harmonic = len(SCORED) / parts.sum(axis=1)
    present = damage.sum(axis=2)[:, list(SCORED)] > 0
    return {
        "score": LOCALIZATION_SHARE * located + DAMAGE_SHARE * harmonic,
        "damage_f1": harmonic,
        "localization_f1": located,
        **{f"damage_f1_{code.name.lower()}": f1[:, place] for place, code in enumerate(SCORED)},
        "present_class_damage_f1": _ratio(present.sum(axis=1), (parts * present).sum(axis=1)),
    }


def f1_of_sums(matrices: IntArray) -> FloatArray:
    """Return the F1 of each class of many matrices of counts (n, k, k), rows truth: (n, k); 0 without a hit."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    return _ratio(2 * hits, matrices.sum(axis=1) + matrices.sum(axis=2))


def intervals(
    table: pd.DataFrame, policy: Unclassified = "ignore", *, draws: int = DRAWS, seed: int = SEED
) -> dict[str, list[float]]:
    """Return the 95 % interval of each official number and of `present_class_damage_f1`: key → [low, high].

    The same table and seed give the same intervals.

    Args:
        table: counts of each scene.
        policy: what un-classified truth means.
        draws: how often the scenes are drawn.
        seed: of the draws.
    """
    sums = draw_weights(len(table), draws=draws, seed=seed) @ table[COUNT_COLUMNS].to_numpy(np.int64)
    return bounds(scores_of_sums(sums, policy))


def differences(
    table: pd.DataFrame,
    other: pd.DataFrame,
    policies: tuple[Unclassified, Unclassified] = ("ignore", "ignore"),
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> dict[str, list[float]]:
    """Return the 95 % interval of `other` minus `table`: key → [low, high].

    Paired: both are drawn the same scenes, so what makes a scene hard for both cancels out.

    Args:
        table: counts of each scene.
        other: counts of the same scenes in the same order.
        policies: what un-classified truth means to each.
        draws: how often the scenes are drawn.
        seed: of the draws.
    """
    weights = draw_weights(len(table), draws=draws, seed=seed)
    one, two = (
        scores_of_sums(weights @ each[COUNT_COLUMNS].to_numpy(np.int64), policy)
        for each, policy in zip((table, other), policies, strict=True)
    )
    return bounds({key: two[key] - one[key] for key in one})


def bounds(values: Mapping[str, FloatArray]) -> dict[str, list[float]]:
    """Return where the middle 95 % of the draws of each number lie: key → [low, high]."""
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    return {key: np.quantile(drawn, tails).tolist() for key, drawn in values.items()}


def _ratio(above: npt.NDArray[np.generic], below: npt.NDArray[np.generic]) -> FloatArray:
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below != 0)  # type: ignore[no-any-return]
