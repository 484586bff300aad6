"""Which windows a net looks at, and how much each says about the pixels that it shares with its neighbours.

Windows of `size` pixels lie `size − overlap` apart. The first begins and the last ends at the edge of the grid, as a
scene does in training and scoring; a grid of up to `size` pixels is a single window. Where two windows meet, a quarter
of the overlap at the side of each is context only, because a net knows nothing about what lies beyond its window; over
the half between, they blend linearly. A net whose field of view reaches no further than that quarter answers the same
at every pixel, whatever the windows.
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
class Axis:
    """Windows along the rows or the columns of a grid.

    Attributes:
        length: pixels of the grid.
        size: side of a window.
        overlap: pixels that neighbours share, a multiple of 4.
    """

    length: int
    size: int
    overlap: int

    @property
    def step(self) -> int:
        """Pixels from one window to the next."""
        return self.size - self.overlap

    @property
    def margin(self) -> int:
        """Context at each side of a window that has a neighbour there, of which nothing is used."""
        return self.overlap // 4

    @property
    def ramp(self) -> int:
        """Pixels over which neighbours blend."""
        return self.overlap - 2 * self.margin

    @property
    def count(self) -> int:
        """Number of windows."""
        return 1 + max(0, -(-(self.length - self.size) // self.step))

    def extent(self, k: int) -> int:
        """Return the length of a window: `size`, and less where the grid ends inside it."""
        # Whole steps of an encoder that halves five times.
        return min(self.size, -(-(self.length - k * self.step) // _STEPS) * _STEPS)

    def block(self, k: int) -> slice:
        """Return the pixels of the grid that are finished once window k is known."""
        first = k * self.step + self.margin if k else 0
        return slice(first, (k + 1) * self.step + self.margin if k + 1 < self.count else self.length)

    def used(self, k: int) -> slice:
        """Return the pixels of window k that are used: those of its block, and those where the next one blends in."""
        block, corner = self.block(k), k * self.step
        return slice(block.start - corner, block.stop - corner + self.ramp * (k + 1 < self.count))

    def weights(self, k: int) -> FloatArray:
        """Return the weight of each used pixel of window k; those of neighbours add up to 1 wherever they meet."""
        used = self.used(k)
        weights = np.ones(used.stop - used.start, np.float32)
        up = (np.arange(self.ramp, dtype=np.float32) + 0.5) / max(self.ramp, 1)
        if k:
            weights[: self.ramp] = up
        if k + 1 < self.count:
            weights[len(weights) - self.ramp :] = up[::-1]
        return weights


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
    def vertical(self) -> Axis:
        """Windows along the rows of the grid."""
        return Axis(self.height, self.size, self.overlap)

    @property
    def horizontal(self) -> Axis:
        """Windows along the columns of the grid."""
        return Axis(self.width, self.size, self.overlap)

    @property
    def rows(self) -> int:
        """Number of rows of windows."""
        return self.vertical.count

    @property
    def columns(self) -> int:
        """Number of columns of windows."""
        return self.horizontal.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (i, j) row by row."""
        return ((i, j) for i in range(self.rows) for j in range(self.columns))

    def corner(self, i: int, j: int) -> tuple[int, int]:
        """Return the first row and column of a window."""
        return i * self.vertical.step, j * self.horizontal.step

    def extent(self, i: int, j: int) -> tuple[int, int]:
        """Return rows and columns of a window; the last ones may reach up to 31 pixels beyond the grid."""
        return self.vertical.extent(i), self.horizontal.extent(j)

    def block(self, i: int, j: int) -> tuple[slice, slice]:
        """Return the rows and columns of the grid that are finished once window (i, j) is known."""
        return self.vertical.block(i), self.horizontal.block(j)

    def used(self, i: int, j: int) -> tuple[slice, slice]:
        """Return the rows and columns of window (i, j) that are used."""
        return self.vertical.used(i), self.horizontal.used(j)
