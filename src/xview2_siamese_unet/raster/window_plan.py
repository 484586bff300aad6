"""Which windows a net looks at, and how much each says about the pixels that it shares with its neighbours.

Windows of `size` pixels lie `size − overlap` apart. A quarter of the overlap at each side of a window is context only,
because a net knows nothing about what lies beyond its window; over the half between, neighbours blend linearly. The
first windows begin a quarter of the overlap outside the grid, so that its borders are no different from its middle: a
net whose field of view reaches no further than that quarter answers the same at every pixel, whatever the windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_STEPS: Final = 32
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Windows over a grid of `height` × `width` pixels; `i` and `j` count their rows and columns.

    Attributes:
        height: rows of the grid.
        width: columns of the grid.
        size: side of a window.
        overlap: pixels that neighbours share, a multiple of 4.
    """

    height: int
    width: int
    size: int
    overlap: int

    @property
    def step(self) -> int:
        """Pixels from one window to the next; also the side of a block of finished pixels."""
        return self.size - self.overlap

    @property
    def margin(self) -> int:
        """Context at each side of a window, of which nothing is used."""
        return self.overlap // 4

    @property
    def ramp(self) -> int:
        """Pixels over which neighbours blend."""
        return self.overlap - 2 * self.margin

    @property
    def zone(self) -> int:
        """Side of the part of a window that is used."""
        return self.step + self.ramp

    @property
    def rows(self) -> int:
        """Number of rows of windows."""
        return max(1, -(-self.height // self.step))

    @property
    def columns(self) -> int:
        """Number of columns of windows."""
        return max(1, -(-self.width // self.step))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (i, j) row by row."""
        return ((i, j) for i in range(self.rows) for j in range(self.columns))

    def corner(self, i: int, j: int) -> tuple[int, int]:
        """Return the first row and column of a window, which may lie outside the grid."""
        return i * self.step - self.margin, j * self.step - self.margin

    def extent(self, i: int, j: int) -> tuple[int, int]:
        """Return rows and columns of a window: `size`, and less where the grid ends inside it."""
        top, left = self.corner(i, j)
        return self._until(self.height - top), self._until(self.width - left)

    def _until(self, end: int) -> int:
        # Whole steps of an encoder that halves five times.
        return min(self.size, -(-(end + self.margin) // _STEPS) * _STEPS)

    def block(self, i: int, j: int) -> tuple[slice, slice]:
        """Return the rows and columns of the grid that are finished once window (i, j) is known."""
        top, left = i * self.step, j * self.step
        return slice(top, min(top + self.step, self.height)), slice(left, min(left + self.step, self.width))

    def weights(self, k: int) -> FloatArray:
        """Return the weight of each pixel of the zone along one axis (zone,), for the k-th window of that axis.

        Those of neighbours add up to 1 wherever they meet.
        """
        up = (np.arange(self.ramp, dtype=np.float32) + 0.5) / max(self.ramp, 1)
        first = np.ones_like(up) if k == 0 else up
        return np.concatenate([first, np.ones(self.step - self.ramp, np.float32), up[::-1]])
