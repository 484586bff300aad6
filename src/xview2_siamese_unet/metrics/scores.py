"""Scores as pure functions of counts.

The official score is that of `xview2_metrics.py` in DIUx-xView/xView2_scoring at commit ea0793d: counts are summed over
all images before any ratio is formed; damage counts only where the damage truth is one of the four scored classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.damage import N_CODES, SCORED, Damage
from xview2_siamese_unet.metrics.confusion import Counts, IntArray

EPSILON: Final = 1e-6
LOCALIZATION_SHARE: Final = 0.3
DAMAGE_SHARE: Final = 0.7


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Scores of one class; 0 where there is no true positive, as the official script has it.

    Attributes:
        precision: true positives among what was predicted.
        recall: true positives among what is true.
        f1: harmonic mean of both.
        iou: intersection over union.
        support: pixels that truly have this class.
    """

    precision: float
    recall: float
    f1: float
    iou: float
    support: int


def class_scores(matrix: IntArray) -> list[ClassScore]:
    """Return the scores of each class of a square matrix of counts, rows truth and columns prediction."""
    return [_class_score(matrix, code) for code in range(len(matrix))]


def scored_damage(damage: IntArray, policy: Unclassified) -> IntArray:
    """Return the 6 × 6 counts that the official score looks at: only rows whose truth is a scored class are left.

    Un-classified truth counts as no-damage under that policy and is left out under `ignore` and `class`. A predicted
    background stays where it is: there it is a building that was missed.
    """
    scored = damage.copy()
    if policy == "no_damage":
        scored[Damage.NO_DAMAGE] += scored[Damage.UNCLASSIFIED]
    scored[[Damage.BACKGROUND, Damage.UNCLASSIFIED]] = 0
    return scored


def official_score(counts: Counts, policy: Unclassified = "ignore") -> dict[str, float]:
    """Return the seven numbers of the official script under its own keys.

    All perfect gives 1.0000007, and a class that is absent or never hit pulls `damage_f1` to about 4e-6: so does the
    official script.
    """
    localization = class_scores(counts.localization)[1].f1
    f1 = {code: class_scores(scored_damage(counts.damage, policy))[code].f1 for code in SCORED}
    damage = _harmonic_mean(list(f1.values()))
    return {
        "score": LOCALIZATION_SHARE * localization + DAMAGE_SHARE * damage,
        "damage_f1": damage,
        "localization_f1": localization,
        **{f"damage_f1_{code.name.lower()}": value for code, value in f1.items()},
    }


def present_class_damage_f1(counts: Counts, policy: Unclassified = "ignore") -> float:
    """Return our own variant of `damage_f1`: only classes that the truth holds count; 0 where it holds none."""
    scores = class_scores(scored_damage(counts.damage, policy))
    return _harmonic_mean([scores[code].f1 for code in SCORED if scores[code].support])


def constant_scores(counts: Counts, policy: Unclassified = "ignore") -> dict[Damage, float]:
    """Return the official score that one same answer at every pixel would have had, for each of the codes 0 to 4."""
    answers = (Damage.BACKGROUND, *SCORED)
    return {answer: official_score(_answered(counts, answer), policy)["score"] for answer in answers}


def _class_score(matrix: IntArray, code: int) -> ClassScore:
    hit, true, found = int(matrix[code, code]), int(matrix[code].sum()), int(matrix[:, code].sum())
    if hit == 0:
        return ClassScore(0.0, 0.0, 0.0, 0.0, true)
    precision, recall = hit / found, hit / true
    f1 = 2 * precision * recall / (precision + recall)
    return ClassScore(precision, recall, f1, hit / (true + found - hit), true)


def _harmonic_mean(values: Sequence[float]) -> float:
    return len(values) / sum(1 / (value + EPSILON) for value in values) if values else 0.0


def _answered(counts: Counts, answer: Damage) -> Counts:
    localization, damage = np.zeros((2, 2), np.int64), np.zeros((N_CODES, N_CODES), np.int64)
    localization[:, int(answer > 0)] = counts.localization.sum(axis=1)
    damage[:, answer] = counts.damage.sum(axis=1)
    return Counts(localization, damage)
