"""95 % intervals for the number of buildings of a kind, from a stratified random sample.

The error of the stratified estimate has the usual variance with finite-population correction; its distribution is a
beta distribution of the same mean and variance over the buildings that are not labelled. In the stratum where it moves
a limit outwards most, a Jeffreys posterior replaces the observed share, which says too much where nothing is found; if
nothing is found at all, the exact limit of Clopper and Pearson does (Brown, Cai and DasGupta 2001). One stratum is
enough, as in the gamma intervals of Fay and Feuer (1997) for weighted sums. So an interval lies between the buildings
that are labelled so and those that are not labelled otherwise, and has a width unless all are labelled. Predictions
decide which buildings are labelled, and are not used otherwise.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from xview2_siamese_unet.types import AnyArray

LEVEL: Final = 0.95
"""Share of samples whose interval holds the truth."""
SEED: Final = 0
"""Of these draws."""
DRAWS: Final = 1000
"""Of a distribution that has no formula."""
TAIL: Final = (1 - LEVEL) / 2
"""Share of samples whose interval lies too low, and too high."""


class Interval(NamedTuple):
    """Estimates with the lower and the upper limit of their intervals."""

    estimate: AnyArray
    low: AnyArray
    high: AnyArray


class Unlabelled(NamedTuple):
    """Distribution of how many of the buildings without a label are of a kind: `known` + `buildings` × beta(a, b)."""

    known: AnyArray
    buildings: AnyArray
    a: AnyArray
    b: AnyArray


def count_interval(found: AnyArray, labelled: AnyArray, sizes: AnyArray) -> Interval:
    """Return the estimated number of buildings of a kind and its interval in whole buildings.

    Args:
        found: labels of that kind in each stratum (..., strata).
        labelled: labels.
        sizes: buildings.
    """
    found, labelled, sizes = (np.asarray(each, float) for each in (found, labelled, sizes))
    seen, other = found.sum(-1), (labelled - found).sum(-1)
    low, high = limits(found, labelled, sizes)
    low = np.maximum(np.floor(low + 1e-9), seen)
    high = np.minimum(np.ceil(high - 1e-9), sizes.sum(-1) - other)
    return Interval(estimated(found, labelled, sizes), low.astype(int), high.astype(int))


def limits(found: AnyArray, labelled: AnyArray, sizes: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return both limits, not rounded."""
    whole = sizes.sum(-1)
    return whole - _upper(labelled - found, labelled, sizes), _upper(found, labelled, sizes)


def _upper(found: AnyArray, labelled: AnyArray, sizes: AnyArray) -> AnyArray:
    left = upper_distribution(found, labelled, sizes)
    return np.asarray(left.known + left.buildings * stats.beta.ppf(1 - TAIL, left.a, left.b))


def estimated(found: AnyArray, labelled: AnyArray, sizes: AnyArray) -> AnyArray:
    """Return the stratified estimate of a number, NaN without any label.

    A stratum without labels has the share of all labels.
    """
    with np.errstate(invalid="ignore"):
        usual = found.sum(-1, keepdims=True) / labelled.sum(-1, keepdims=True)
    share = np.where(labelled > 0, found / np.maximum(labelled, 1), usual)
    return np.asarray((sizes * share).sum(-1))


def upper_distribution(found: AnyArray, labelled: AnyArray, sizes: AnyArray) -> Unlabelled:
    """Return the distribution whose upper tail is the upper limit.

    A stratum without labels may be of that kind altogether.
    """
    blank = labelled == 0
    known = found.sum(-1) + np.where(blank, sizes, 0).sum(-1)
    left = np.where(blank, 0, sizes - labelled)
    labels = np.maximum(labelled, 1)
    none = found.sum(-1, keepdims=True) == 0
    pseudo = np.where(none, 1.0, 0.5)
    effect = left * ((found + pseudo) / (labels + 1) - found / labels)
    heaviest = np.zeros(left.shape, bool)
    np.put_along_axis(heaviest, np.argmax(effect, axis=-1, keepdims=True), True, axis=-1)
    heaviest &= effect > 0
    share = np.where(heaviest, (found + pseudo) / (labels + 1), found / labels)
    # Of a single label the variance is unknown: the largest one.
    variance = np.where(labels > 1, share * (1 - share) * labels / np.maximum(labels - 1, 1), 0.25)
    of_mean = np.where(heaviest, share * (1 - share) / (labels + 2), variance / labels)
    total = left.sum(-1)
    mean = (left * share).sum(-1) / np.maximum(total, 1)
    error = (left**2 * of_mean + left * share * (1 - share)).sum(-1) / np.maximum(total, 1) ** 2
    mean = np.clip(mean, 1e-12, 1 - 1e-12)
    strength = np.clip(mean * (1 - mean) / np.maximum(error, 1e-15) - 1, 1e-3, 1e12)
    return Unlabelled(known, total, mean * strength, (1 - mean) * strength)


Counts = tuple[AnyArray, AnyArray, AnyArray]
"""`found`, `labelled` and `sizes` of some strata."""


def ratio_interval(part: Counts, rest: Counts) -> tuple[float, float]:
    """Return the interval of a share, part / (part + rest), of two numbers from separate strata.

    Args:
        part: `found`, `labelled` and `sizes` of its strata, as for `count_interval`.
        rest: the same of the other number.
    """
    rng = np.random.default_rng(SEED)
    (part_low, part_high), (rest_low, rest_high) = (drawn_numbers(*each, rng) for each in (part, rest))
    low = np.quantile(part_low / np.maximum(part_low + rest_high, 1e-9), TAIL)
    high = np.quantile(part_high / np.maximum(part_high + rest_low, 1e-9), 1 - TAIL)
    # Without any building the share is unknown.
    return (float(low), float(high)) if part[0].sum() + rest[0].sum() > 0 else (0.0, 1.0)


def drawn_numbers(
    found: AnyArray, labelled: AnyArray, sizes: AnyArray, rng: np.random.Generator
) -> tuple[AnyArray, AnyArray]:
    """Return draws of a number, once for lower and once for upper limits."""
    found, labelled, sizes = (np.asarray(each, float) for each in (found, labelled, sizes))
    upper, lower = upper_distribution(found, labelled, sizes), upper_distribution(labelled - found, labelled, sizes)
    high = upper.known + upper.buildings * rng.beta(upper.a, upper.b, DRAWS)
    low = sizes.sum() - lower.known - lower.buildings * rng.beta(lower.a, lower.b, DRAWS)
    return low, high
