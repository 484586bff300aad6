"""95 % intervals for the number of buildings of a kind, from a stratified random sample.

Stratum h has N buildings, n labels, x of them positive (of the kind), and m = N - n buildings without a label.

1. The estimate is the stratified one: sum of N x / n.
2. The observed share of a stratum is p = x / n, with variance v = p (1 - p) / (n - 1), or 1/4 if n = 1.
3. In the one stratum where it raises sum(m p) most, a posterior replaces p: the mean (x + c) / (n + 1) and the variance
   p (1 - p) / (n + 2), with c = 1/2 (Jeffreys), or c = 1 if no label is positive (Clopper and Pearson; both in Brown,
   Cai and DasGupta 2001). One stratum suffices, as in the gamma intervals of Fay and Feuer (1997) for weighted sums.
4. The positives without a label have the mean M = sum(m p) and the variance V = sum(m² v + m p (1 - p)): the error of
   the share, and that of the buildings drawn with it. Together this is N² (1 - n / N) p (1 - p) / (n - 1), the usual
   variance with finite-population correction.
5. They are sum(m) times a beta distribution with this mean and variance; the upper limit is sum(x) plus its 97.5 %
   quantile. A stratum without labels counts as entirely positive.
6. The lower limit is sum(N) minus the upper limit of the buildings that are not of the kind.

Both limits are rounded outwards to whole buildings, and lie between sum(x) and sum(N - n + x). Predictions decide which
buildings are labelled, and are not used otherwise.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from xview2_siamese_unet.types import AnyArray

LEVEL: Final = 0.95
"""Share of samples whose interval holds the truth."""
SEED: Final = 0
"""Seed of the random draws."""
DRAWS: Final = 1000
"""Number of draws from a distribution without a closed form."""
TAIL: Final = (1 - LEVEL) / 2
"""Share of samples whose interval lies too low, and too high."""


class Interval(NamedTuple):
    """Estimates with the lower and the upper limit of their intervals."""

    estimate: AnyArray
    low: AnyArray
    high: AnyArray


class Unlabelled(NamedTuple):
    """Distribution of the number of buildings of a kind: `known` + `buildings` × beta(a, b)."""

    known: AnyArray
    buildings: AnyArray
    a: AnyArray
    b: AnyArray


def count_interval(positives: AnyArray, labelled: AnyArray, sizes: AnyArray) -> Interval:
    """Return the estimated number of buildings of a kind and its interval in whole buildings.

    Args:
        positives: labels of that kind in each stratum (..., strata).
        labelled: labels.
        sizes: buildings.
    """
    positives, labelled, sizes = (np.asarray(each, float) for each in (positives, labelled, sizes))
    positive, negative = positives.sum(-1), (labelled - positives).sum(-1)
    low, high = limits(positives, labelled, sizes)
    low = np.maximum(np.floor(low + 1e-9), positive)
    high = np.minimum(np.ceil(high - 1e-9), sizes.sum(-1) - negative)
    return Interval(estimated(positives, labelled, sizes), low.astype(int), high.astype(int))


def limits(positives: AnyArray, labelled: AnyArray, sizes: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return both limits, not rounded."""
    whole = sizes.sum(-1)
    return whole - _upper(labelled - positives, labelled, sizes), _upper(positives, labelled, sizes)


def _upper(positives: AnyArray, labelled: AnyArray, sizes: AnyArray) -> AnyArray:
    left = upper_distribution(positives, labelled, sizes)
    return np.asarray(left.known + left.buildings * stats.beta.ppf(1 - TAIL, left.a, left.b))


def estimated(positives: AnyArray, labelled: AnyArray, sizes: AnyArray) -> AnyArray:
    """Return the stratified estimate of a number, NaN without any label.

    A stratum without labels gets the share of all labels.
    """
    with np.errstate(invalid="ignore"):
        usual = positives.sum(-1, keepdims=True) / labelled.sum(-1, keepdims=True)
    share = np.where(labelled > 0, positives / np.maximum(labelled, 1), usual)
    return np.asarray((sizes * share).sum(-1))


def upper_distribution(positives: AnyArray, labelled: AnyArray, sizes: AnyArray) -> Unlabelled:
    """Return the distribution whose upper tail is the upper limit.

    A stratum without labels may be entirely of that kind.
    """
    blank = labelled == 0
    known = positives.sum(-1) + np.where(blank, sizes, 0).sum(-1)
    left = np.where(blank, 0, sizes - labelled)
    labels = np.maximum(labelled, 1)
    none = positives.sum(-1, keepdims=True) == 0
    pseudo = np.where(none, 1.0, 0.5)
    effect = left * ((positives + pseudo) / (labels + 1) - positives / labels)
    heaviest = np.zeros(left.shape, bool)
    np.put_along_axis(heaviest, np.argmax(effect, axis=-1, keepdims=True), True, axis=-1)
    heaviest &= effect > 0
    share = np.where(heaviest, (positives + pseudo) / (labels + 1), positives / labels)
    # The variance of a single label is unknown: the largest possible one is used.
    variance = np.where(labels > 1, share * (1 - share) * labels / np.maximum(labels - 1, 1), 0.25)
    of_mean = np.where(heaviest, share * (1 - share) / (labels + 2), variance / labels)
    total = left.sum(-1)
    mean = (left * share).sum(-1) / np.maximum(total, 1)
    error = (left**2 * of_mean + left * share * (1 - share)).sum(-1) / np.maximum(total, 1) ** 2
    mean = np.clip(mean, 1e-12, 1 - 1e-12)
    strength = np.clip(mean * (1 - mean) / np.maximum(error, 1e-15) - 1, 1e-3, 1e12)
    return Unlabelled(known, total, mean * strength, (1 - mean) * strength)


Counts = tuple[AnyArray, AnyArray, AnyArray]
"""`positives`, `labelled` and `sizes` of some strata."""


def ratio_interval(part: Counts, rest: Counts) -> tuple[float, float]:
    """Return the interval of a share, part / (part + rest), of two numbers from separate strata.

    Args:
        part: `positives`, `labelled` and `sizes` of its strata, as for `count_interval`.
        rest: the same of the other number.
    """
    rng = np.random.default_rng(SEED)
    (part_low, part_high), (rest_low, rest_high) = (drawn_numbers(*each, rng) for each in (part, rest))
    low = np.quantile(part_low / np.maximum(part_low + rest_high, 1e-9), TAIL)
    high = np.quantile(part_high / np.maximum(part_high + rest_low, 1e-9), 1 - TAIL)
    # Without any building the share is unknown.
    return (float(low), float(high)) if part[0].sum() + rest[0].sum() > 0 else (0.0, 1.0)


def drawn_numbers(
    positives: AnyArray, labelled: AnyArray, sizes: AnyArray, rng: np.random.Generator
) -> tuple[AnyArray, AnyArray]:
    """Return random draws of the number of buildings of a kind, for lower and for upper limits."""
    positives, labelled, sizes = (np.asarray(each, float) for each in (positives, labelled, sizes))
    upper, lower = (
        upper_distribution(positives, labelled, sizes),
        upper_distribution(labelled - positives, labelled, sizes),
    )
    high = upper.known + upper.buildings * rng.beta(upper.a, upper.b, DRAWS)
    low = sizes.sum() - lower.known - lower.buildings * rng.beta(lower.a, lower.b, DRAWS)
    return low, high
