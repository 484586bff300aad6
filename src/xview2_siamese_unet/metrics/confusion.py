"""Pixels of a scene → int64 counts: everything a score needs, from one bincount."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.damage import N_CODES
from xview2_siamese_unet.errors import DataError

UInt8Array = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]

_SHAPE: Final = (2, N_CODES, N_CODES)


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


def count_scene(building: UInt8Array, damage: UInt8Array, predicted: UInt8Array, *, scene: str) -> Counts:
    """Return the counts of one scene; a building is predicted where the predicted code is above 0.

    Args:
        building: uint8 (h, w), truth of the pre-disaster label, 0 or 1.
        damage: uint8 (h, w), truth of the post-disaster label, codes 0 to 5.
        predicted: uint8 (h, w), codes 0 to 5.
        scene: name for error messages.

    Raises:
        DataError: another type, shape or value than the above.
    """
    for name, mask, highest in (
        ("building truth", building, 1),
        ("damage truth", damage, N_CODES - 1),
        ("prediction", predicted, N_CODES - 1),
    ):
        _check(mask, building.shape, highest, where=f"{scene}, {name}")
    # 2 × 6 × 6 = 72 joint codes still fit a byte, so no wider copy of the scene is made before the bincount.
    joint = (building * _SHAPE[1] + damage) * _SHAPE[2] + predicted
    cube = np.bincount(joint.ravel(), minlength=int(np.prod(_SHAPE))).astype(np.int64).reshape(_SHAPE)
    by_prediction = cube.sum(axis=1)
    localization = np.stack([by_prediction[:, 0], by_prediction[:, 1:].sum(axis=1)], axis=1)
    return Counts(localization, cube.sum(axis=0))


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
