"""Sunlight, clouds and the sensor: from colour and height to the bytes of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from xview2_siamese_unet.synthetic.canvas import Canvas, Floats, fractal_noise, ramp, whole
from xview2_siamese_unet.xbd.names import Phase

Bytes: TypeAlias = NDArray[np.uint8]

_SKY = np.array([0.35, 0.39, 0.46], np.float32)
_STEEPEST = 0.75


@dataclass(frozen=True, slots=True)
class Shot:
    """How one image was taken.

    Attributes:
        sun_azimuth: in degrees from north, clockwise.
        sun_elevation: in degrees above the horizon.
        gain: of each colour.
        gamma: exponent of the tone curve.
        haze: share of a light veil.
        blur: sigma of the point spread in pixels.
        noise: sigma of the sensor's noise in grey levels.
        shift: x and y by which the image is off the true place, in pixels.
    """

    sun_azimuth: float
    sun_elevation: float
    gain: tuple[float, float, float]
    gamma: float
    haze: float
    blur: float
    noise: float
    shift: tuple[float, float]


def take_shot(rng: np.random.Generator, is_post: bool) -> Shot:
    """Return how an image is taken; the later one under other light, a little off, as registration leaves it."""
    wide = 1.0 if is_post else 0.4
    gain = np.clip(rng.normal(1.0, 0.12 * wide), 0.78, 1.2) * np.clip(rng.normal(1, 0.03 * wide, 3), 0.94, 1.06)
    turn, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.45) * is_post
    return Shot(
        sun_azimuth=float(rng.uniform(100, 250)),
        sun_elevation=float(rng.uniform(38, 64)),
        gain=(float(gain[0]), float(gain[1]), float(gain[2])),
        gamma=float(1 + wide * rng.uniform(-0.14, 0.16)),
        haze=float(wide * rng.uniform(0, 0.10)),
        blur=float(rng.uniform(0.45, 0.70)),
        noise=float(rng.uniform(1.2, 2.6)),
        shift=(float(far * np.cos(turn)), float(far * np.sin(turn))),
    )


def expose(rng: np.random.Generator, canvas: Canvas, shot: Shot) -> Floats:
    """Return the image, (size, size, 3) in grey levels, before any pixel is rounded."""
    image = canvas.rgb * _daylight(canvas.height, shot)
    for axis, shift in ((0, shot.shift[1]), (1, shot.shift[0])):
        image = ndimage.correlate1d(image, _spread(shot.blur, shift), axis=axis, mode="nearest")
    np.clip(image, 0.004, 1, out=image)
    image = image**shot.gamma * np.asarray(shot.gain, np.float32)
    image += shot.haze * (np.array([0.62, 0.66, 0.70], np.float32) - image)
    image *= 255
    image += shot.noise * rng.standard_normal(image.shape[:2], np.float32)[..., None]
    return image


def to_bytes(image: Floats, nodata: NDArray[np.bool_]) -> Bytes:
    """Return 8-bit RGB in which pure black means no data and nothing else does."""
    values = np.clip(image, 1, 255).astype(np.uint8)
    values[nodata] = 0
    return values


def _daylight(height: Floats, shot: Shot) -> Floats:
    """Return the light on every pixel and colour: 1 on open flat ground."""
    azimuth, elevation = math.radians(shot.sun_azimuth), math.radians(shot.sun_elevation)
    east, south = math.sin(azimuth), -math.cos(azimuth)
    down, across = (np.clip(g, -_STEEPEST, _STEEPEST) for g in np.gradient(height))
    slant = 1 / math.tan(elevation)
    facing = (1 - slant * (east * across + south * down)) / np.sqrt(1 + across * across + down * down)
    direct = np.clip(facing, 0, 1.6) * (1 - _shadow(height, east, south, math.tan(elevation)))
    light: Floats = _SKY + (1 - _SKY) * direct[..., None]
    return light


def _shadow(height: Floats, east: float, south: float, tangent: float) -> Floats:
    """Return how much of every pixel lies in the shadow of something nearer the sun."""
    steps = int(np.ceil(min(float(height.max()), 16.0) / tangent))
    padded = np.pad(height, steps, mode="edge")
    highest = np.zeros_like(height)
    size = len(height)
    for step in range(1, steps + 1):
        row, column = steps + round(step * south), steps + round(step * east)
        np.maximum(highest, padded[row : row + size, column : column + size] - (step * tangent), out=highest)
    shade: Floats = np.clip((highest - height) * 0.8, 0, 1)
    return shade


def _spread(blur: float, shift: float) -> NDArray[np.float64]:
    """Return the taps of a Gaussian that also moves the image by a fraction of a pixel."""
    taps: NDArray[np.float64] = np.exp(-0.5 * ((np.arange(-3, 4) + shift) / blur) ** 2)
    taps /= taps.sum()
    return taps


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
