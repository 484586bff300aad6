"""One damage class for each predicted building: a weighted vote of the pixels that touch each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from xview2_siamese_unet.damage import Damage

_TOUCHING: Final = np.ones((3, 3), bool)  # by side or corner


def connect(codes: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int32], int]:
    """Return the number of the building that each pixel (h, w) belongs to, 0 for none, and how many there are."""
    numbers = np.empty(codes.shape, np.int32)
    return numbers, int(ndimage.label(codes != Damage.BACKGROUND, _TOUCHING, output=numbers))


def sum_shares(
    numbers: npt.NDArray[np.int32], count: int, probabilities: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Return the summed probabilities of the four damage classes in each building (count, 4).

    Args:
        numbers: of buildings (h, w), as `connect` returns them.
        count: of buildings.
        probabilities: of background and the four classes (5, h, w).
    """
    inside = numbers > 0
    own = numbers[inside] - 1
    sums = [np.bincount(own, weights=share[inside], minlength=count) for share in probabilities[1:]]
    return np.stack(sums, axis=1)


def vote(
    codes: npt.NDArray[np.uint8], probabilities: npt.NDArray[np.float32], weights: Sequence[float]
) -> npt.NDArray[np.uint8]:
    """Return codes (h, w) with one class in each building; which pixels are building does not change.

    Args:
        codes: damage codes (h, w).
        probabilities: of background and the four classes (5, h, w).
        weights: what the sum of each of the four classes counts.
    """
    numbers, count = connect(codes)
    elected = (sum_shares(numbers, count, probabilities) * weights).argmax(axis=1) + int(Damage.NO_DAMAGE)
    return np.concatenate([[Damage.BACKGROUND], elected]).astype(np.uint8)[numbers]
