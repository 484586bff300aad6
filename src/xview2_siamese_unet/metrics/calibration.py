"""Calibration: histograms of probabilities, precision-recall and reliability.

Six curves: building, over all pixels; each damage class given that there is a building, over pixels whose truth is one
of the four; and the most likely of the four, over the same pixels.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.metrics.confusion import Predictions
from xview2_siamese_unet.raster.io import LEVELS
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.types import Flags, Histogram, Histograms, Integers, Mask, Numbers, Probabilities

STEPS: Final = LEVELS + 1
BINS: Final = 15
"""Of equal width, for reliability: 17 steps each (Guo et al. 2017, arXiv 1706.04599)."""
FEW: Final = 50
"""Pixels below which a bin of a reliability diagram is not drawn, because it is noise; the ECE counts it."""
BUILDING: Final = "building"
MOST_LIKELY: Final = "most likely class"
CURVES: Final = (BUILDING, *(code.word for code in SCORED), MOST_LIKELY)


class PrecisionRecall(NamedTuple):
    """Precision and recall at each probability, from the highest down."""

    probability: Numbers
    precision: Numbers
    recall: Numbers

    @property
    def average_precision(self) -> float:
        """Precision weighted by the recall that each step adds; 0 without truth."""
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))


class Reliability(NamedTuple):
    """Reliability diagram: one value for each bin that holds a pixel.

    Attributes:
        predicted: mean predicted probability.
        observed: share of the pixels of the class.
        pixels: number of pixels.
    """

    predicted: Numbers
    observed: Numbers
    pixels: Integers

    @property
    def ece(self) -> float:
        """Expected calibration error, weighted by pixels."""
        error = np.abs(self.predicted - self.observed)
        return float(np.average(error, weights=self.pixels)) if len(error) else 0.0


def count_probabilities(
    probabilities: Predictions, store: Store, counts: pd.DataFrame, unclassified: Unclassified
) -> pd.DataFrame:
    """Return histograms of all scenes: curve, step (of 1/254), seen, true (pixels).

    Holds one scene in memory at a time.

    Args:
        probabilities: scene name → loader of its probabilities in steps of 1/254, uint8 (5, h, w).
        store: truth of the scenes.
        counts: the scenes; column scene.
        unclassified: meaning of un-classified truth.
    """
    total = np.zeros((len(CURVES), STEPS, 2), np.int64)
    for name in counts["scene"]:
        truth = store.scene(name)
        total += count_scene_probabilities(probabilities[name](), truth.building, truth.damage, unclassified)
    curves, steps = np.repeat(CURVES, STEPS), np.tile(np.arange(STEPS), len(CURVES))
    seen, true = total.reshape(-1, 2).T
    return pd.DataFrame({"curve": curves, "step": steps, "seen": seen, "true": true})


def count_scene_probabilities(
    probabilities: Probabilities, building: Mask, damage: Mask, unclassified: Unclassified
) -> Histograms:
    """Return for each curve and probability the number of pixels, and of those of the class.

    A pixel whose probability of a building rounds to 0 counts as step 0 of every class.

    Args:
        probabilities: of background and the four classes in steps of 1/254.
        building: truth of localisation, 0 or 1.
        damage: truth of damage, codes 0 to 5.
        unclassified: meaning of un-classified truth.
    """
    codes = damage.ravel()
    inside = np.flatnonzero((codes > 0) & ((codes != Damage.UNCLASSIFIED) | (unclassified == "no_damage")))
    codes = np.where(codes[inside] == Damage.UNCLASSIFIED, np.uint8(Damage.NO_DAMAGE), codes[inside])
    classes = probabilities.reshape(len(probabilities), -1)[1:, inside].astype(np.int64)
    steps = np.rint(LEVELS * classes / np.maximum(classes.sum(axis=0), 1)).astype(np.int64)
    likely = classes.argmax(axis=0)
    return np.stack(
        [
            _histogram(LEVELS - probabilities[0].ravel().astype(np.int64), building.ravel() > 0),
            *(_histogram(steps[index], codes == code) for index, code in enumerate(SCORED)),
            _histogram(steps[likely, np.arange(len(likely))], codes == likely + int(SCORED[0])),
        ]
    )


def precision_recall(histogram: pd.DataFrame) -> PrecisionRecall:
    """Return the curve of a histogram in the order of steps; recall 0 without truth."""
    seen, true = (histogram[name].to_numpy(np.int64)[::-1] for name in ("seen", "true"))
    occurs = seen > 0
    predicted, hits = seen.cumsum()[occurs], true.cumsum()[occurs]
    steps = np.arange(STEPS)[::-1][occurs]
    return PrecisionRecall(steps / LEVELS, hits / predicted, hits / max(int(true.sum()), 1))


def reliability(histogram: pd.DataFrame, bins: int = BINS) -> Reliability:
    """Return the reliability diagram of a histogram in the order of steps."""
    seen, true = (histogram[name].to_numpy(np.int64) for name in ("seen", "true"))
    bin_of_step = np.arange(STEPS) * bins // STEPS
    sums = [np.bincount(bin_of_step, weights) for weights in (seen, true, seen * np.arange(STEPS) / LEVELS)]
    pixels, hits, predicted = (each[sums[0] > 0] for each in sums)
    return Reliability(predicted / pixels, hits / pixels, pixels.astype(np.int64))


def curves_of(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the histogram of each curve, in the order of `CURVES`."""
    return {name: table[table["curve"] == name] for name in CURVES}


def summarise_probabilities(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the section `probabilities` of `metrics.json`."""
    return {name: _summary(rows) for name, rows in curves_of(table).items()}


def _summary(rows: pd.DataFrame) -> dict[str, Any]:
    seen, true = int(rows["seen"].sum()), int(rows["true"].sum())
    return {
        "average_precision": precision_recall(rows).average_precision,
        "ece": reliability(rows).ece,
        "share": true / seen if seen else 0.0,
        "pixels": seen,
    }


def _histogram(steps: Integers, true: Flags) -> Histogram:
    joint = np.bincount(steps * 2 + true, minlength=2 * STEPS).reshape(STEPS, 2)
    return np.stack([joint.sum(axis=1), joint[:, 1]], axis=1)
