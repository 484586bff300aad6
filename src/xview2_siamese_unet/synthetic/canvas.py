"""A place seen from above as two maps, colour and height, and the few strokes that everything is drawn with.

Every length is in pixels, heights too; x runs to the right and y down from the outer corner of the first pixel, so the
centre of pixel (row, column) lies at (column + 0.5, row + 0.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

# float32 all along; the type is wider because numpy's stubs call float32 + float a float64.
Floats: TypeAlias = NDArray[np.floating[Any]]
Rgb: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Canvas:
    """What lies on the ground of one date, before any light falls on it.

    Attributes:
        rgb: (size, size, 3), colour from 0 to 1, drawn upon in place.
        height: (size, size), above the ground.
        grain: (size, size), noise of about 2 px, zero mean and unit variance.
        clump: (size, size), the same of about 7 px.
    """

    rgb: Floats
    height: Floats
    grain: Floats
    clump: Floats

    @property
    def size(self) -> int:
        """Width and height."""
        return len(self.height)

    def copy(self) -> Canvas:
        """Return a canvas that can be drawn upon without touching this one."""
        return replace(self, rgb=self.rgb.copy(), height=self.height.copy())


@dataclass(frozen=True, slots=True)
class Frame:
    """The pixels around one thing in its own axes: `u` along it and `v` across, both 0 at its centre."""

    cut: tuple[slice, slice]
    u: Floats
    v: Floats


def blank(rng: np.random.Generator, size: int) -> Canvas:
    """Return an empty canvas with its noise."""
    zero = np.zeros((size, size), np.float32)
    rgb = np.zeros((size, size, 3), np.float32)
    return Canvas(rgb, zero, _fine_noise(rng, size, 0.75), _fine_noise(rng, size, 2.4))


def smooth_noise(rng: np.random.Generator, size: int, period: float) -> Floats:
    """Return (size, size) bicubic noise whose bumps are `period` px apart, about zero mean and unit variance."""
    cells = size / period
    knots = rng.standard_normal((int(cells) + 4,) * 2, np.float32)
    image = Image.fromarray(knots).resize((size, size), Image.Resampling.BICUBIC, (1, 1, 1 + cells, 1 + cells))
    return np.asarray(image) * 1.45


def _fine_noise(rng: np.random.Generator, size: int, sigma: float) -> Floats:
    """Return blurred white noise: small bumps on a lattice, as `smooth_noise` has them, would look woven."""
    noise = ndimage.gaussian_filter(rng.standard_normal((size, size), np.float32), sigma, mode="wrap", truncate=3.0)
    return np.asarray(noise * np.float32(2 * np.sqrt(np.pi) * sigma), np.float32)


def fractal_noise(rng: np.random.Generator, size: int, period: float, octaves: int) -> Floats:
    """Return the sum of `octaves` noises, each of half the period and 0.6 the height of the one before."""
    weights = 0.6 ** np.arange(octaves)
    total = sum(w * smooth_noise(rng, size, period / 2**k) for k, w in enumerate(weights))
    return np.asarray(total / np.sqrt((weights**2).sum()), np.float32)


def whole(size: int) -> tuple[Floats, Floats]:
    """Return x as (1, size) and y as (size, 1) of all pixel centres."""
    centres = np.arange(size, dtype=np.float32) + 0.5
    return centres[None, :], centres[:, None]


def frame_at(size: int, x: float, y: float, angle: float, reach: float) -> Frame | None:
    """Return the pixels at most `reach` from (x, y) along either image axis; `None` where the image has none."""
    left, top = max(int(x - reach), 0), max(int(y - reach), 0)
    right, bottom = min(int(x + reach) + 2, size), min(int(y + reach) + 2, size)
    if left >= right or top >= bottom:
        return None
    dx = np.arange(left, right, dtype=np.float32)[None, :] + (0.5 - x)
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] + (0.5 - y)
    cos, sin = math.cos(angle), math.sin(angle)
    return Frame((slice(top, bottom), slice(left, right)), dx * cos + dy * sin, dy * cos - dx * sin)


def box(u: Floats, v: Floats, half_length: float, half_width: float) -> Floats:
    """Return the distance to a box around the origin: negative inside, exact inside and beside its edges."""
    return np.maximum(np.abs(u) - half_length, np.abs(v) - half_width)


def cover(distance: Floats) -> Floats:
    """Return how much of a pixel a shape covers whose edge lies at `distance`: smooth edges without supersampling."""
    share: Floats = np.clip(0.5 - distance, 0, 1)
    return share


def ramp(value: Floats, low: float, high: float) -> Floats:
    """Return 0 below `low`, 1 above `high` and a smooth step between."""
    t: Floats = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def blend(target: Floats, alpha: Floats, value: Floats | Rgb | float) -> None:
    """Move `target` towards `value` by `alpha` in place; `alpha` lacks the colour axis where `target` has one."""
    share = alpha[..., None] if target.ndim > alpha.ndim else alpha
    target += share * (np.asarray(value, np.float32) - target)
