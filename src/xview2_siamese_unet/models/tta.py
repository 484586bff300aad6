"""Test-time augmentation: the mean logits of flipped and rotated images."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from functools import reduce
from typing import Final

from array_api_compat import array_namespace

from xview2_siamese_unet.config.modelling import Tta
from xview2_siamese_unet.models.postprocess import Array, Logits, Temperatures, divided

LogitNet = Callable[[Array, Array], Logits]
"""Both images (b, 3, h, w) → logits of the same library."""
_TURNS: Final[dict[Tta, tuple[int, ...]]] = {"none": (0,), "flips": (0, 2), "d4": (0, 1, 2, 3)}


def mean_logits(net: LogitNet, pre: Array, post: Array, tta: Tta, temperatures: Temperatures) -> Logits:
    """Return the mean logits of all views, divided by the temperatures."""

    def logits(turns: int, flip: bool) -> Logits:
        heads = net(*(_turn(_mirror(image, flip), turns) for image in (pre, post)))
        return Logits(*(_mirror(_turn(head, -turns), flip) for head in heads))

    views = [*itertools.product(_TURNS[tta], (False,) if tta == "none" else (False, True))]
    total = reduce(lambda one, other: Logits(*map(operator.add, one, other)), itertools.starmap(logits, views))
    n = len(views)
    return divided(Logits(total.building / n, total.damage / n), temperatures)


def _mirror(image: Array, flip: bool) -> Array:
    return array_namespace(image).flip(image, axis=-1) if flip else image


def _turn(image: Array, turns: int) -> Array:
    return array_namespace(image).rot90(image, turns, (-2, -1)) if turns else image
