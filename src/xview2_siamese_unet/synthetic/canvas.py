"""A scene from above as two maps, colour and height, and the operations that draw on them.

Lengths and heights are in pixels. x runs right and y down from the outer corner of the first pixel, so the centre of
pixel (row, column) lies at (column + 0.5, row + 0.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Arrays are float32; the type is wider because numpy's stubs call float32 + float a float64.
Floats: TypeAlias = NDArray[np.floating[Any]]
Rgb: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Canvas:
    """The ground of one image before it is lit, or the part of it around one object.

    Attributes:
        u: x of the pixel centres, or around an object the distance from its centre along it.
        v: y, or the distance across the object.
        rgb: colour from 0 to 1, with a last axis of 3.
        height: above the ground.
        grain: noise of about 2 px with zero mean and unit variance.
        clump: the same of about 7 px.
    """

    u: Floats
    v: Floats
    rgb: Floats
    height: Floats
    grain: Floats
    clump: Floats

    @classmethod
    def blank(cls, rng: np.random.Generator, size: int) -> Canvas:
        """Return a black and flat canvas with its noise."""
        rgb, height = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
        return cls(*pixel_centres(size), rgb, height, noise(rng, size, 0.75), noise(rng, size, 2.4))

    def copy(self) -> Canvas:
        """Return a canvas that can be drawn on without changing this one."""
        return replace(self, rgb=self.rgb.copy(), height=self.height.copy())

    def around(self, x: float, y: float, angle: float, reach: float) -> Canvas:
        """Return a view of the pixels at most `reach` from (x, y) along either axis, of none outside of the canvas."""
        window, u, v = pixels_around(len(self.height), x, y, angle, reach)
        return Canvas(u, v, self.rgb[window], self.height[window], self.grain[window], self.clump[window])


def pixels_around(
    size: int, x: float, y: float, angle: float, reach: float
) -> tuple[tuple[slice, slice], Floats, Floats]:
    """Return rows and columns of the pixels around (x, y), and their distance along `angle` and across it."""
    rows, columns = (slice(max(int(c - reach), 0), min(max(int(c + reach) + 2, 0), size)) for c in (y, x))
    dx = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] + (0.5 - x)
    dy = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + (0.5 - y)
    cos, sin = math.cos(angle), math.sin(angle)
    return (rows, columns), dx * cos + dy * sin, dy * cos - dx * sin


def pixel_centres(size: int) -> tuple[Floats, Floats]:
    """Return x as (1, size) and y as (size, 1) of all pixel centres."""
    centres = np.arange(size, dtype=np.float32) + 0.5
    return centres[None, :], centres[:, None]


def noise(rng: np.random.Generator, size: int, sigma: float, octaves: int = 1) -> Floats:
    """Return smooth noise (size, size) with zero mean and unit variance.

    Args:
        rng: source of randomness.
        size: width and height.
        sigma: of the Gaussian that blurs it; bumps are about three times as wide.
        octaves: noises that are added up, each of half the width and 0.6 of the strength of the one before.
    """
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        white = rng.standard_normal((size, size), np.float32)
        layer = ndimage.gaussian_filter(white, sigma / 2**octave, mode="wrap", truncate=3.0)
        total += layer * (0.6**octave / layer.std())
    unit: Floats = (total - total.mean()) / total.std()
    return unit


def box(u: Floats, v: Floats, half_length: float, half_width: float) -> Floats:
    """Return the distance from the edge of a box around the origin, negative inside."""
    return np.maximum(np.abs(u) - half_length, np.abs(v) - half_width)


def coverage(distance: Floats) -> Floats:
    """Return the share of each pixel inside a shape whose edge is at `distance`: anti-aliasing in one step."""
    share: Floats = np.clip(0.5 - distance, 0, 1)
    return share


def smoothstep(value: Floats, low: float, high: float) -> Floats:
    """Return 0 below `low`, 1 above `high`, and a smooth step between."""
    t: Floats = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def blend(target: Floats, alpha: Floats, value: Floats | Rgb | float) -> None:
    """Move `target` towards `value` by the share `alpha` in place; `alpha` has no colour axis."""
    share = alpha[..., None] if target.ndim > alpha.ndim else alpha
    target += share * (np.asarray(value, np.float32) - target)
