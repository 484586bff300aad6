"""95 % intervals for the number of buildings of a kind, from a stratified random sample.

The error of the stratified estimate has the usual variance with finite-population correction; its distribution is a
beta distribution of the same mean and variance over the buildings that are not labelled. Each limit is moved outwards
by half a building of the stratum in which a label stands for most buildings, after the gamma intervals of Fay and Feuer
(1997) and their mid-p version (Fay and Kim 2017) for weighted sums of Poisson counts. So an interval lies between the
buildings that are labelled so and those that are not labelled otherwise, and has a width unless all are labelled.
Predictions decide which buildings are labelled, and are not used otherwise.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from scipy import special, stats

from xview2_siamese_unet.types import AnyArray

LEVEL: Final = 0.95
"""Share of samples whose interval holds the truth."""
SEED: Final = 0
DRAWS: Final = 2000
_PSEUDO: Final = 0.5
_TAIL: Final = (1 - LEVEL) / 2
_ZONE_SPREADS: Final = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0])
_SPREAD_PRIOR: Final = np.array([0.01, 0.04, 0.15, 0.25, 0.3, 0.25])
_ZONE_STEPS: Final = np.linspace(-3, 3, 41)
_EFFECTS: Final = _ZONE_SPREADS[:, None] * _ZONE_STEPS
_LOG_PRIOR: Final = stats.norm.logpdf(_ZONE_STEPS) - special.logsumexp(stats.norm.logpdf(_ZONE_STEPS))
_EM_STEPS: Final = 20
_LENT: Final = 2.0
_CHUNK: Final = 256


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
    return np.asarray(left.known + left.buildings * stats.beta.ppf(1 - _TAIL, left.a, left.b))


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
    heaviest = np.argmax(left / labels, axis=-1, keepdims=True)
    extra = np.zeros(left.shape)
    np.put_along_axis(extra, heaviest, _PSEUDO, axis=-1)
    share = np.where(extra > 0, (found + extra) / (labels + extra), found / labels)
    # Of a single label the variance is unknown: the largest one.
    variance = np.where(labels > 1, share * (1 - share) * labels / np.maximum(labels - 1, 1), 0.25)
    of_mean = np.where(extra > 0, share * (1 - share) / (labels + extra), variance / labels)
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
    (part_low, part_high), (rest_low, rest_high) = (_drawn(*each, rng) for each in (part, rest))
    low = np.quantile(part_low / np.maximum(part_low + rest_high, 1e-9), _TAIL)
    high = np.quantile(part_high / np.maximum(part_high + rest_low, 1e-9), 1 - _TAIL)
    # Without any building the share is unknown.
    return (float(low), float(high)) if part[0].sum() + rest[0].sum() > 0 else (0.0, 1.0)


def _drawn(found: AnyArray, labelled: AnyArray, sizes: AnyArray, rng: np.random.Generator) -> tuple[AnyArray, AnyArray]:
    """Return draws of a number, once for lower and once for upper limits."""
    found, labelled, sizes = (np.asarray(each, float) for each in (found, labelled, sizes))
    upper, lower = upper_distribution(found, labelled, sizes), upper_distribution(labelled - found, labelled, sizes)
    high = upper.known + upper.buildings * rng.beta(upper.a, upper.b, DRAWS)
    low = sizes.sum() - lower.known - lower.buildings * rng.beta(lower.a, lower.b, DRAWS)
    return low, high


def zone_intervals(found: AnyArray, labelled: AnyArray, sizes: AnyArray) -> Interval:
    """Return numbers of buildings of a kind in each zone, with intervals in whole buildings.

    The share of a stratum in a zone is that of the stratum in all zones, moved by an effect of the zone on the logit
    scale, which is normally distributed. How much zones differ is unknown, and follows from the labels as far as they
    tell. Zones without labels thus borrow from the strata, with an interval as wide as zones may differ.

    Args:
        found: labels of that kind (zones, strata).
        labelled: labels.
        sizes: buildings.
    """
    rng = np.random.default_rng(SEED)
    x, n = found.sum(0), labelled.sum(0)
    rate = np.nan_to_num(estimated(x, n, sizes.sum(0)), nan=sizes.sum() / 2) / max(1, sizes.sum())
    rate = float(np.clip(rate, 0.5 / (n.sum() + 1), 1 - 0.5 / (n.sum() + 1)))
    centre = _fitted_centres(found, labelled, rate)  # (spreads, strata)
    logits = centre[:, None, :] + _EFFECTS[:, :, None]  # (spreads, steps, strata)
    joint = _log_likelihood(found, labelled, logits) + _LOG_PRIOR  # (zones, spreads, steps)
    of_zone = special.logsumexp(joint, axis=2)
    # How much zones differ follows from all of them, the effect of a zone from its own labels.
    weights = joint - of_zone[:, :, None] + (of_zone.sum(0) + np.log(_SPREAD_PRIOR))[:, None]
    weights = np.exp(weights - weights.max(axis=(1, 2), keepdims=True)).reshape(len(found), -1)
    low, high = _moved_rates(x, n, sizes.sum(0), (x + _LENT * rate) / (n + _LENT), rng)
    results = [
        _zone_chunk(each, weights[rows], logits.reshape(-1, len(x)), (low, high), rng)
        for start in range(0, len(found), _CHUNK)
        for rows in [slice(start, start + _CHUNK)]
        for each in [(found[rows], labelled[rows], sizes[rows])]
    ]
    return Interval(*(np.concatenate(parts) for parts in zip(*results, strict=True)))


def _moved_rates(
    found: AnyArray, labelled: AnyArray, sizes: AnyArray, share: AnyArray, rng: np.random.Generator
) -> tuple[AnyArray, AnyArray]:
    """Return draws of how far the overall rate may lie from its fit, on the logit scale, for both limits."""
    whole = max(1, sizes.sum())
    fitted = special.logit(np.clip((sizes * share).sum() / whole, 1e-9, 1 - 1e-9))
    drawn = _drawn(found, labelled, sizes, rng)
    low, high = (special.logit(np.clip(each / whole, 1e-9, 1 - 1e-9)) - fitted for each in drawn)
    return low, high


def _log_likelihood(found: AnyArray, labelled: AnyArray, logits: AnyArray) -> AnyArray:
    """Return the log likelihood of the labels of each zone (zones, spreads, steps)."""
    yes = np.einsum("zh,tuh->ztu", found, special.log_expit(logits))
    return np.asarray(yes + np.einsum("zh,tuh->ztu", labelled - found, special.log_expit(-logits)))


def _fitted_centres(found: AnyArray, labelled: AnyArray, rate: float) -> AnyArray:
    """Return the logit of each stratum in a zone without effect, for each spread (spreads, strata).

    Expectation maximisation over zones with labels; one label at the overall rate keeps each stratum finite.
    """
    some = labelled.sum(1) > 0
    found, labelled = found[some], labelled[some]
    centre = np.repeat(
        special.logit((found.sum(0) + _LENT * rate) / (labelled.sum(0) + _LENT))[None], len(_ZONE_SPREADS), 0
    )
    for _ in range(_EM_STEPS):
        logits = centre[:, None, :] + _EFFECTS[:, :, None]
        weight = special.softmax(_log_likelihood(found, labelled, logits) + _LOG_PRIOR, axis=2)
        prior = _LENT * np.exp(_LOG_PRIOR)[:, None]
        counts = np.einsum("ztu,zh->tuh", weight, labelled) + prior
        share = special.expit(logits)
        slope = found.sum(0) + _LENT * rate - (counts * share).sum(1)
        centre += np.clip(slope / (counts * share * (1 - share)).sum(1), -1, 1)
    return centre


def _zone_chunk(
    zone: Counts,
    weights: AnyArray,
    logits: AnyArray,
    moved: tuple[AnyArray, AnyArray],
    rng: np.random.Generator,
) -> Interval:
    found, labelled, sizes = zone
    cumulated = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
    drawn = np.stack([np.searchsorted(row, rng.random(DRAWS)) for row in cumulated], axis=1)
    drawn = np.minimum(drawn, len(logits) - 1)
    left = (sizes - labelled).astype(np.int64)
    lower, upper = (
        found.sum(1) + rng.binomial(left, special.expit(logits[drawn] + each[:, None, None])).sum(2) for each in moved
    )
    low = np.floor(np.quantile(lower, _TAIL, axis=0)).astype(int)
    high = np.ceil(np.quantile(upper, 1 - _TAIL, axis=0)).astype(int)
    most = (sizes.sum(1) - (labelled - found).sum(1)).astype(int)
    flat = (low >= high) & (left.sum(1) > 0)
    high = np.where(flat, np.minimum(low + 1, most), high)
    low = np.where(flat & (low == high), low - 1, low)
    return Interval((lower.mean(0) + upper.mean(0)) / 2, low, high)
