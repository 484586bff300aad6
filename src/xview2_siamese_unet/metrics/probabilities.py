"""Are the probabilities worth anything? Histograms of them, and what follows exactly: precision, recall, reliability.

Six curves: where a building is, over all pixels; the share of each damage class, given that there is a building, over
pixels whose truth is one of the four; and the share of the most likely of the four, over the same pixels.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.metrics.confusion import IntArray, UInt8Array
from xview2_siamese_unet.metrics.table import Predictions
from xview2_siamese_unet.raster.io import LEVELS
from xview2_siamese_unet.raster.store import Store

FloatArray = npt.NDArray[np.float64]
STEPS: Final = LEVELS + 1
BINS: Final = 15
"""Of equal width, for reliability: 17 steps each (Guo et al. 2017, arXiv 1706.04599)."""
BUILDING: Final = "building"
MOST_LIKELY: Final = "most likely class"
CURVES: Final = (BUILDING, *(code.word for code in SCORED), MOST_LIKELY)


class PrecisionRecall(NamedTuple):
    """Precision and recall at each step of the probability that occurs, from the highest down; each (n,)."""

    probability: FloatArray
    precision: FloatArray
    recall: FloatArray


class Reliability(NamedTuple):
    """What was said and what was true in each bin that holds a pixel; each (n,).

    Attributes:
        said: mean probability.
        found: share of the pixels for which it was true.
        seen: how many pixels.
    """

    said: FloatArray
    found: FloatArray
    seen: IntArray

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance of what was said from what was found, weighted by pixels."""
        return float(np.average(np.abs(self.said - self.found), weights=self.seen)) if len(self.seen) else 0.0


def count_probabilities(
    probabilities: Predictions, store: Store, counts: pd.DataFrame, unclassified: Unclassified
) -> pd.DataFrame:
    """Return the histograms of all scenes, one row a curve and step: curve, step (of 1/254), seen, true (pixels).

    Holds one scene in memory at a time.

    Args:
        probabilities: scene name → loader of its probabilities in steps of 1/254, uint8 (5, h, w).
        store: truth of the scenes.
        counts: the scenes to look at; column scene.
        unclassified: what un-classified truth means.
    """
    total = np.zeros((len(CURVES), STEPS, 2), np.int64)
    for name in counts["scene"]:
        truth = store.scene(name)
        total += count_scene_probabilities(probabilities[name](), truth.building, truth.damage, unclassified)
    curves, steps = np.repeat(CURVES, STEPS), np.tile(np.arange(STEPS), len(CURVES))
    seen, true = total.reshape(-1, 2).T
    return pd.DataFrame({"curve": curves, "step": steps, "seen": seen, "true": true})


def count_scene_probabilities(
    shares: UInt8Array, building: UInt8Array, damage: UInt8Array, unclassified: Unclassified
) -> IntArray:
    """Return how many pixels had each probability, and of how many it was true: int64 (curves, steps, 2).

    A pixel whose building is less likely than a byte can say has no share of any class: step 0 in all of them.

    Args:
        shares: probabilities of background and the four classes in steps of 1/254, uint8 (5, h, w).
        building: truth of localisation, uint8 (h, w), 0 or 1.
        damage: truth of damage, uint8 (h, w), codes 0 to 5.
        unclassified: what un-classified truth means.
    """
    codes = damage.ravel()
    inside = np.flatnonzero((codes > 0) & ((codes != Damage.UNCLASSIFIED) | (unclassified == "no_damage")))
    codes = np.where(codes[inside] == Damage.UNCLASSIFIED, np.uint8(Damage.NO_DAMAGE), codes[inside])
    parts = shares.reshape(len(shares), -1)[1:, inside].astype(np.int64)
    whole = parts.sum(axis=0)
    steps = np.rint(LEVELS * parts / np.maximum(whole, 1)).astype(np.int64)
    likely = parts.argmax(axis=0)
    classes = [_histogram(steps[place], codes == code) for place, code in enumerate(SCORED)]
    return np.stack(
        [
            _histogram(LEVELS - shares[0].ravel().astype(np.int64), building.ravel() > 0),
            *classes,
            _histogram(steps[likely, np.arange(len(likely))], codes == likely + int(SCORED[0])),
        ]
    )


def precision_recall(histogram: pd.DataFrame) -> PrecisionRecall:
    """Return precision and recall of a curve, columns seen and true in the order of steps; recall 0 without truth."""
    seen, true = _columns(histogram)
    there = seen[::-1] > 0
    found, hits = seen[::-1].cumsum()[there], true[::-1].cumsum()[there]
    steps = np.arange(STEPS)[::-1][there]
    return PrecisionRecall(steps / LEVELS, hits / found, hits / max(int(true.sum()), 1))


def average_precision(curve: PrecisionRecall) -> float:
    """Return the area under the steps of a curve: precision weighted by the recall that it adds; 0 without truth."""
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * curve.precision))


def reliability(histogram: pd.DataFrame, bins: int = BINS) -> Reliability:
    """Return what was said and found in bins of equal width; columns seen and true in the order of steps."""
    seen, true = _columns(histogram)
    place = np.arange(STEPS) * bins // STEPS
    sums = [np.bincount(place, weights) for weights in (seen, true, seen * np.arange(STEPS) / LEVELS)]
    there = sums[0] > 0
    pixels, hits, said = (each[there] for each in sums)
    return Reliability(said / pixels, hits / pixels, pixels.astype(np.int64))


def summarise_probabilities(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return what `metrics.json` says of each curve: `average_precision`, `ece`, `share` that is true, `pixels`.

    Args:
        table: as `count_probabilities` returns it.
    """
    return {name: _summary(rows) for name, rows in curves_of(table).items()}


def curves_of(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the histogram of each curve, in the order of `CURVES`."""
    return {name: table[table["curve"] == name] for name in CURVES}


def _summary(rows: pd.DataFrame) -> dict[str, Any]:
    seen, true = int(rows["seen"].sum()), int(rows["true"].sum())
    return {
        "average_precision": average_precision(precision_recall(rows)),
        "ece": reliability(rows).ece,
        "share": true / seen if seen else 0.0,
        "pixels": seen,
    }


def _histogram(steps: IntArray, true: npt.NDArray[np.bool_]) -> IntArray:
    joint = np.bincount(steps * 2 + true, minlength=2 * STEPS).reshape(STEPS, 2)
    return np.stack([joint.sum(axis=1), joint[:, 1]], axis=1)


def _columns(histogram: pd.DataFrame) -> tuple[IntArray, IntArray]:
    return histogram["seen"].to_numpy(np.int64), histogram["true"].to_numpy(np.int64)
