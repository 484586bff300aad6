"""The official xView2 score and scores of each class, from confusion counts.

The official score is that of `xview2_metrics.py` in DIUx-xView/xView2_scoring at commit ea0793d: counts are summed over
all images before any ratio is formed; damage counts only where the damage truth is one of the four scored classes.
Every function takes any number of matrices at once, along leading axes.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.damage import N_CODES, SCORED, Damage
from xview2_siamese_unet.metrics.confusion import Counts
from xview2_siamese_unet.types import ClassNumbers, ClassSupport, DamageCounts, Float64Array, Matrices

EPSILON: Final = 1e-6
LOCALIZATION_SHARE: Final = 0.3
DAMAGE_SHARE: Final = 0.7
_SCORED: Final = list(SCORED)


class ClassScores(NamedTuple):
    """Scores of each class, 0 without a true positive, as official.

    Attributes:
        precision: true positives among predicted pixels.
        recall: true positives among true pixels.
        f1: harmonic mean of both.
        iou: intersection over union.
        support: true pixels of this class.
    """

    precision: ClassNumbers
    recall: ClassNumbers
    f1: ClassNumbers
    iou: ClassNumbers
    support: ClassSupport

    def of(self, code: int) -> dict[str, Any]:
        """Return name → plain number of one class of a single matrix."""
        return {name: values[code].item() for name, values in self._asdict().items()}


def class_scores(matrices: Matrices) -> ClassScores:
    """Return the scores of each class of confusion matrices."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    true, predicted = matrices.sum(axis=-1), matrices.sum(axis=-2)
    both = true + predicted
    return ClassScores(ratio(hits, predicted), ratio(hits, true), ratio(2 * hits, both), ratio(hits, both - hits), true)


def scored_damage(damage: DamageCounts, unclassified: Unclassified) -> DamageCounts:
    """Return the counts with only the rows of truth that are scored.

    Un-classified truth counts as no-damage with `no_damage` and is left out with `ignore` and `class`. A predicted
    background stays: there it is a building that was missed.
    """
    scored = damage.copy()
    if unclassified == "no_damage":
        scored[..., Damage.NO_DAMAGE, :] += scored[..., Damage.UNCLASSIFIED, :]
    scored[..., [Damage.BACKGROUND, Damage.UNCLASSIFIED], :] = 0
    return scored


def official_scores(counts: Counts, unclassified: Unclassified = "ignore") -> dict[str, Float64Array]:
    """Return the official scores under their keys, and `present_class_damage_f1`: key → (...).

    As in the official script, perfect predictions give 1.0000007, and a class that is absent or never hit pulls
    `damage_f1` to about 4e-6. `present_class_damage_f1` is not official: it counts only classes in the truth, and is 0
    without any.
    """
    located = class_scores(counts.localization).f1[..., 1]
    scores = class_scores(scored_damage(counts.damage, unclassified))
    f1, present = scores.f1[..., _SCORED], scores.support[..., _SCORED] > 0
    parts = 1 / (f1 + EPSILON)
    harmonic = len(SCORED) / parts.sum(axis=-1)
    return {
        "score": LOCALIZATION_SHARE * located + DAMAGE_SHARE * harmonic,
        "damage_f1": harmonic,
        "localization_f1": located,
        **{f"damage_f1_{code.name.lower()}": f1[..., index] for index, code in enumerate(SCORED)},
        "present_class_damage_f1": ratio(present.sum(axis=-1), (parts * present).sum(axis=-1)),
    }


def official_score(counts: Counts, unclassified: Unclassified = "ignore") -> dict[str, float]:
    """Return `official_scores` of a single pair of matrices as plain numbers."""
    return {key: float(value) for key, value in official_scores(counts, unclassified).items()}


def mean_scores(counts: Counts, unclassified: Unclassified = "ignore") -> dict[str, Float64Array]:
    """Return the score with the plain mean of the F1 of the classes in the truth; ours, not official: key → (...).

    The official harmonic mean is 0 as soon as one class is missed, so it can neither rank scenes nor guide tuning.
    If no damage is scored, the score is that of localisation alone.
    """
    located = class_scores(counts.localization).f1[..., 1]
    scores = class_scores(scored_damage(counts.damage, unclassified))
    f1, present = scores.f1[..., _SCORED], (scores.support[..., _SCORED] > 0).sum(axis=-1)
    damage = ratio(f1.sum(axis=-1), present)
    mixed = LOCALIZATION_SHARE * located + DAMAGE_SHARE * damage
    return {"score": np.where(present > 0, mixed, located), "damage_f1": damage}


def constant_scores(counts: Counts, unclassified: Unclassified = "ignore") -> dict[Damage, float]:
    """Return the official score of predicting one code at every pixel: code → score."""
    codes = (Damage.BACKGROUND, *SCORED)
    localization = np.zeros((len(codes), 2, 2), np.int64)
    damage = np.zeros((len(codes), N_CODES, N_CODES), np.int64)
    for row, code in enumerate(codes):
        localization[row, :, int(code > 0)] = counts.localization.sum(axis=1)
        damage[row, :, code] = counts.damage.sum(axis=1)
    scores = official_scores(Counts(localization, damage), unclassified)["score"]
    return dict(zip(codes, scores.tolist(), strict=True))


def ratio(above: npt.NDArray[np.generic], below: npt.NDArray[np.generic]) -> Float64Array:
    """Return a quotient, float64, 0 where the divisor is 0."""
    return np.divide(above, below, out=np.zeros(np.shape(below)), where=below != 0)  # type: ignore[no-any-return]
