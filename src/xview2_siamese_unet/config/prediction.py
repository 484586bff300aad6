"""How a trained net answers; what is fitted for it on the validation scenes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from xview2_siamese_unet.config.base import Strict

Tta = Literal["none", "flips", "d4"]
Weight = Annotated[float, Field(gt=0)]
VoteWeights = tuple[Weight, Weight, Weight, Weight]


class PredictionParams(Strict):
    """How a trained net answers: kept in the checkpoint, and fitted anew without training when a key changes."""

    tta: Tta = "none"
    """Views of a scene whose logits are averaged: as it is, its four flips, or all eight symmetries of a square."""
    vote: Literal["none", "connected"] = "none"
    """`connected`: one damage class for each predicted building, whose pixels touch each other by a side."""
    vote_weights: VoteWeights = (1.0, 1.0, 1.0, 1.0)
    """What the pixels' summed probabilities of no damage to destroyed count in the vote; where `tune` starts."""
    tune: bool = False
    """Choose on the validation scenes from which probability a pixel is building, and the weights of the vote."""
    calibrate: bool = True
    """Fit one temperature for each head on the validation scenes, so that probabilities mean what they say."""
