"""Scores of a head: cross-validation over spatial blocks, intervals, learning curve, majority baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from xview2_siamese_unet.adaptation.embedding import Block
from xview2_siamese_unet.adaptation.fitting import Labelled, calibrate, grouped_folds, left_out_logits, merge_rare
from xview2_siamese_unet.adaptation.head import calibrated
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.metrics.bootstrap import bounds, draw_weights
from xview2_siamese_unet.types import Float64Array, Int64Array

MORE: Final = 48
"""Labels whose expected gain is reported."""
_CURVE: Final = (0.5, 0.75)
_REPEATS: Final = 2
_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of predictions for spatial blocks that were left out of the fit.

    Attributes:
        labels: number of labels.
        blocks: number of spatial blocks.
        values: F1 of damaged buildings, macro-F1, accuracy and balanced accuracy (the mean recall of the classes), and
            `majority_...` of always predicting the most frequent class.
        intervals: the same keys, and `gain` and `balanced_gain`: macro-F1 and balanced accuracy over those of the
            majority → [low, high].
        curve: number of labels → mean macro-F1 with that number.
        gain: expected gain in macro-F1 of 48 more labels, `None` if the curve is too short.
    """

    labels: int
    blocks: int
    values: dict[str, float]
    intervals: dict[str, list[float]]
    curve: dict[int, float]
    gain: float | None

    @property
    def beats_majority(self) -> bool:
        """Whether the head is better than the majority and than guessing, beyond chance.

        Guessing has a higher macro-F1 than the majority, but the same balanced accuracy: one over the number of
        classes.
        """
        return min(self.intervals[key][0] for key in ("gain", "balanced_gain")) > 0


def cross_validated(labelled: Labelled, blocks: tuple[Block, ...], strength: float) -> Scores | None:
    """Return the scores, `None` with too few labels for two folds.

    Args:
        labelled: labels with standardised features.
        blocks: of the features.
        strength: of the regularisation.
    """
    labelled = labelled._replace(classes=merge_rare(labelled.classes))
    predicted = _predict_left_out(labelled, blocks, strength)
    if predicted is None:
        return None
    codes, groups = np.unique(labelled.classes), np.unique(labelled.groups)
    counts = np.zeros((2, len(groups), len(codes), len(codes)), np.int64)
    majority = codes[np.argmax([(labelled.classes == code).sum() for code in codes])]
    known = predicted > 0
    true = np.searchsorted(codes, labelled.classes[known])
    group = np.searchsorted(groups, labelled.groups[known])
    np.add.at(counts[0], (group, true, np.searchsorted(codes, predicted[known])), 1)
    np.add.at(counts[1], (group, true, np.full(len(true), np.searchsorted(codes, majority))), 1)
    draws = draw_weights(len(groups))
    whole = [_measure(each.sum(axis=0)[None], codes) for each in counts]
    drawn = [_measure(np.tensordot(draws, each, axes=1), codes) for each in counts]
    values = {key: float(value[0]) for key, value in whole[0].items()}
    values |= {f"majority_{key}": float(value[0]) for key, value in whole[1].items()}
    gains = {
        "gain": drawn[0]["macro_f1"] - drawn[1]["macro_f1"],
        "balanced_gain": drawn[0]["balanced_accuracy"] - 1 / len(codes),
    }
    intervals = bounds({**drawn[0], **gains})
    curve = _learning_curve(labelled, blocks, strength) | {len(labelled.classes): values["macro_f1"]}
    return Scores(len(labelled.classes), len(groups), values, intervals, curve, _expected_gain(curve))


def _predict_left_out(labelled: Labelled, blocks: tuple[Block, ...], strength: float) -> Int64Array | None:
    """Return the predicted code of each labelled building by heads fitted without its block; 0 without a head.

    Each fold is calibrated on the logits of the others.
    """
    logits = left_out_logits(labelled, blocks, strength)
    if logits is None:
        return None
    codes = tuple(int(code) for code in np.unique(labelled.classes))
    predicted = np.zeros(len(logits), np.int64)
    for _, test in grouped_folds(labelled):
        if np.isfinite(logits[test, 0]).all():
            others = logits.copy()
            others[test] = np.nan
            zero_shot = None if labelled.zero_shot is None else labelled.zero_shot[test]
            shares = calibrated(logits[test], codes, calibrate(others, labelled)[1], zero_shot)
            predicted[test] = shares.argmax(axis=1) + int(Damage.NO_DAMAGE)
    return predicted


def _measure(counts: Any, codes: Int64Array) -> dict[str, Float64Array]:  # noqa: ANN401
    """Return the scores of confusion counts (draws, k, k), true classes in rows."""
    hits, true, predicted = np.einsum("nii->ni", counts), counts.sum(axis=2), counts.sum(axis=1)
    each = 2 * hits / np.maximum(true + predicted, 1)
    damaged = codes > Damage.NO_DAMAGE
    damaged_hits = counts[:, damaged][:, :, damaged].sum(axis=(1, 2))
    total = true[:, damaged].sum(axis=1) + predicted[:, damaged].sum(axis=1)
    return {
        "damaged_f1": 2 * damaged_hits / np.maximum(total, 1),
        "macro_f1": each.mean(axis=1),
        "accuracy": hits.sum(axis=1) / np.maximum(counts.sum(axis=(1, 2)), 1),
        "balanced_accuracy": (hits / np.maximum(true, 1)).mean(axis=1),
    }


def _learning_curve(labelled: Labelled, blocks: tuple[Block, ...], strength: float) -> dict[int, float]:
    """Return macro-F1 of left-out predictions with parts of the labels, each a mean over two random parts."""
    rng, count, curve = np.random.default_rng(_SEED), len(labelled.classes), {}
    codes = np.unique(labelled.classes)
    for share in _CURVE:
        scores = []
        for _ in range(_REPEATS):
            part = labelled.take(np.sort(rng.permutation(count)[: round(share * count)]))
            if len(np.unique(part.classes)) < len(codes):
                continue
            predicted = _predict_left_out(part, blocks, strength)
            if predicted is not None:
                known = predicted > 0
                matrix = np.zeros((1, len(codes), len(codes)), np.int64)
                true = np.searchsorted(codes, part.classes[known])
                np.add.at(matrix[0], (true, np.searchsorted(codes, predicted[known])), 1)
                scores.append(float(_measure(matrix, codes)["macro_f1"][0]))
        if scores:
            curve[round(share * count)] = float(np.mean(scores))
    return curve


def _expected_gain(curve: dict[int, float]) -> float | None:
    """Return the expected gain of `MORE` labels, from a fit of a - b / sqrt(labels) to the learning curve.

    Never negative: more labels of the same kind make no head worse on average.
    """
    if len(curve) < 3:
        return None
    counts, scores = np.array(list(curve)), np.array(list(curve.values()))
    slope = np.polyfit(counts**-0.5, scores, 1)[0]
    now = counts.max()
    gain = slope * ((now + MORE) ** -0.5 - now**-0.5)
    return float(np.clip(gain, 0, 1 - scores[-1]))
