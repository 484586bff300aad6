"""Which thresholds give the best official score on the validation scenes: one pass, then sums of counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import torch
from torch import Tensor

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.damage import N_CODES, Damage
from xview2_siamese_unet.metrics.confusion import Counts, IntArray
from xview2_siamese_unet.metrics.scores import official_score
from xview2_siamese_unet.models.postprocess import Thresholds, answers, probabilities
from xview2_siamese_unet.models.predictor import Predictor
from xview2_siamese_unet.training.pairs import unpack
from xview2_siamese_unet.training.processes import everywhere

_STEPS: Final = 50
_SHAPE: Final = (_STEPS, N_CODES, 2, N_CODES)


def count_answers(predict: Predictor, batches: Iterable[Tensor]) -> IntArray:
    """Return how often each answer met each truth, int64 (50, 6, 2, 6).

    Axes: probability of a building in steps of 0.02, damage code if there is one, true building, true damage code.

    Args:
        predict: calibrated.
        batches: bytes (b, h, w, 8) of scenes.
    """
    total = torch.zeros(int(np.prod(_SHAPE)), dtype=torch.int64, device=predict.device)
    for batch in batches:
        pixels = batch.to(predict.device)
        images = unpack(pixels, "ignore")
        probability, damage = answers(probabilities(predict(images.pre, images.post)))
        # The step whose lower end the probability is above, as `decide` compares.
        step = (torch.ceil(probability * _STEPS) - 1).clamp(0, _STEPS - 1).long()
        joint = ((step * _SHAPE[1] + damage) * _SHAPE[2] + pixels[..., 6]) * _SHAPE[3] + pixels[..., 7]
        total += torch.bincount(joint.flatten(), minlength=len(total))
    counted: IntArray = np.sum(everywhere(total.cpu().numpy()), axis=0)
    return counted.reshape(_SHAPE)


def best_thresholds(answered: IntArray, policy: Unclassified) -> Thresholds:
    """Return the thresholds with the highest official score; those of `Thresholds` unless others are better.

    Args:
        answered: as `count_answers` returns it.
        policy: what un-classified truth means.
    """
    above = answered[::-1].cumsum(axis=0)[::-1]
    damaged = np.isin(np.arange(N_CODES), (Damage.MINOR_DAMAGE, Damage.MAJOR_DAMAGE, Damage.DESTROYED))

    def score(thresholds: Thresholds) -> float:
        lower, upper = (round(value * _STEPS) for value in (thresholds.damaged, thresholds.building))
        found = np.where(damaged[:, None, None], above[lower], above[upper])
        return official_score(_counts(found, answered.sum(axis=0)), policy)["score"]

    steps = range(1, _STEPS)
    pairs = [Thresholds(upper / _STEPS, lower / _STEPS) for upper in steps for lower in steps if lower <= upper]
    return max([Thresholds(), *pairs], key=score)


def _counts(found: IntArray, everything: IntArray) -> Counts:
    """Return the counts of a prediction; both arguments (predicted code, true building, true damage)."""
    missed = (everything - found).sum(axis=0)
    by_building = np.stack([missed.sum(axis=1), found.sum(axis=(0, 2))], axis=1)
    by_damage = found.sum(axis=1).T.copy()
    by_damage[:, 0] += missed.sum(axis=0)
    return Counts(by_building, by_damage)
