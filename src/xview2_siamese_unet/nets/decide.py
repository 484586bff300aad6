"""Logits → damage codes."""

from __future__ import annotations

import torch
from torch import Tensor

from xview2_siamese_unet.nets.siamese_unet import Logits


def decide(logits: Logits, threshold: float = 0.5) -> Tensor:
    """Return damage codes (b, h, w), uint8: 0 where there is no building, else the most likely damage class.

    Whether there is a building is for the localisation head alone to say, so the damage head's background is left out.

    Args:
        logits: of both heads.
        threshold: probability from which a pixel is building.
    """
    building = torch.softmax(logits.building.float(), dim=1)[:, 1] > threshold
    damage = logits.damage[:, 1:].argmax(dim=1) + 1
    return (damage * building).to(torch.uint8)
