"""The decision rule from logits to damage codes, for validation, scoring and assessment.

The same code runs with torch (a trained net, on any device) and with numpy (an ONNX network, without torch).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from array_api_compat import array_namespace, is_numpy_array, to_device
from jaxtyping import Float, Shaped, UInt8
from scipy import special

from xview2_siamese_unet.config.modelling import PredictionParams, VoteWeights
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.raster.io import as_bytes
from xview2_siamese_unet.types import AnyArray, SceneProbabilities

# Any: a tensor of torch, or an array of numpy.
Array = Shaped[Any, "..."]
BuildingLogits = Float[Any, "b 2 h w"]
ClassLogits = Float[Any, "b k h w"]
SingleProbability = Float[Any, "b 1 h w"]
"""Of a building."""
ClassProbabilities = Float[Any, "b k h w"]
"""Of the damage classes of a building."""
PixelProbabilities = Float[Any, "b classes h w"]
"""Of background and the damage classes: one more, or as many as the logits of the damage head."""
PixelProbability = Float[Any, "b h w"]
Codes = UInt8[Any, "b h w"]
"""Damage codes."""


_TINY: Final = 1e-30


class Logits(NamedTuple):
    """Logits of the heads."""

    building: BuildingLogits
    damage: ClassLogits


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


def thresholds_of(model: Mapping[str, Any]) -> Thresholds:
    """Return the thresholds of a checkpoint or a card; one half if it has none."""
    return Thresholds(**model.get("thresholds", {}))


def prediction_of(model: Mapping[str, Any]) -> PredictionParams:
    """Return the prediction parameters of a checkpoint or a card, with tuned vote weights."""
    return PredictionParams.model_validate(model.get("prediction", {}))


def vote_weights_of(model: Mapping[str, Any]) -> VoteWeights | None:
    """Return the class weights of the vote within a building; `None` without a vote."""
    params = prediction_of(model)
    return params.vote_weights if params.vote == "connected" else None


def probabilities(logits: Logits) -> PixelProbabilities:
    """Return probabilities of background and the damage classes, 4 or 5.

    The localisation head alone gives the probability of a building, which the damage head divides among the classes.
    """
    return join_heads(building_probability(logits), class_probabilities(logits))


def building_probability(logits: Logits) -> SingleProbability:
    """Return the probability of a building."""
    return _softmax(logits.building)[:, 1:]


def class_probabilities(logits: Logits) -> ClassProbabilities:
    """Return the probabilities of the damage classes of a building."""
    return _softmax(logits.damage[:, 1:])


def _softmax(logits: ClassLogits) -> ClassProbabilities:
    # The array API standard has no softmax.
    return special.softmax(logits, axis=1) if is_numpy_array(logits) else logits.float().softmax(dim=1)


def join_heads(building: SingleProbability, classes: ClassProbabilities) -> PixelProbabilities:
    """Return probabilities of background and the damage classes from those of both heads."""
    return array_namespace(building).concat([1 - building, building * classes], axis=1)


def logits_of(shares: PixelProbabilities) -> Logits:
    """Return logits whose `probabilities` are these."""
    xp = array_namespace(shares)
    logs = xp.log(xp.clip(xp.concat([shares, 1 - shares[:, :1]], axis=1), min=_TINY))
    return Logits(xp.concat([logs[:, :1], logs[:, -1:]], axis=1), logs[:, :-1])


def divided(logits: Logits, temperatures: Temperatures) -> Logits:
    """Return the logits of each head, divided by its temperature."""
    return Logits(logits.building / temperatures.building, logits.damage / temperatures.damage)


def most_likely(shares: PixelProbabilities) -> tuple[PixelProbability, Codes]:
    """Return the probability of a building and its most likely damage code."""
    # Not argmax, which in torch on a CPU is many times slower over a dimension that is not the last (bench_epoch.py).
    xp, highest = array_namespace(shares), shares[:, 1]
    codes = xp.ones_like(highest, dtype=xp.uint8)
    for code in range(2, shares.shape[1]):
        codes = xp.where(shares[:, code] > highest, code, codes)
        highest = xp.maximum(shares[:, code], highest)
    return 1 - shares[:, 0], codes


def decide(shares: PixelProbabilities, thresholds: Thresholds = Thresholds()) -> Codes:  # noqa: B008  a tuple never changes
    """Return damage codes of `probabilities`; 0 is background."""
    probability, damage = most_likely(shares)
    damaged = (damage >= int(Damage.MINOR_DAMAGE)) & (damage <= int(Damage.DESTROYED))
    building = (probability > thresholds.building) | (damaged & (probability > thresholds.damaged))
    return damage * building


def scored_bytes(shares: PixelProbabilities) -> SceneProbabilities:
    """Return probabilities of background and scored classes × 254.

    The probability of un-classified, if the net has that class, is divided among the four.
    """
    xp = array_namespace(shares)
    known = shares[:, int(SCORED[0]) : int(SCORED[-1]) + 1]
    if shares.shape[1] > 1 + len(SCORED):
        known = known * ((1 - shares[:, :1]) / xp.clip(xp.sum(known, axis=1, keepdims=True), min=_TINY))
    return as_bytes(to_numpy(xp.concat([shares[:, :1], known], axis=1)))


def to_numpy(array: Array) -> AnyArray:
    """Return a tensor of torch, on any device, or an array of numpy as the latter."""
    return np.asarray(to_device(array, "cpu"))
