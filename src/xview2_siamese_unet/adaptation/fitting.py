"""Fitting of a head on a few labels.

Regularised ordinal logistic regression on each block of features, whose logits are averaged: with a few dozen labels, a
regression on all features at once follows the deepest level, which has most of them. The average is calibrated on
logits of spatially grouped cross-validation: a slope, a shift of each class, and the weight of the zero-shot
probabilities, which penalties hold near 1, 0 and 1 while there are few labels.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.utils.class_weight import compute_sample_weight

from xview2_siamese_unet.adaptation.embedding import Block, Embedding
from xview2_siamese_unet.adaptation.head import FLOOR, Calibration, Head, prior_of
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.types import AnyArray, Float32Array, Float64Array, Int64Array

STRENGTHS: Final = (0.1, 1.0, 10.0)
"""Inverse strengths of regularisation to choose from."""
_LEAST: Final = 3  # labels that a damage class needs
_FOLDS: Final = 5
_LABELS_PER_BLOCK: Final = 4
_BLOCKS: Final = (5, 30)
_SEED: Final = 0
_PENALTIES: Final = {"slope": 1.0, "shift": 2.0, "zero_shot": 1.0}  # that hold slope, shift, weight near 1, 0, 1
_log = logging.getLogger(__name__)


class Labelled(NamedTuple):
    """Labelled buildings.

    Attributes:
        features: (n, d).
        classes: `Damage` codes (n,).
        groups: number of the spatial block of each.
        weights: of each in the calibration, mean 1: how many buildings resemble it.
        zero_shot: probabilities (n, 4) of a net that was not trained on the event; `None` without one.
    """

    features: Float32Array
    classes: Int64Array
    groups: Int64Array
    weights: Float64Array
    zero_shot: Float64Array | None = None

    def take(self, rows: AnyArray) -> Labelled:
        """Return the labelled buildings of some rows."""
        return Labelled(*(None if each is None else each[rows] for each in self))  # type: ignore[arg-type]


def fit_head(embedding: Embedding, labelled: Labelled, facts: Mapping[str, Any] | None = None) -> Head:
    """Return a head fitted on labels.

    Args:
        embedding: features of all buildings, from which the scale of each feature is taken.
        labelled: labelled buildings; damage classes with fewer than three labels are merged into the commonest.
        facts: to store with the head.

    Raises:
        DataError: fewer than two classes.
    """
    labelled = labelled._replace(classes=merge_rare(labelled.classes))
    centre, scale = standardisation(embedding)
    ready = labelled._replace(features=(labelled.features - centre) / scale)
    codes = tuple(int(code) for code in np.unique(labelled.classes))
    if len(codes) < 2:
        raise DataError("The labels are of one class; two are needed.", hint="Label buildings of other classes, too.")
    strength, calibration = choose_strength(ready, embedding.blocks)
    coefficients, intercept = fit_blocks(ready.features, ready.classes, embedding.blocks, strength)
    used = {"labels": len(labelled.classes), "strength": strength, **(facts or {})}
    return Head(codes, centre, scale, coefficients, intercept, calibration, embedding.blocks, strength, used)


def standardisation(embedding: Embedding) -> tuple[Float32Array, Float32Array]:
    """Return mean and standard deviation of each feature over all buildings, labelled or not."""
    sample = embedding.sample()
    spread = sample.std(axis=0)
    return sample.mean(axis=0), np.where(spread > 0, spread, 1).astype(np.float32)


def merge_rare(classes: Int64Array) -> Int64Array:
    """Return the classes, damage classes with fewer than three labels replaced by the most frequent one."""
    damaged, counts = np.unique(classes[classes > Damage.NO_DAMAGE], return_counts=True)
    rare = damaged[counts < _LEAST]
    if len(damaged) < 2 or not len(rare):
        return classes
    into = damaged[np.argmax(counts)]
    rare = rare[rare != into]
    moved = np.isin(classes, rare)
    words = " and ".join(Damage(code).word for code in rare)
    _log.warning(
        "%d labels of %s are too few for a separate class: they count as %s", moved.sum(), words, Damage(into).word
    )
    return np.where(moved, into, classes)


def fit_blocks(
    features: Float32Array, classes: Int64Array, blocks: Sequence[Block], strength: float
) -> tuple[Float32Array, Float32Array]:
    """Return coefficients (d, k) and intercepts (k,) of the weighted average of the classifiers of each block.

    For each class but the lowest, a classifier gives the logit of "this class or worse"; the logit of a class is the
    sum up to it. If the former fall from class to class, the most probable class is the last one with a positive logit.
    """
    codes, total = np.unique(classes), sum(block.weight for block in blocks)
    coefficients = np.zeros((features.shape[1], len(codes)), np.float32)
    intercept = np.zeros(len(codes), np.float32)
    targets = [classes >= code for code in codes[1:]]
    weights = [compute_sample_weight("balanced", target) for target in targets]  # once for all blocks
    for block in blocks:
        part = slice(block.start, block.stop)
        for column, (target, weight) in enumerate(zip(targets, weights, strict=True), start=1):
            model = LogisticRegression(C=strength, max_iter=500)
            model.fit(features[:, part], target, weight)
            coefficients[part, column:] += block.weight / total * model.coef_.T
            intercept[column:] += block.weight / total * model.intercept_
    return coefficients, intercept


def choose_strength(labelled: Labelled, blocks: Sequence[Block]) -> tuple[float, Calibration]:
    """Return the strength whose calibrated logits of left-out blocks fit best, and their calibration."""
    fits: dict[float, tuple[float, Calibration]] = {}
    for strength in STRENGTHS:
        logits = left_out_logits(labelled, blocks, strength)
        if logits is None:
            return 1.0, Calibration(zero_shot=1.0)
        fits[strength] = calibrate(logits, labelled)
    best = min(fits, key=lambda strength: fits[strength][0])
    return best, fits[best][1]


def left_out_logits(labelled: Labelled, blocks: Sequence[Block], strength: float) -> Float64Array | None:
    """Return logits (n, k) of heads fitted without the spatial block; `None` with too few labels for any fold.

    Rows are NaN if the other folds lack a class.
    """
    folds = list(grouped_folds(labelled))
    codes = np.unique(labelled.classes)
    logits = np.full((len(labelled.classes), len(codes)), np.nan)
    for train, test in folds:
        if len(np.unique(labelled.classes[train])) == len(codes):
            coefficients, intercept = fit_blocks(labelled.features[train], labelled.classes[train], blocks, strength)
            logits[test] = labelled.features[test] @ coefficients + intercept
    known = np.isfinite(logits[:, 0])
    return logits if known.any() and len(np.unique(labelled.classes[known])) == len(codes) else None


def grouped_folds(labelled: Labelled) -> list[tuple[Int64Array, Int64Array]]:
    """Return rows to fit on and rows left out: at most five folds of whole spatial blocks, classes spread evenly."""
    rarest = np.unique(labelled.classes, return_counts=True)[1].min()
    count = int(min(_FOLDS, len(np.unique(labelled.groups)), rarest))
    if count < 2:
        return []
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=_SEED)
    return list(folds.split(labelled.features, labelled.classes, labelled.groups))


def calibrate(logits: Float64Array, labelled: Labelled) -> tuple[float, Calibration]:
    """Return the penalised log loss of the best calibration, and the calibration.

    A maximum a posteriori estimate: with few labels slope and weight of the zero-shot probabilities stay near 1, and
    the shifts near 0.
    """
    codes = np.unique(labelled.classes)
    known = np.isfinite(logits[:, 0])
    target = np.searchsorted(codes, labelled.classes[known])
    weights, rows = labelled.weights[known], np.arange(known.sum())
    offset = np.zeros((known.sum(), len(codes)))
    if labelled.zero_shot is not None:
        prior = prior_of(labelled.zero_shot[known])
        offset = np.log(prior[:, codes - int(Damage.NO_DAMAGE)].clip(FLOOR))

    def loss(values: Float64Array) -> float:
        slope, weight, shift = np.exp(values[0]), values[1], values[2:]
        scores = log_softmax(slope * logits[known] + weight * offset + shift, axis=1)
        penalty = _PENALTIES["slope"] * values[0] ** 2 + _PENALTIES["zero_shot"] * (weight - 1) ** 2
        return float(-(weights * scores[rows, target]).sum() + penalty + _PENALTIES["shift"] * (shift**2).sum())

    start = np.r_[0.0, 1.0, np.zeros(len(codes))]
    bounds = [(-3, 3), (0, 2), *[(-5, 5)] * len(codes)]
    result = minimize(loss, start, method="L-BFGS-B", bounds=bounds)
    log_slope, weight, *shift = map(float, result.x)
    return float(result.fun), Calibration(float(np.exp(log_slope)), tuple(shift), weight)


def spatial_blocks(points: Float64Array) -> Int64Array:
    """Return the number of the spatial block of each labelled building: neighbours stay together."""
    low, high = _BLOCKS
    count = min(len(np.unique(points, axis=0)), max(low, min(high, len(points) // _LABELS_PER_BLOCK)))
    blocks: Int64Array = KMeans(count, n_init=1, random_state=_SEED).fit_predict(points).astype(np.int64)
    return blocks
