"""Shrinkage of a tuned setting, by its gain on scenes that were left out of the tuning.

A search always finds a setting that is better on the scenes it searches. Here the search is repeated five times, each
time without a fifth of the scenes. Its result is scored on that fifth, at full strength and shrunk towards the first
setting. The strength whose gain exceeds its standard error by most is kept, or the first setting if none does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np

from xview2_siamese_unet.metrics.confusion import Counts
from xview2_siamese_unet.types import BoolArray, CountRows, Numbers

BLOCKS: Final = 20
"""Groups of scenes, so that memory does not grow with the number of scenes."""
_FOLDS: Final = 5
_STRENGTHS: Final = (0.25, 0.5, 0.75, 1.0)
T = TypeVar("T")


class Shrunk(NamedTuple, Generic[T]):
    """A setting between the first and the tuned one.

    Attributes:
        setting: to use.
        strength: 0 for the first setting, 1 for the tuned one.
        gain: of the setting over the first one, on scenes left out of the search.
        error: standard error of the gain, over blocks of scenes.
    """

    setting: T
    strength: float
    gain: float
    error: float


def shrink(
    *,
    tune: Callable[[BoolArray], T],
    between: Callable[[T, float], T],
    count: Callable[[T], CountRows],
    score: Callable[[Counts], Numbers],
    blocks: BoolArray,
) -> Shrunk[T]:
    """Tune a setting, and shrink it by its gain on scenes left out of the tuning.

    Args:
        tune: which blocks to search → the best setting for them.
        between: a setting and a strength from 0 to 1 → a setting between the first one and it.
        count: a setting → counts of each block, as `Counts.row` orders them.
        score: counts with a leading axis → the numbers to maximise.
        blocks: which blocks hold scenes; with fewer than two, nothing can be measured and the first setting stays.
    """
    tuned, used = tune(blocks), np.flatnonzero(blocks)
    first = between(tuned, 0.0)
    best = Shrunk(first, 0.0, 0.0, 0.0)
    if len(used) < 2:
        return best
    folds = [used[start::_FOLDS] for start in range(min(_FOLDS, len(used)))]
    tuned_without = [tune(blocks & ~np.isin(np.arange(len(blocks)), fold)) for fold in folds]
    counted = count(first)
    before = _leave_one_out(counted[used], score)
    for strength in _STRENGTHS:
        held_out = counted.copy()
        for setting, fold in zip(tuned_without, folds, strict=True):
            held_out[fold] = count(between(setting, strength))[fold]
        gain, *others = _leave_one_out(held_out[used], score) - before
        error = np.sqrt(len(used) - 1) * np.std(others)  # of the jackknife
        if gain - error > max(0.0, best.gain - best.error):
            best = Shrunk(between(tuned, strength), strength, float(gain), float(error))
    return best


def _leave_one_out(rows: CountRows, score: Callable[[Counts], Numbers]) -> Numbers:
    """Return the score of all blocks together, then of all but each one."""
    total = rows.sum(axis=0, keepdims=True)
    return score(Counts.from_rows(np.concatenate([total, total - rows])))
