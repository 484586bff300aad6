"""Temperature scaling of both heads, fitted to pixels of the validation scenes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import Tensor

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.damage import IGNORE, Damage
from xview2_siamese_unet.models.postprocess import Temperatures
from xview2_siamese_unet.training.data import all_gather, damage_target
from xview2_siamese_unet.training.predictions import split_logits
from xview2_siamese_unet.types import Integers, LogitRows

_LOWEST, _HIGHEST = 0.05, 20.0
_BINS: Final = 15


class LogitSample(NamedTuple):
    """Logits of k classes and true classes, 0 to k − 1, of pixels."""

    logits: LogitRows
    truth: Integers


def sample_logits(
    predictions: Iterable[tuple[Tensor, Tensor]], unclassified: Unclassified, most: int
) -> tuple[LogitSample, LogitSample]:
    """Return logits of pixels for the building head, and of those of known class for the damage head.

    Neighbouring pixels are so similar that a random sample is as good as all, and needs constant memory.

    Args:
        predictions: codes of building and damage (b, h, w, 2), and logits without temperatures, as `join_logits`
            returns them.
        unclassified: meaning of un-classified truth.
        most: pixels of a scene for each head.
    """
    random = torch.Generator().manual_seed(0)
    building: list[LogitSample] = []
    damage: list[LogitSample] = []
    for truth, both in predictions:
        logits, target = split_logits(both), damage_target(truth[..., 1], unclassified)
        for scene in range(len(truth)):
            everything = torch.arange(target[scene].numel(), device=target.device)
            building.append(_sample(logits.building[scene], truth[scene, ..., 0].long(), everything, most, random))
            known = (target[scene] != IGNORE) & (target[scene] != Damage.BACKGROUND)
            inside = known.flatten().nonzero().squeeze(1)
            damage.append(_sample(logits.damage[scene, 1:], target[scene] - 1, inside, most, random))
    return _gather(building), _gather(damage)


def _sample(logits: Tensor, truth: Tensor, among: Tensor, most: int, random: torch.Generator) -> LogitSample:
    if len(among) > most:
        among = among[torch.randint(len(among), (most,), generator=random).to(among.device)]
    sampled = logits.flatten(1)[:, among].T.float()
    return LogitSample(sampled.cpu().numpy(), truth.flatten()[among].cpu().numpy())


def _gather(own: list[LogitSample]) -> LogitSample:
    parts = [part for rank in all_gather(own) for part in rank]
    return LogitSample(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def calibrate(building: LogitSample, damage: LogitSample) -> tuple[Temperatures, dict[str, float]]:
    """Return temperatures, and calibration errors of both heads before and after."""
    temperatures = Temperatures(fit_temperature(building), fit_temperature(damage))
    errors = {}
    for name, sample in (("building", building), ("damage", damage)):
        errors[f"{name}_ece_before"] = calibration_error(sample)
        errors[f"{name}_ece_after"] = calibration_error(sample, getattr(temperatures, name))
    return temperatures, errors


def fit_temperature(sample: LogitSample) -> float:
    """Return the temperature of maximum likelihood; 1 if that would raise the calibration error."""
    if not len(sample.truth):
        return 1.0
    low, high = np.log([_LOWEST, _HIGHEST])
    minimum = minimize_scalar(lambda x: _log_loss(sample, np.exp(x)), bounds=(low, high), method="bounded")
    temperature = float(np.exp(minimum.x))
    return temperature if calibration_error(sample, temperature) <= calibration_error(sample) else 1.0


def _log_loss(sample: LogitSample, temperature: float) -> float:
    log_p = log_softmax(sample.logits / temperature, axis=1)
    return float(-np.take_along_axis(log_p, sample.truth[:, None], axis=1).mean())


def calibration_error(sample: LogitSample, temperature: float = 1.0) -> float:
    """Return the expected calibration error over 15 bins, Naeini et al. 2015."""
    if not len(sample.truth):
        return 0.0
    log_p = log_softmax(sample.logits / temperature, axis=1)
    confidence, right = np.exp(log_p.max(axis=1)), log_p.argmax(axis=1) == sample.truth
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(confidence))
