"""The decision rule, tuned on the validation scenes.

First one temperature for each head, then thresholds, then the class weights of the vote within a building. Batches are
bytes (b, h, w, 8) of scenes; `unclassified` is what un-classified truth means.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from xview2_siamese_unet.config.modelling import Recipe, Unclassified, VoteWeights
from xview2_siamese_unet.damage import N_CODES, SCORED, Damage
from xview2_siamese_unet.metrics.confusion import Counts
from xview2_siamese_unet.metrics.scores import official_score
from xview2_siamese_unet.models.hardware import autocast_dtype, pick_device
from xview2_siamese_unet.models.postprocess import (
    Temperatures,
    Thresholds,
    decide,
    most_likely,
    probabilities,
    scored_bytes,
)
from xview2_siamese_unet.models.predictor import Predictor
from xview2_siamese_unet.models.vote import connected_components, sum_probabilities
from xview2_siamese_unet.training.calibration import calibrate, sample_logits
from xview2_siamese_unet.training.data import all_gather, unpack_batch
from xview2_siamese_unet.types import (
    CodeCounts,
    CodeTotals,
    Int64Array,
    Mask,
    PredictionCounts,
    Probabilities,
    ProbabilitySums,
)

_log = logging.getLogger(__name__)
_PIXELS: Final = 4_000_000  # for calibration, over all scenes
_STEPS: Final = 50  # of thresholds from 0 to 1
_SHAPE: Final = (_STEPS, N_CODES, 2, N_CODES)
_FACTORS: Final = 2.0 ** np.arange(-4, 4.25, 0.25)
_ROUNDS: Final = 3
Scenes = Callable[[], Iterable[Tensor]]


class DecisionRule(NamedTuple):
    """What a checkpoint holds in addition to the weights.

    Attributes:
        temperatures: of both heads; 1 where none were fitted.
        calibration: errors of both heads before and after; empty where no temperatures were fitted.
        thresholds: probabilities above which a pixel is building.
        vote_weights: of the classes no damage to destroyed.
    """

    temperatures: Temperatures
    calibration: dict[str, float]
    thresholds: Thresholds
    vote_weights: VoteWeights


def tune_decision_rule(net: nn.Module, normalise: nn.Module, scenes: Scenes, n: int, recipe: Recipe) -> DecisionRule:
    """Fit what the recipe asks for, with the augmented views of later predictions.

    Args:
        net: trained.
        normalise: grey values → input of the net.
        scenes: returns the batches of all validation scenes, at each call.
        n: number of scenes.
        recipe: what to fit, and the device.
    """
    params, unclassified = recipe.prediction, recipe.classes.unclassified
    device = pick_device(recipe.hardware.device)
    predict = Predictor(net, normalise, device=device, dtype=autocast_dtype(recipe.hardware, device), tta=params.tta)
    rule = DecisionRule(Temperatures(), {}, Thresholds(), params.vote_weights)
    if params.calibrate:
        samples = sample_logits(predict, scenes(), unclassified, max(64, _PIXELS // n))
        predict.temperatures, errors = calibrate(*samples)
        rule = rule._replace(temperatures=predict.temperatures, calibration=errors)
        _log.info("temperatures: %.2f building, %.2f damage", *rule.temperatures)
        _log.info("calibration error: %s", ", ".join(f"{name} {value:.4f}" for name, value in errors.items()))
    if not params.tune:
        return rule
    rule = rule._replace(thresholds=tune_thresholds(count_predictions(predict, scenes()), unclassified))
    _log.info("building above probability %.2f, or above %.2f where damage is predicted", *rule.thresholds)
    if params.vote == "connected":
        buildings, start = collect_buildings(predict, scenes(), rule.thresholds), rule.vote_weights
        rule = rule._replace(vote_weights=tune_vote_weights(buildings, start, unclassified))
        scores = (damage_f1(buildings, weights, unclassified) for weights in (rule.vote_weights, start))
        _log.info("vote weights %s: damage F1 %.4f (%.4f with %s)", rule.vote_weights, *scores, start)
    return rule


def count_predictions(predict: Predictor, batches: Iterable[Tensor]) -> PredictionCounts:
    """Return how often each prediction met each truth.

    Axes: probability of a building in steps of 0.02, most likely damage code, true building, true damage code.
    """
    total = torch.zeros(int(np.prod(_SHAPE)), dtype=torch.int64, device=predict.device)
    for batch in batches:
        pixels = batch.to(predict.device)
        images = unpack_batch(pixels, "ignore")
        probability, damage = most_likely(probabilities(predict(images.pre, images.post)))
        # The step whose lower end the probability is above, as `decide` compares.
        step = (torch.ceil(probability * _STEPS) - 1).clamp(0, _STEPS - 1).long()
        joint = ((step * _SHAPE[1] + damage) * _SHAPE[2] + pixels[..., 6]) * _SHAPE[3] + pixels[..., 7]
        total += torch.bincount(joint.flatten(), minlength=len(total))
    counted: Int64Array = np.sum(all_gather(total.cpu().numpy()), axis=0)
    return counted.reshape(_SHAPE)


def tune_thresholds(predictions: PredictionCounts, unclassified: Unclassified) -> Thresholds:
    """Return the thresholds with the highest official score, by default one half.

    Args:
        predictions: as `count_predictions` returns them.
        unclassified: what un-classified truth means.
    """
    above = predictions[::-1].cumsum(axis=0)[::-1]
    everything = predictions.sum(axis=0)
    damaged = np.isin(np.arange(N_CODES), (Damage.MINOR_DAMAGE, Damage.MAJOR_DAMAGE, Damage.DESTROYED))

    def score(thresholds: Thresholds) -> float:
        lower, upper = (round(value * _STEPS) for value in (thresholds.damaged, thresholds.building))
        predicted = np.where(damaged[:, None, None], above[lower], above[upper])
        return official_score(_counts(predicted, everything), unclassified)["score"]

    steps = range(1, _STEPS)
    pairs = [Thresholds(upper / _STEPS, lower / _STEPS) for upper in steps for lower in steps if lower <= upper]
    return max([Thresholds(), *pairs], key=score)


def _counts(predicted: Int64Array, everything: Int64Array) -> Counts:
    """Return the counts of pixels (code, true building, true code) that are buildings."""
    missed = (everything - predicted).sum(axis=0)
    localization = np.stack([missed.sum(axis=1), predicted.sum(axis=(0, 2))], axis=1)
    damage = predicted.sum(axis=1).T.copy()
    damage[:, 0] += missed.sum(axis=0)
    return Counts(localization, damage)


class Buildings(NamedTuple):
    """Predicted buildings: all that the damage F1 of a vote depends on.

    Attributes:
        probabilities: summed over each building, for the four damage classes.
        truth: pixels of each true code in each building.
        missed: pixels of each true code in no building.
    """

    probabilities: ProbabilitySums
    truth: CodeCounts
    missed: CodeTotals


def collect_buildings(predict: Predictor, batches: Iterable[Tensor], thresholds: Thresholds) -> Buildings:
    """Return the predicted buildings of scenes, one row each."""
    own: list[Buildings] = []
    for pixels in batches:
        images = unpack_batch(pixels, "ignore")
        shares = probabilities(predict(images.pre, images.post))
        codes, truth = decide(shares, thresholds).cpu().numpy(), pixels[..., 7].cpu().numpy()
        own += [_buildings(*scene) for scene in zip(codes, scored_bytes(shares), truth, strict=True)]
    parts = [part for rank in all_gather(own) for part in rank]
    sums, truths, missed = zip(*parts, strict=True)
    return Buildings(np.concatenate(sums), np.concatenate(truths), np.sum(missed, axis=0))


def _buildings(codes: Mask, shares: Probabilities, truth: Mask) -> Buildings:
    numbers, count = connected_components(codes)
    joint = numbers.astype(np.int64) * N_CODES + truth
    met = np.bincount(joint.ravel(), minlength=(count + 1) * N_CODES).reshape(count + 1, N_CODES)
    return Buildings(sum_probabilities(numbers, count, shares), met[1:], met[0])


def damage_f1(buildings: Buildings, weights: Sequence[float], unclassified: Unclassified) -> float:
    """Return the damage F1 of the official score after a vote with these weights."""
    voted = (buildings.probabilities * weights).argmax(axis=1) + int(Damage.NO_DAMAGE)
    damage = np.zeros((N_CODES, N_CODES), np.int64)
    damage[:, Damage.BACKGROUND] = buildings.missed
    for code in SCORED:
        damage[:, code] = buildings.truth[voted == code].sum(axis=0)
    return official_score(Counts(np.zeros((2, 2), np.int64), damage), unclassified)["damage_f1"]


def tune_vote_weights(buildings: Buildings, start: VoteWeights, unclassified: Unclassified) -> VoteWeights:
    """Return class weights by coordinate search from `start`.

    No change of one of them, by a factor of up to 16, gives a better damage F1.
    """
    highest, best = damage_f1(buildings, start, unclassified), [*start]
    for _ in range(_ROUNDS):
        before = [*best]
        for code in range(len(SCORED)):
            for factor in _FACTORS:
                tried = [*best]
                tried[code] = float(start[code] * factor)
                if (score := damage_f1(buildings, tried, unclassified)) > highest:
                    highest, best = score, tried
        if best == before:
            break
    return best[0], best[1], best[2], best[3]
