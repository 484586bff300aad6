"""A shift between two dates that changes from place to place, and pixels read through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
_STEPS = 64
"""To a pixel: a window that begins elsewhere must find the same shift at the same pixel, to the last bit."""


@dataclass(frozen=True, slots=True, eq=False)
class ShiftField:
    """Shifts at nodes, bilinear between them.

    Attributes:
        spacing: rows and columns of pixels from node to node; the first node is the upper left corner of the grid.
        rows: pixels down at each node (n, m).
        columns: pixels to the right at each node (n, m).
    """

    spacing: tuple[float, float]
    rows: FloatArray
    columns: FloatArray

    def at(self, rows: npt.NDArray[Any], columns: npt.NDArray[Any]) -> FloatArray:
        """Return the shift at positions in pixels of the grid: rows, then columns (2, ...)."""
        place = np.stack(np.broadcast_arrays(rows / self.spacing[0], columns / self.spacing[1]))
        shifts = [map_coordinates(each, place, order=1, mode="nearest") for each in (self.rows, self.columns)]
        return np.round(np.stack(shifts) * _STEPS) / _STEPS

    def window(self, top: int, left: int, height: int, width: int) -> FloatArray:
        """Return the shift at the pixels of a window (2, h, w)."""
        return self.at(top + np.arange(height)[:, None] + 0.5, left + np.arange(width)[None, :] + 0.5)

    def coarser(self, factor: float) -> ShiftField:
        """Return the same field on a grid whose pixels are `factor` times as large."""
        spacing = self.spacing[0] / factor, self.spacing[1] / factor
        return ShiftField(spacing, self.rows / factor, self.columns / factor)


def pull(
    values: npt.NDArray[np.float32], seen: BoolArray, shift: FloatArray
) -> tuple[npt.NDArray[np.float32], BoolArray]:
    """Return what lies `shift` (2, h, w) away from each pixel, from a window that is larger by a rim all around.

    Args:
        values: (h + 2 rim, w + 2 rim, 3).
        seen: where there are values; a pixel that a hole touches becomes a hole.
        shift: rows, then columns.
    """
    height, width = shift.shape[1:]
    rim = (values.shape[0] - height) // 2
    place = np.mgrid[rim : rim + height, rim : rim + width] + shift
    moved = np.stack([map_coordinates(values[..., k], place, order=1, output=np.float32) for k in range(3)], axis=2)
    return moved, map_coordinates(seen.astype(np.float32), place, order=1) > 1 - 1e-4
