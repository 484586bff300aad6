"""The decision rule from logits to damage codes, for validation, scoring, assessment."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.models.siamese_unet import Logits
from xview2_siamese_unet.models.tensors import ClassProbabilities, Codes, ProbabilityTensor, SingleProbability, Targets
from xview2_siamese_unet.raster.io import as_bytes
from xview2_siamese_unet.types import SceneProbabilities


class Temperatures(NamedTuple):
    """Divisors of the logits of each head, Guo et al. 2017, arXiv:1706.04599."""

    building: float = 1.0
    damage: float = 1.0


class Thresholds(NamedTuple):
    """Probabilities above which a pixel is building: of any class, or predicted damaged.

    A collapsed roof looks less like a roof, so `damaged` is the lower of the two.
    """

    building: float = 0.5
    damaged: float = 0.5


def probabilities(logits: Logits) -> ProbabilityTensor:
    """Return probabilities of background and the damage classes, 4 or 5.

    The localisation head alone gives the probability of a building, which the damage head divides among the classes.
    """
    return join_heads(building_probability(logits), class_probabilities(logits))


def building_probability(logits: Logits) -> SingleProbability:
    """Return the probability of a building."""
    return torch.softmax(logits.building.float(), dim=1)[:, 1:]


def class_probabilities(logits: Logits) -> ClassProbabilities:
    """Return the probabilities of the damage classes of a building."""
    return torch.softmax(logits.damage[:, 1:].float(), dim=1)


def join_heads(building: SingleProbability, classes: ClassProbabilities) -> ProbabilityTensor:
    """Return probabilities of background and the damage classes from those of both heads."""
    return torch.cat([1 - building, building * classes], dim=1)


def most_likely(shares: ProbabilityTensor) -> tuple[Tensor, Targets]:
    """Return the probability of a building and its likeliest damage code, each (b, h, w)."""
    # Not argmax, which on a CPU is many times slower over a dimension that is not the last (bench_epoch.py).
    return 1 - shares[:, 0], shares[:, 1:].max(dim=1).indices + 1


def decide(shares: ProbabilityTensor, thresholds: Thresholds = Thresholds()) -> Codes:  # noqa: B008  a tuple never changes
    """Return damage codes of `probabilities`; 0 is no building."""
    probability, damage = most_likely(shares)
    damaged = (damage >= Damage.MINOR_DAMAGE) & (damage <= Damage.DESTROYED)
    building = (probability > thresholds.building) | (damaged & (probability > thresholds.damaged))
    return (damage * building).to(torch.uint8)


def scored_bytes(shares: ProbabilityTensor) -> SceneProbabilities:
    """Return probabilities of background and scored classes × 254.

    The probability of un-classified, if the net has that class, is divided among the four.
    """
    known = shares[:, int(SCORED[0]) : int(SCORED[-1]) + 1]
    if shares.shape[1] > 1 + len(SCORED):
        known = known * ((1 - shares[:, :1]) / known.sum(dim=1, keepdim=True).clamp_min(1e-30))
    return as_bytes(torch.cat([shares[:, :1], known], dim=1).cpu().numpy())
