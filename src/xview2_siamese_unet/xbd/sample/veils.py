"""What hides a part of an image: the end of the pass, left black, and clouds or smoke."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from xview2_siamese_unet.xbd.names import Phase
from xview2_siamese_unet.xbd.sample.canvas import Floats, fractal_noise, ramp, whole


def past_border(rng: np.random.Generator, size: int) -> dict[Phase, NDArray[np.bool_]]:
    """Return the black wedge of either date, (size, size): the same edge of the tile, a few pixels apart."""
    x, y = (axis / size - 0.5 for axis in whole(size))
    turn, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.30, 0.42)
    wedge = x * math.cos(turn) + y * math.sin(turn)
    apart = rng.uniform(0.03, 0.08)
    return {"pre": wedge > depth, "post": wedge > depth - apart}


def clouds(rng: np.random.Generator, size: int) -> Floats:
    """Return the opacity of one cloud, (size, size), from 0 to 0.97."""
    x, y = whole(size)
    (left, top), radius = (rng.uniform(0.25, 0.75, 2) * size).tolist(), rng.uniform(0.11, 0.16) * size
    distance = np.hypot((x - left) / 1.4, y - top) / radius
    return ramp(0.28 * fractal_noise(rng, size, size / 5, 5) - distance, -1.35, -0.55) * 0.97
