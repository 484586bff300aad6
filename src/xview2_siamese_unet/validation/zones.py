"""95 % intervals for numbers of buildings in zones and cells, most of which have few labels.

A mixed logistic model of strata and zones, on a grid, gives the posterior of the difference between zones and of the
effect of each zone. Draws from it give the number among the buildings without a label. Both limits are moved by the
uncertainty of the rate in all zones together.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import special, stats

from xview2_siamese_unet.types import AnyArray
from xview2_siamese_unet.validation.intervals import SEED, TAIL, Counts, Interval, drawn_numbers, estimated

_SPREADS: Final = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0])  # standard deviation of log odds between zones
# Damage is patchy, which few labels cannot rule out.
_SPREAD_PRIOR: Final = np.array([0.01, 0.04, 0.15, 0.25, 0.3, 0.25])
_STEPS: Final = np.linspace(-3, 3, 41)  # effect of a zone in these standard deviations
_EFFECTS: Final = _SPREADS[:, None] * _STEPS
_LOG_PRIOR: Final = stats.norm.logpdf(_STEPS) - special.logsumexp(stats.norm.logpdf(_STEPS))
_EM_STEPS: Final = 20
_PSEUDO_LABELS: Final = 2.0  # labels at the overall rate, added to each stratum to keep its log odds finite
_CHUNK: Final = 256  # zones at a time


def zone_intervals(positives: AnyArray, labelled: AnyArray, sizes: AnyArray) -> Interval:
    """Return numbers of buildings of a kind in each zone, with intervals in whole buildings.

    The share of a stratum in a zone is that of the stratum in all zones, moved by an effect of the zone on the logit
    scale, which is normally distributed. How much zones differ is estimated from the labels. Zones without labels thus
    borrow from the strata, with an interval as wide as zones may differ.

    Args:
        positives: labels of that kind (zones, strata).
        labelled: labels.
        sizes: buildings.
    """
    rng = np.random.default_rng(SEED)
    x, n = positives.sum(0), labelled.sum(0)
    rate = np.nan_to_num(estimated(x, n, sizes.sum(0)), nan=sizes.sum() / 2) / max(1, sizes.sum())
    rate = float(np.clip(rate, 0.5 / (n.sum() + 1), 1 - 0.5 / (n.sum() + 1)))
    centre = _fitted_centres(positives, labelled, rate)  # (spreads, strata)
    logits = centre[:, None, :] + _EFFECTS[:, :, None]  # (spreads, steps, strata)
    joint = _log_likelihood(positives, labelled, logits) + _LOG_PRIOR  # (zones, spreads, steps)
    of_zone = special.logsumexp(joint, axis=2)
    # The difference between zones is estimated from all of them, the effect of a zone from its own labels.
    weights = joint - of_zone[:, :, None] + (of_zone.sum(0) + np.log(_SPREAD_PRIOR))[:, None]
    weights = np.exp(weights - weights.max(axis=(1, 2), keepdims=True)).reshape(len(positives), -1)
    low, high = _moved_rates(x, n, sizes.sum(0), (x + _PSEUDO_LABELS * rate) / (n + _PSEUDO_LABELS), rng)
    results = [
        _zone_chunk(each, weights[rows], logits.reshape(-1, len(x)), (low, high), rng)
        for start in range(0, len(positives), _CHUNK)
        for rows in [slice(start, start + _CHUNK)]
        for each in [(positives[rows], labelled[rows], sizes[rows])]
    ]
    return Interval(*(np.concatenate(parts) for parts in zip(*results, strict=True)))


def _moved_rates(
    positives: AnyArray, labelled: AnyArray, sizes: AnyArray, share: AnyArray, rng: np.random.Generator
) -> tuple[AnyArray, AnyArray]:
    """Return draws of the difference of the overall rate from its fit, on the logit scale, for both limits."""
    whole = max(1, sizes.sum())
    fitted = special.logit(np.clip((sizes * share).sum() / whole, 1e-9, 1 - 1e-9))
    drawn = drawn_numbers(positives, labelled, sizes, rng)
    low, high = (special.logit(np.clip(each / whole, 1e-9, 1 - 1e-9)) - fitted for each in drawn)
    return low, high


def _log_likelihood(positives: AnyArray, labelled: AnyArray, logits: AnyArray) -> AnyArray:
    """Return the log likelihood of the labels of each zone (zones, spreads, steps)."""
    yes = np.einsum("zh,tuh->ztu", positives, special.log_expit(logits))
    return np.asarray(yes + np.einsum("zh,tuh->ztu", labelled - positives, special.log_expit(-logits)))


def _fitted_centres(positives: AnyArray, labelled: AnyArray, rate: float) -> AnyArray:
    """Return the logit of each stratum in a zone without effect, for each spread (spreads, strata).

    Expectation maximisation over zones with labels; pseudo-labels at the overall rate keep each logit finite.
    """
    some = labelled.sum(1) > 0
    positives, labelled = positives[some], labelled[some]
    centre = np.repeat(
        special.logit((positives.sum(0) + _PSEUDO_LABELS * rate) / (labelled.sum(0) + _PSEUDO_LABELS))[None],
        len(_SPREADS),
        0,
    )
    for _ in range(_EM_STEPS):
        logits = centre[:, None, :] + _EFFECTS[:, :, None]
        weight = special.softmax(_log_likelihood(positives, labelled, logits) + _LOG_PRIOR, axis=2)
        prior = _PSEUDO_LABELS * np.exp(_LOG_PRIOR)[:, None]
        counts = np.einsum("ztu,zh->tuh", weight, labelled) + prior
        share = special.expit(logits)
        slope = positives.sum(0) + _PSEUDO_LABELS * rate - (counts * share).sum(1)
        centre += np.clip(slope / (counts * share * (1 - share)).sum(1), -1, 1)
    return centre


def _zone_chunk(
    zone: Counts,
    weights: AnyArray,
    logits: AnyArray,
    moved: tuple[AnyArray, AnyArray],
    rng: np.random.Generator,
) -> Interval:
    positives, labelled, sizes = zone
    cumulated = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
    drawn = np.stack([np.searchsorted(row, rng.random(len(moved[0]))) for row in cumulated], axis=1)
    drawn = np.minimum(drawn, len(logits) - 1)
    left = (sizes - labelled).astype(np.int64)
    zones, strata = np.nonzero(left)
    lower, upper = (np.repeat(positives.sum(1)[None].astype(float), len(drawn), 0) for _ in moved)
    for totals, rate in zip((lower, upper), moved, strict=True):
        shares = special.expit(logits[drawn[:, zones], strata] + rate[:, None])
        filled, start = np.unique(zones, return_index=True)
        if len(filled):
            totals[:, filled] += np.add.reduceat(rng.binomial(left[zones, strata], shares), start, axis=1)
    low = np.floor(np.quantile(lower, TAIL, axis=0)).astype(int)
    high = np.ceil(np.quantile(upper, 1 - TAIL, axis=0)).astype(int)
    most = (sizes.sum(1) - (labelled - positives).sum(1)).astype(int)
    flat = (low >= high) & (left.sum(1) > 0)
    high = np.where(flat, np.minimum(low + 1, most), high)
    low = np.where(flat & (low == high), low - 1, low)
    return Interval((lower.mean(0) + upper.mean(0)) / 2, low, high)
