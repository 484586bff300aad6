"""Pixels of a scene → int64 counts: everything a score needs, from one histogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.damage import N_CODES
from xview2_siamese_unet.errors import DataError

UInt8Array = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]

_SHAPE: Final = (2, 2, N_CODES, N_CODES)


@dataclass(frozen=True, eq=False, slots=True)
class Counts:
    """How often each truth met each prediction, in pixels; adds up over scenes with a plain `+`.

    Attributes:
        localization: int64 (2, 2); rows truth, columns prediction; 0 background, 1 building.
            The truth is the building mask of the pre-disaster label.
        damage: int64 (6, 6); rows truth, columns prediction; codes of `Damage`.
            The truth is the damage mask of the post-disaster label.
    """

    localization: IntArray
    damage: IntArray

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.localization + other.localization, self.damage + other.damage)

    @classmethod
    def zero(cls) -> Counts:
        """Return the counts of no scene."""
        return cls(np.zeros((2, 2), np.int64), np.zeros((N_CODES, N_CODES), np.int64))


def count_scene(
    building: UInt8Array, damage: UInt8Array, predicted: UInt8Array, *, scene: str, located: UInt8Array | None = None
) -> Counts:
    """Return the counts of one scene.

    Args:
        building: uint8 (h, w), truth of the pre-disaster label, 0 or 1.
        damage: uint8 (h, w), truth of the post-disaster label, codes 0 to 5.
        predicted: uint8 (h, w), codes 0 to 5.
        scene: name for error messages.
        located: uint8 (h, w), 1 where a building is predicted and 0 elsewhere, where any predicted damage is void;
            unless given, a building is predicted where the predicted code is above 0.

    Raises:
        DataError: another type, shape or value than the above.
    """
    located = (predicted > 0).view(np.uint8) if located is None else located
    for name, mask, highest in (
        ("building truth", building, 1),
        ("damage truth", damage, N_CODES - 1),
        ("prediction", predicted, N_CODES - 1),
        ("predicted buildings", located, 1),
    ):
        _check(mask, building.shape, highest, where=f"{scene}, {name}")
    # 2 × 2 × 6 × 6 = 144 joint codes still fit a byte, so one copy of the scene holds them all.
    joint = located * np.uint8(_SHAPE[1])
    for size, mask in zip((*_SHAPE[2:], 1), (building, damage, predicted), strict=True):
        joint += mask
        joint *= np.uint8(size)
    missed, found = histogram(joint)[: int(np.prod(_SHAPE))].reshape(_SHAPE)
    by_code: IntArray = found.sum(axis=0)
    by_code[:, 0] += missed.sum(axis=(0, 2))
    return Counts(np.stack([missed.sum(axis=(1, 2)), found.sum(axis=(1, 2))], axis=1), by_code)


def histogram(codes: UInt8Array) -> IntArray:
    """Return how often each of the 256 values of a byte stands in an array, int64 (256,).

    Most of a scene is 0, and is left out first: `np.bincount` takes eight bytes for each pixel that it counts.
    """
    counts = np.bincount(codes[codes > 0], minlength=256).astype(np.int64)
    counts[0] = codes.size - counts.sum()
    return counts


def _check(mask: UInt8Array, shape: tuple[int, ...], highest: int, *, where: str) -> None:
    problem = None
    if mask.dtype != np.uint8:
        problem = f"{mask.dtype} values"
    elif mask.ndim != 2 or mask.shape != shape or mask.size == 0:
        problem = f"shape {mask.shape}"
    elif (value := int(mask.max())) > highest:
        problem = f"the value {value}"
    if problem is not None:
        raise DataError(
            where,
            found=problem,
            allowed=f"uint8 codes 0 to {highest}, two axes, as large as the building truth {shape}",
            remedy="make masks and predictions again with the settings of this run",
        )
