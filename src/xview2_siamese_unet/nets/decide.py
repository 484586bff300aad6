"""Logits → damage codes and probabilities."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.nets.siamese_unet import Logits
from xview2_siamese_unet.nets.thresholds import Thresholds


class Temperatures(NamedTuple):
    """By what the logits of each head are divided, Guo et al. 2017, arXiv:1706.04599; no order of classes changes."""

    building: float = 1.0
    damage: float = 1.0


def decide(logits: Logits, thresholds: Thresholds = Thresholds()) -> Tensor:  # noqa: B008  a tuple never changes
    """Return damage codes (b, h, w), uint8: 0 where there is no building, else the most likely damage class.

    Whether there is a building is for the localisation head to say, so the damage head's background is left out.

    Args:
        logits: of both heads.
        thresholds: probabilities from which a pixel is building.
    """
    probability, damage = answers(logits)
    building = (probability > thresholds.building) | (is_damaged(damage) & (probability > thresholds.damaged))
    return (damage * building).to(torch.uint8)


def answers(logits: Logits) -> tuple[Tensor, Tensor]:
    """Return the probability of a building and the most likely damage code if there is one, each (b, h, w)."""
    return torch.softmax(logits.building.float(), dim=1)[:, 1], logits.damage[:, 1:].argmax(dim=1) + 1


def probabilities(logits: Logits) -> Tensor:
    """Return probabilities (b, 5, h, w) of background and the four damage classes.

    Whether there is a building is for the localisation head alone to say; the damage head shares it out.
    """
    there = torch.softmax(logits.building.float(), dim=1)[:, 1:]
    shares = torch.softmax(logits.damage[:, int(SCORED[0]) : int(SCORED[-1]) + 1].float(), dim=1)
    return torch.cat([1 - there, there * shares], dim=1)


def is_damaged(damage: Tensor) -> Tensor:
    """Return where codes say minor-damage, major-damage or destroyed."""
    return (damage >= Damage.MINOR_DAMAGE) & (damage <= Damage.DESTROYED)
