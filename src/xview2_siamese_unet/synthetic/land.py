"""How a place is laid out: its streets, its water, and what kind of settlement it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from xview2_siamese_unet.synthetic.canvas import Floats, smooth_noise, whole
from xview2_siamese_unet.synthetic.events import Water


@dataclass(frozen=True, slots=True)
class Setting:
    """A kind of settlement; lengths in pixels.

    Attributes:
        spacing: from one street to the next.
        lot: width of a lot along the street.
        half_length: range of half the length of a house, which lies along the street.
        half_width: range of half its width.
        occupancy: share of the lots with a house.
        flat: share of the houses with a flat roof.
        wings: share of the houses that are L-shaped.
        is_farmed: whether fields lie behind the houses.
        is_paved: whether streets have lanes and pavements.
    """

    spacing: float
    lot: float
    half_length: tuple[float, float]
    half_width: tuple[float, float]
    occupancy: float
    flat: float
    wings: float
    is_farmed: bool = False
    is_paved: bool = True


SETTINGS: Final = (
    Setting(118, 46, (11, 18), (8.0, 10.5), 0.84, 0.05, 0.45),
    Setting(100, 40, (9, 15), (7.0, 10.0), 0.76, 0.30, 0.15, is_paved=True),
    Setting(190, 54, (10, 17), (7.5, 10.5), 0.88, 0.10, 0.40, is_farmed=True, is_paved=False),
    Setting(118, 46, (11, 18), (8.0, 10.5), 0.84, 0.05, 0.45),
    Setting(150, 70, (17, 26), (12.0, 18.0), 0.88, 0.80, 0.30),
)


@dataclass(frozen=True, slots=True)
class Streets:
    """Parallel streets that bend together, and cross streets between them.

    `s` runs along a street and `t` across; streets lie at multiples of `spacing` in `t`, cross streets at multiples of
    `block` in `s`.
    """

    angle: float
    shift: tuple[float, float]
    bend: float
    wave: float
    phase: float
    spacing: float
    block: float
    half_width: float

    def along(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return (s, t) of positions in the image."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        s = x * cos + y * sin + self.shift[0]
        return s, y * cos - x * sin + self.shift[1] + self.bend * self._sway(s)

    def position(self, s: float, t: float) -> tuple[float, float, float]:
        """Return x, y and the heading of the street at (s, t); the inverse of `along`."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        u, v = s - self.shift[0], t - self.shift[1] - self.bend * np.sin(s * self.wave + self.phase)
        heading = self.angle - np.arctan(self.bend * self.wave * np.cos(s * self.wave + self.phase))
        return float(u * cos - v * sin), float(u * sin + v * cos), float(heading)

    def _sway(self, s: Floats) -> Floats:
        sway: Floats = np.sin(s * self.wave + self.phase)
        return sway


@dataclass(frozen=True, slots=True)
class Land:
    """The layout of one place; `wet`, (size, size), is about the distance from the shore in px, above 0 in water."""

    setting: Setting
    streets: Streets
    water: Water
    wet: Floats

    def is_dry(self, x: float, y: float, margin: float) -> bool:
        """Return whether the land goes on for `margin` px around a position."""
        edge = len(self.wet) - 1
        return bool(self.wet[min(max(int(y), 0), edge), min(max(int(x), 0), edge)] < -margin)


def nearest(value: Floats, period: float) -> Floats:
    """Return the distance to the nearest multiple of `period`."""
    distance: Floats = np.abs(value - period * np.round(value / period))
    return distance


def lay_out(rng: np.random.Generator, size: int, waters: tuple[Water, ...]) -> Land:
    """Return a layout drawn from the settings of this module and the waters of an event."""
    setting = SETTINGS[rng.integers(len(SETTINGS))]
    streets = Streets(
        angle=float(rng.uniform(0, np.pi)),
        shift=(float(rng.uniform(0, 1000)), float(rng.uniform(0, 1000))),
        bend=float(rng.uniform(4, 24)),
        wave=float(rng.uniform(0.006, 0.012)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        spacing=setting.spacing,
        block=setting.lot * float(rng.integers(5, 8)),
        half_width=float(rng.uniform(5.0, 6.5)) if setting.is_paved else float(rng.uniform(3.5, 5.0)),
    )
    water = waters[rng.integers(len(waters))]
    return Land(setting, streets, water, _wet(rng, size, water))


def _wet(rng: np.random.Generator, size: int, water: Water) -> Floats:
    if water == "none":
        return np.full((size, size), -1000, np.float32)
    angle, wave, phase = rng.uniform(0, 2 * np.pi), rng.uniform(0.008, 0.016), rng.uniform(0, 2 * np.pi)
    reach = rng.uniform(0.12, 0.30) * size
    x, y = whole(size)
    x, y = x - (size / 2), y - (size / 2)
    cos, sin = math.cos(angle), math.sin(angle)
    u, v = x * cos + y * sin, y * cos - x * sin
    ripple = 4 * smooth_noise(rng, size, 40.0) + smooth_noise(rng, size, 9.0)
    if water == "river":
        half = rng.uniform(10, 18)
        return np.asarray(half - np.abs(v - reach + 22 * np.sin(u * wave + phase)) + ripple, np.float32)
    if water == "coast":
        return np.asarray(v - reach + 14 * np.sin(u * wave + phase) + ripple, np.float32)
    pond = rng.uniform(26, 40) - np.hypot(u - reach, 1.5 * (v - reach * 0.5))
    return np.asarray(pond + 1.5 * ripple, np.float32)
