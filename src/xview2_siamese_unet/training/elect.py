"""Which weights let the vote of a building's pixels score best on the validation scenes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.config.prediction import VoteWeights
from xview2_siamese_unet.damage import N_CODES, SCORED, Damage
from xview2_siamese_unet.metrics.confusion import Counts, IntArray
from xview2_siamese_unet.metrics.scores import official_score
from xview2_siamese_unet.models.postprocess import (
    Thresholds,
    connect,
    decide,
    probabilities,
    scored_bytes,
    sum_shares,
)
from xview2_siamese_unet.models.predictor import Predictor
from xview2_siamese_unet.training.pairs import unpack
from xview2_siamese_unet.training.processes import everywhere

_FACTORS: Final = 2.0 ** np.arange(-4, 4.25, 0.25)
_ROUNDS: Final = 3


class Ballots(NamedTuple):
    """What is left of scenes when only the vote is open.

    Attributes:
        shares: summed probabilities of the four damage classes in each predicted building, (n, 4).
        truth: pixels of each true code in each predicted building, (n, 6).
        missed: pixels of each true code in no predicted building, (6,).
    """

    shares: npt.NDArray[np.float64]
    truth: IntArray
    missed: IntArray


def collect_ballots(predict: Predictor, batches: Iterable[Tensor], thresholds: Thresholds) -> Ballots:
    """Return the ballots of scenes: one row a building, whatever their size.

    Args:
        predict: calibrated.
        batches: bytes (b, h, w, 8) of scenes.
        thresholds: from which probability a pixel is building.
    """
    own: list[Ballots] = []
    for pixels in batches:
        images = unpack(pixels, "ignore")
        shares = probabilities(predict(images.pre, images.post))
        codes, damage = decide(shares, thresholds).cpu().numpy(), pixels[..., 7].cpu().numpy()
        own += [_ballots(*scene) for scene in zip(codes, scored_bytes(shares), damage, strict=True)]
    parts = [part for process in everywhere(own) for part in process]
    sums, truth, missed = zip(*parts, strict=True)
    return Ballots(np.concatenate(sums), np.concatenate(truth), np.sum(missed, axis=0))


def _ballots(codes: npt.NDArray[np.uint8], shares: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> Ballots:
    numbers, count = connect(codes)
    joint = numbers.astype(np.int64) * N_CODES + truth
    met = np.bincount(joint.ravel(), minlength=(count + 1) * N_CODES).reshape(count + 1, N_CODES)
    return Ballots(sum_shares(numbers, count, shares), met[1:], met[0])


def damage_f1(ballots: Ballots, weights: Sequence[float], policy: Unclassified) -> float:
    """Return the damage F1 of the official score after a vote with these weights."""
    elected = (ballots.shares * weights).argmax(axis=1) + int(Damage.NO_DAMAGE)
    damage = np.zeros((N_CODES, N_CODES), np.int64)
    damage[:, Damage.BACKGROUND] = ballots.missed
    for code in SCORED:
        damage[:, code] = ballots.truth[elected == code].sum(axis=0)
    return official_score(Counts(np.zeros((2, 2), np.int64), damage), policy)["damage_f1"]


def best_weights(ballots: Ballots, start: VoteWeights, policy: Unclassified) -> VoteWeights:
    """Return weights that no change of a single one, by up to 16 times either way, makes better.

    Args:
        ballots: of the validation scenes.
        start: where the search begins, and what it returns unless something is better.
        policy: what un-classified truth means.
    """
    best, found = damage_f1(ballots, start, policy), [*start]
    for _ in range(_ROUNDS):
        before = [*found]
        for code in range(len(SCORED)):
            for factor in _FACTORS:
                tried = [*found]
                tried[code] = float(start[code] * factor)
                if (score := damage_f1(ballots, tried, policy)) > best:
                    best, found = score, tried
        if found == before:
            break
    return found[0], found[1], found[2], found[3]
