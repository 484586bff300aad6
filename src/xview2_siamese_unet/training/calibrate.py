"""One temperature for each head, by the likelihood of the validation scenes: a sample of pixels, then two searches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import Tensor

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.damage import IGNORE, Damage
from xview2_siamese_unet.models.postprocess import Temperatures
from xview2_siamese_unet.models.predictor import Predictor
from xview2_siamese_unet.training.pairs import unpack
from xview2_siamese_unet.training.processes import everywhere

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
_LOWEST, _HIGHEST = 0.05, 20.0
_BINS: Final = 15


class Sample(NamedTuple):
    """Logits (n, k) of pixels and what they truly are (n,), 0 to k − 1."""

    logits: FloatArray
    truth: IntArray


def sample_answers(
    predict: Predictor, batches: Iterable[Tensor], policy: Unclassified, most: int
) -> tuple[Sample, Sample]:
    """Return pixels of both heads, drawn from each scene; those of the damage head where a class is known.

    Neighbours say nearly the same, so that a sample says as much as all of them, in memory that does not grow.

    Args:
        predict: uncalibrated.
        batches: bytes (b, h, w, 8) of scenes.
        policy: what un-classified truth means.
        most: pixels drawn from a scene for each head.
    """
    random = torch.Generator().manual_seed(0)
    building: list[Sample] = []
    damage: list[Sample] = []
    for pixels in batches:
        truth = unpack(pixels.to(predict.device), policy)
        logits = predict(truth.pre, truth.post)
        for scene in range(len(pixels)):
            everything = torch.arange(truth.building[scene].numel(), device=predict.device)
            building.append(_draw(logits.building[scene], truth.building[scene], everything, most, random))
            known = (truth.damage[scene] != IGNORE) & (truth.damage[scene] != Damage.BACKGROUND)
            inside = known.flatten().nonzero().squeeze(1)
            damage.append(_draw(logits.damage[scene, 1:], truth.damage[scene] - 1, inside, most, random))
    return _join(building), _join(damage)


def _draw(logits: Tensor, truth: Tensor, among: Tensor, most: int, random: torch.Generator) -> Sample:
    if len(among) > most:
        among = among[torch.randint(len(among), (most,), generator=random).to(among.device)]
    seen = logits.flatten(1)[:, among].T.float()
    return Sample(seen.cpu().numpy(), truth.flatten()[among].cpu().numpy())


def _join(own: list[Sample]) -> Sample:
    parts = [part for process in everywhere(own) for part in process]
    return Sample(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def fit_temperature(sample: Sample) -> float:
    """Return the temperature of the highest likelihood; 1 where that leaves confidence further from accuracy."""
    if not len(sample.truth):
        return 1.0
    low, high = np.log([_LOWEST, _HIGHEST])
    found = minimize_scalar(lambda step: _surprise(sample, np.exp(step)), bounds=(low, high), method="bounded")
    temperature = float(np.exp(found.x))
    return temperature if calibration_error(sample, temperature) <= calibration_error(sample) else 1.0


def calibration_error(sample: Sample, temperature: float = 1.0) -> float:
    """Return the expected calibration error, Naeini et al. 2015: how far confidence is from accuracy, over 15 bins."""
    if not len(sample.truth):
        return 0.0
    log_p = log_softmax(sample.logits / temperature, axis=1)
    sure, right = np.exp(log_p.max(axis=1)), log_p.argmax(axis=1) == sample.truth
    place = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(place, weights=sure - right, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(sure))


def _surprise(sample: Sample, temperature: float) -> float:
    """Return the mean negative log-likelihood."""
    log_p = log_softmax(sample.logits / temperature, axis=1)
    return float(-np.take_along_axis(log_p, sample.truth[:, None], axis=1).mean())


def calibrate(building: Sample, damage: Sample) -> tuple[Temperatures, dict[str, float]]:
    """Return the temperatures and the calibration errors of both heads before and after."""
    temperatures = Temperatures(fit_temperature(building), fit_temperature(damage))
    errors = {}
    for name, sample in (("building", building), ("damage", damage)):
        errors[f"{name}_ece_before"] = calibration_error(sample)
        errors[f"{name}_ece_after"] = calibration_error(sample, getattr(temperatures, name))
    return temperatures, errors
