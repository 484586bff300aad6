"""How far the image after lies beside the image before, in pixels of the common grid.

Phase correlation of edges: light, season and sensor change grey values, roads and roofs stay. The surfaces of many
windows are added, so that what they share stands out and what a disaster has changed does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import binary_dilation, binary_opening, gaussian_gradient_magnitude

FloatArray = npt.NDArray[np.float64]
SIDE: Final = 256
FURTHEST: Final = 24
"""Pixels; a shift beyond it is not looked for."""
_WIDTH: Final = 1.5  # pixels, deviation of the peak that a pure shift makes
_SURE: Final = 8.0  # deviations above the rest of the surface; noise alone reaches about 5
_SURE_ALONE: Final = 7.0  # for a single window
_CLOSE: Final = 1.5  # pixels
_HALF: Final = 0.5
_ENOUGH: Final = 0.5  # share of a window with data
_BLURRED: Final = 8  # pixels along a border of the data, which JPEG blurs by a block


class LocalShift(NamedTuple):
    """The shift in a single window that is sure by itself: its number, pixels to the right and down."""

    window: int
    columns: float
    rows: float


@dataclass(frozen=True, slots=True)
class Shift:
    """Where the image after shows what the image before shows at a pixel.

    Attributes:
        columns: pixels to the right.
        rows: pixels down.
        confidence: deviations by which it stands out.
        windows: number of windows looked at.
        local: shifts of single windows, for those that are sure by themselves.
    """

    columns: float
    rows: float
    confidence: float
    windows: int
    local: tuple[LocalShift, ...] = ()

    @property
    def sure(self) -> bool:
        """Whether it is to be trusted: it stands out, and most windows that are sure by themselves agree."""
        return self.confidence >= _SURE and self.is_shared

    @property
    def is_shared(self) -> bool:
        """Whether more than half of the windows that are sure by themselves lie close to it."""
        return self.agreement > _HALF

    @property
    def agreement(self) -> float:
        """Share of the windows that are sure by themselves and lie close to the whole; 1 where there are none."""
        apart = [np.hypot(one.columns - self.columns, one.rows - self.rows) for one in self.local]
        return float(np.mean(np.array(apart) <= _CLOSE)) if apart else 1.0

    @property
    def size(self) -> float:
        """Its length in pixels."""
        return float(np.hypot(self.columns, self.rows))


def estimate_shift(patches: Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.bool_]]]) -> Shift:
    """Return the shift that windows of both dates agree on.

    Args:
        patches: bytes of both dates (256, 256, 3) and where both hold data (256, 256).
    """
    total, looked, local = np.zeros((SIDE, SIDE)), 0, []
    for number, (pre, post, seen) in enumerate(patches):
        valid = _inside(seen)
        if valid.mean() >= _ENOUGH:
            surface = _surface(_edges(pre, valid), _edges(post, valid))
            total += surface
            looked += 1
            columns, rows, confidence = _peak(surface)
            if confidence >= _SURE_ALONE:
                local.append(LocalShift(number, round(columns, 2), round(rows, 2)))
    return Shift(*_peak(total), looked, tuple(local)) if looked else Shift(0.0, 0.0, 0.0, 0)


def _inside(valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the pixels that do not lie beside a large hole, whose border is the same edge in both dates."""
    if valid.all():
        return valid
    block = np.ones((_BLURRED, _BLURRED), bool)
    holes = binary_opening(~valid, block)
    return valid & ~binary_dilation(holes, np.ones((3, 3), bool), iterations=_BLURRED) if holes.any() else valid


def _edges(image: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> FloatArray:
    grey = image.mean(axis=2)
    grey[~valid] = grey[valid].mean()
    strength: FloatArray = gaussian_gradient_magnitude(grey, 1.0)
    # Where data end there is an edge in both dates, at the same place whatever the shift.
    strength[~valid] = 0
    strength = np.minimum(strength, np.percentile(strength, 98))
    window = np.hanning(SIDE)
    tapered: FloatArray = (strength - strength.mean()) * np.outer(window, window)
    return tapered


def _surface(pre: FloatArray, post: FloatArray) -> FloatArray:
    """Return how well the dates agree at each shift (256, 256), shift 0 in the middle; a Gaussian where all agree."""
    cross = fft.fft2(post) * np.conj(fft.fft2(pre))
    frequency = fft.fftfreq(SIDE)
    narrow = np.exp(-2 * (np.pi * _WIDTH * frequency) ** 2)
    strength = np.abs(cross)
    cross = np.divide(cross, strength, out=np.zeros_like(cross), where=strength > 1e-9 * max(strength.max(), 1e-9))
    surface: FloatArray = fft.fftshift(fft.ifft2(cross * np.outer(narrow, narrow)).real)
    return surface


def _peak(surface: FloatArray) -> tuple[float, float, float]:
    """Return columns, rows and confidence of the highest point within reach, to a fraction of a pixel."""
    middle = SIDE // 2
    near = surface[middle - FURTHEST : middle + FURTHEST + 1, middle - FURTHEST : middle + FURTHEST + 1]
    row, column = np.unravel_index(near.argmax(), near.shape)
    y, x = int(row) + middle - FURTHEST, int(column) + middle - FURTHEST
    rest = surface.std()
    confidence = float((surface[y, x] - surface.mean()) / rest) if rest > 1e-12 else 0.0
    return (
        x - middle + _vertex(surface[y, x - 1 : x + 2]),
        y - middle + _vertex(surface[y - 1 : y + 2, x]),
        round(confidence, 1),
    )


def _vertex(three: FloatArray) -> float:
    """Return where a Gaussian through three neighbours has its top, from the one in the middle."""
    low, middle, high = np.log(np.maximum(three, 1e-12))
    bend = low - 2 * middle + high
    return float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend < 0 else 0.0
