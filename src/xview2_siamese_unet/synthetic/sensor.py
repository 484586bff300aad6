"""Sunlight, clouds and the camera: from colour and height to the bytes of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from xview2_siamese_unet.synthetic.canvas import Canvas, Floats, noise, pixel_centres, smoothstep
from xview2_siamese_unet.xbd.scenes import Phase

Bytes: TypeAlias = NDArray[np.uint8]
_SKY_LIGHT = np.array([0.35, 0.39, 0.46], np.float32)
_HAZE = np.array([0.62, 0.66, 0.70], np.float32)


@dataclass(frozen=True, slots=True)
class Shot:
    """How one image was taken.

    Attributes:
        sun_azimuth: in degrees from north, clockwise.
        sun_elevation: in degrees above the horizon.
        gain: of each colour.
        gamma: exponent of the tone curve.
        haze: its share of the light.
        blur: sigma of the point spread in pixels.
        noise: sigma of the sensor noise in grey levels.
        shift: x and y by which the image is off the true position, in pixels.
    """

    sun_azimuth: float
    sun_elevation: float
    gain: tuple[float, float, float]
    gamma: float
    haze: float
    blur: float
    noise: float
    shift: tuple[float, float]


def take_shot(rng: np.random.Generator, phase: Phase) -> Shot:
    """Return how an image is taken: the post-disaster one in other light and up to 1.5 px off."""
    wide = 1.0 if phase == "post" else 0.4
    brightness = np.clip(rng.normal(1.0, 0.12 * wide), 0.78, 1.2)
    red, green, blue = (brightness * np.clip(rng.normal(1, 0.03 * wide, 3), 0.94, 1.06)).tolist()
    turn, far = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 1.45) * (phase == "post")
    return Shot(
        sun_azimuth=rng.uniform(100, 250),
        sun_elevation=rng.uniform(38, 64),
        gain=(red, green, blue),
        gamma=1 + wide * rng.uniform(-0.14, 0.16),
        haze=wide * rng.uniform(0, 0.10),
        blur=rng.uniform(0.5, 0.8),
        noise=rng.uniform(1.5, 3.0),
        shift=(far * math.cos(turn), far * math.sin(turn)),
    )


def expose(rng: np.random.Generator, canvas: Canvas, shot: Shot) -> Floats:
    """Return the image in grey levels, (size, size, 3), not rounded yet."""
    image = canvas.rgb * _light(canvas.height, shot)
    for axis, shift in ((0, shot.shift[1]), (1, shot.shift[0])):
        # A Gaussian off its centre blurs and shifts at once.
        taps = np.exp(-0.5 * ((np.arange(-3, 4) + shift) / shot.blur) ** 2)
        image = ndimage.correlate1d(image, taps / taps.sum(), axis=axis, mode="nearest")
    image = np.clip(image, 0.004, 1) ** shot.gamma * np.array(shot.gain, np.float32)
    image += shot.haze * (_HAZE - image)
    return 255 * image + shot.noise * rng.standard_normal((*image.shape[:2], 1), np.float32)


def to_bytes(image: Floats, no_data: NDArray[np.bool_]) -> Bytes:
    """Return 8-bit RGB in which pure black means no data and nothing else."""
    return np.where(no_data[..., None], 0, np.clip(image, 1, 255)).astype(np.uint8)


def _light(height: Floats, shot: Shot) -> Floats:
    """Return the light on every pixel, (size, size, 3): 1 on open flat ground."""
    azimuth, slope = math.radians(shot.sun_azimuth), math.tan(math.radians(shot.sun_elevation))
    east, south = math.sin(azimuth), -math.cos(azimuth)
    down, across = (np.clip(gradient, -0.75, 0.75) for gradient in np.gradient(height))
    facing = (1 - (east * across + south * down) / slope) / np.sqrt(1 + across**2 + down**2)
    direct = np.clip(facing, 0, 1.6) * (1 - _shadow(height, east, south, slope))
    light: Floats = _SKY_LIGHT + (1 - _SKY_LIGHT) * direct[..., None]
    return light


def _shadow(height: Floats, east: float, south: float, slope: float) -> Floats:
    """Return how far every pixel is in the shadow of something nearer the sun, from 0 to 1."""
    size, steps = len(height), math.ceil(min(float(height.max()), 16.0) / slope)
    padded = np.pad(height, steps, mode="edge")
    ray = np.zeros_like(height)  # lowest height that the sun reaches
    for step in range(1, steps + 1):
        row, column = steps + round(step * south), steps + round(step * east)
        np.maximum(ray, padded[row : row + size, column : column + size] - step * slope, out=ray)
    shade: Floats = np.clip((ray - height) * 0.8, 0, 1)
    return shade


def past_border(rng: np.random.Generator, size: int) -> dict[Phase, NDArray[np.bool_]]:
    """Return the part of each image without data, (size, size): a wedge, larger in the post-disaster one."""
    x, y = (axis / size - 0.5 for axis in pixel_centres(size))
    turn, depth, more = rng.uniform(0, 2 * math.pi), rng.uniform(0.30, 0.42), rng.uniform(0.03, 0.08)
    wedge = x * math.cos(turn) + y * math.sin(turn)
    return {"pre": wedge > depth, "post": wedge > depth - more}


def cloud_opacity(rng: np.random.Generator, size: int) -> Floats:
    """Return the opacity of one cloud, (size, size), from 0 to 0.97."""
    x, y = pixel_centres(size)
    (left, top), radius = (rng.uniform(0.25, 0.75, 2) * size).tolist(), rng.uniform(0.11, 0.16) * size
    distance = np.hypot((x - left) / 1.4, y - top) / radius
    return smoothstep(0.28 * noise(rng, size, size / 16, 4) - distance, -1.35, -0.55) * 0.97
