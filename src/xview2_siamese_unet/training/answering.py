"""What a trained net answers by, fitted on the validation scenes: temperatures, then thresholds, then the vote."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor, nn

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.config.prediction import VoteWeights
from xview2_siamese_unet.models.hardware import autocast_dtype, pick_device
from xview2_siamese_unet.models.postprocess import Temperatures, Thresholds
from xview2_siamese_unet.models.predictor import Predictor
from xview2_siamese_unet.training.calibrate import calibrate, sample_answers
from xview2_siamese_unet.training.elect import best_weights, collect_ballots, damage_f1
from xview2_siamese_unet.training.thresholds import best_thresholds, count_answers

_log = logging.getLogger(__name__)
_PIXELS = 4_000_000  # looked at for calibration, over all scenes
Scenes = Callable[[], Iterable[Tensor]]


class Answering(NamedTuple):
    """What stands in a checkpoint beside the weights.

    Attributes:
        temperatures: of both heads; 1 where none were fitted.
        calibration: errors of both heads before and after; empty where no temperatures were fitted.
        thresholds: from which probability a pixel is building.
        vote_weights: of no damage to destroyed.
    """

    temperatures: Temperatures
    calibration: dict[str, float]
    thresholds: Thresholds
    vote_weights: VoteWeights


def fit_answers(net: nn.Module, normalise: nn.Module, scenes: Scenes, n: int, recipe: Recipe) -> Answering:
    """Fit what the recipe asks for; the scenes are answered as they will be later, test-time augmentation included.

    Args:
        net: trained.
        normalise: of its images.
        scenes: gives the validation scenes anew each time, bytes (b, h, w, 8).
        n: how many there are.
        recipe: what to fit, and on which device.
    """
    how, policy, device = recipe.prediction, recipe.classes.unclassified, pick_device(recipe.hardware.device)

    def predictor(temperatures: Temperatures) -> Predictor:
        dtype = autocast_dtype(recipe.hardware, device)
        return Predictor(net, normalise, device=device, dtype=dtype, tta=how.tta, temperatures=temperatures)

    answering = Answering(Temperatures(), {}, Thresholds(), how.vote_weights)
    if how.calibrate:
        samples = sample_answers(predictor(Temperatures()), scenes(), policy, max(64, _PIXELS // n))
        temperatures, errors = calibrate(*samples)
        answering = answering._replace(temperatures=temperatures, calibration=errors)
        _log.info("temperatures: %.2f building, %.2f damage", *temperatures)
        _log.info("calibration error: %s", ", ".join(f"{name} {value:.4f}" for name, value in errors.items()))
    if not how.tune:
        return answering
    predict = predictor(answering.temperatures)
    answering = answering._replace(thresholds=best_thresholds(count_answers(predict, scenes()), policy))
    _log.info("a pixel is building above %.2f, and above %.2f where there is damage", *answering.thresholds)
    if how.vote == "connected":
        answering = answering._replace(vote_weights=_elect(predict, scenes, answering, recipe))
    return answering


def _elect(predict: Predictor, scenes: Scenes, answering: Answering, recipe: Recipe) -> VoteWeights:
    policy, start = recipe.classes.unclassified, answering.vote_weights
    ballots = collect_ballots(predict, scenes(), answering.thresholds)
    found = best_weights(ballots, start, policy)
    _log.info(
        "vote of a building's pixels: weights %s, damage F1 %.4f (%.4f with %s)",
        *(found, damage_f1(ballots, found, policy), damage_f1(ballots, start, policy), start),
    )
    return found
