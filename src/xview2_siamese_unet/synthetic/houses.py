"""Where houses stand along the streets, what each is like, and its roof: form, tiles, ridges and boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xview2_siamese_unet.synthetic.canvas import Canvas, Floats, Frame, Rgb, blend, box, cover
from xview2_siamese_unet.synthetic.land import Land, Setting

Roof = Literal["gable", "hip", "flat"]


@dataclass(frozen=True, slots=True)
class House:
    """One building; `u` runs along its length and `v` across, lengths in pixels.

    Attributes:
        x: centre.
        y: centre.
        angle: of its length, in radians from the x axis towards the y axis.
        half_length: half its length.
        half_width: half its width.
        wing: how far its wing reaches behind it; 0 where it has none.
        side: +1 or -1, the end of the house at which the wing stands.
        front: +1 or -1, the direction of `v` in which the street lies.
        street: from the centre to the middle of the street.
        roof: its form.
        eaves: height of its walls.
        pitch: slope of the roof.
        rgb: colour of the roof.
        seed: entropy of its details, the same on both dates.
    """

    x: float
    y: float
    angle: float
    half_length: float
    half_width: float
    wing: float
    side: int
    front: int
    street: float
    roof: Roof
    eaves: float
    pitch: float
    rgb: Rgb
    seed: int

    @property
    def reach(self) -> float:
        """From the centre to its farthest corner."""
        return float(np.hypot(self.half_length, self.half_width + self.wing))

    @property
    def wing_half(self) -> float:
        """Half the width of the wing."""
        return min(0.55 * self.half_length, self.half_width)

    def outline(self) -> NDArray[np.float64]:
        """Return the closed outline in pixels of the image, (5, 2) or with a wing (7, 2)."""
        a, b = self.half_length, self.half_width
        ring = [(-a, b), (a, b), (a, -b), (-a, -b)]
        if self.wing:
            inner = a - 2 * self.wing_half
            ring = [(-a, b), (a, b), (a, -b - self.wing), (inner, -b - self.wing), (inner, -b), (-a, -b)]
        corners = np.array([*ring, ring[0]]) * (self.side, self.front)
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        ring_xy: NDArray[np.float64] = corners @ np.array([[cos, sin], [-sin, cos]]) + (self.x, self.y)
        return ring_xy


def build_houses(rng: np.random.Generator, land: Land, roofs: tuple[Rgb, ...]) -> list[House]:
    """Return the houses of a place: two rows to a street, none in the water or on a crossing."""
    setting, streets, size = land.setting, land.streets, len(land.wet)
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float32)
    s, t = streets.along(corners[:, 0], corners[:, 1])
    lots = range(int(s.min() // setting.lot), int(s.max() // setting.lot) + 1)
    margin = streets.bend + streets.spacing
    rows = range(int((t.min() - margin) // streets.spacing), int((t.max() + margin) // streets.spacing) + 1)
    houses = [_house(rng, land, row, side, lot, roofs) for row in rows for side in (-1, 1) for lot in lots]
    return [house for house in houses if house is not None]


def _house(rng: np.random.Generator, land: Land, row: int, side: int, lot: int, roofs: tuple[Rgb, ...]) -> House | None:
    setting, streets = land.setting, land.streets
    a, b, back = rng.uniform(*setting.half_length), rng.uniform(*setting.half_width), rng.uniform(9, 13)
    has_wing = rng.random() < setting.wings
    wing = rng.uniform(5, max(6, setting.spacing / 2 - 2 * b - back - streets.half_width - 3)) if has_wing else 0.0
    along = (lot + 0.5) * setting.lot + rng.uniform(-0.5, 0.5) * max(setting.lot - 2 * a - 5, 0)
    street = streets.half_width + back + b
    x, y, heading = streets.position(along, row * streets.spacing + side * street)
    house = House(
        x, y, heading + rng.normal(0, 0.03), a, b, min(wing, 14.0), int(rng.choice((-1, 1))), -side, street,
        *_roof(rng, setting, b), _tone(rng, roofs), int(rng.integers(2**32)),
    )  # fmt: skip
    beside = abs(along - streets.block * round(along / streets.block)) > a + streets.half_width + 3
    near = -house.reach < x < len(land.wet) + house.reach and -house.reach < y < len(land.wet) + house.reach
    stands = rng.random() < setting.occupancy and beside and near and land.is_dry(x, y, house.reach + 3)
    return house if stands else None


def _roof(rng: np.random.Generator, setting: Setting, half_width: float) -> tuple[Roof, float, float]:
    if rng.random() < setting.flat:
        return "flat", float(rng.uniform(7, 10)), 0.0
    form: Roof = "hip" if rng.random() < 0.45 else "gable"
    return form, float(rng.uniform(5, 7)), float(rng.uniform(0.30, 0.50) * min(1, 11 / half_width))


def _tone(rng: np.random.Generator, roofs: tuple[Rgb, ...]) -> Rgb:
    red, green, blue = np.clip(
        np.array(roofs[rng.integers(len(roofs))]) * rng.uniform(0.85, 1.12) + rng.normal(0, 0.012, 3), 0.05, 0.9
    )
    return float(red), float(green), float(blue)


def edge_of(house: House, frame: Frame) -> Floats:
    """Return the distance from the outline of a house in pixels, negative inside."""
    edge = box(frame.u, frame.v, house.half_length, house.half_width)
    return np.minimum(edge, _wing(house, frame)) if house.wing else edge


def draw_roof(canvas: Canvas, house: House, frame: Frame) -> None:
    """Draw the intact roof of a house."""
    rng = np.random.default_rng([house.seed, 2])
    alpha = cover(edge_of(house, frame))
    height, ridge = _form(house, frame)
    grain, clump = canvas.grain[frame.cut], canvas.clump[frame.cut]
    courses = np.sin(frame.v * (2 * np.pi / rng.uniform(2.6, 4.0))) if house.roof != "flat" else grain
    tone = 1 + 0.035 * courses + rng.uniform(0.02, 0.06) * clump + 0.25 * cover(ridge)
    blend(canvas.rgb[frame.cut], alpha, np.asarray(house.rgb, np.float32) * tone[..., None])
    blend(canvas.height[frame.cut], alpha, height + 0.12 * grain)
    _furnish(canvas, house, frame, rng)


def _wing(house: House, frame: Frame) -> Floats:
    u = frame.u - (house.side * (house.half_length - house.wing_half))
    v = frame.v + (house.front * house.wing / 2)
    return box(u, v, house.wing_half, house.half_width + house.wing / 2)


def _form(house: House, frame: Frame) -> tuple[Floats, Floats]:
    """Return the height of the roof, and the distance from its ridges."""
    across = house.half_width - np.abs(frame.v)
    if house.roof == "flat":
        parapet = cover(np.abs(edge_of(house, frame) + 1.0) - 0.4)
        return house.eaves + parapet * 1.2, np.full_like(across, 9)
    slope, ridge = across, np.abs(frame.v)
    if house.roof == "hip":
        slope = np.minimum(across, house.half_length - np.abs(frame.u))
        ridge = np.abs(across - slope) + np.where(slope < across, 9, 0) + ridge
    if house.wing:
        middle = np.abs(frame.u - (house.side * (house.half_length - house.wing_half)))
        side = np.where(_wing(house, frame) < 1, house.wing_half - middle, -9)
        slope, ridge = np.maximum(slope, side), np.where(side > slope, middle, ridge)
    return house.eaves + house.pitch * slope, ridge


def _furnish(canvas: Canvas, house: House, frame: Frame, rng: np.random.Generator) -> None:
    """Add what stands on roofs on both dates alike: vents, machines, solar panels."""
    a, b = house.half_length, house.half_width
    for _ in range(int(rng.integers(2, 6)) if house.roof == "flat" else int(rng.integers(0, 3))):
        u, v = frame.u - (rng.uniform(-0.7, 0.7) * a), frame.v - (rng.uniform(-0.6, 0.6) * b)
        half = rng.uniform(0.8, 1.3)
        spot = cover(box(u, v, half * (1.8 if house.roof == "flat" else 1.0), half))
        grey = float(rng.uniform(0.35, 0.75))
        blend(canvas.rgb[frame.cut], spot, (grey, grey, grey))
        canvas.height[frame.cut] += spot * 1.8
    if rng.random() < 0.12 and b > 7:
        u, v = frame.u - (rng.uniform(-0.4, 0.4) * a), frame.v - (house.side * 0.5 * b)
        panel = cover(box(u, v, 0.45 * a, 0.28 * b))
        lines = 1 + 0.5 * cover(np.abs(np.mod(u, 3) - 1.5) - 0.1)
        blend(canvas.rgb[frame.cut], panel, np.array([0.13, 0.17, 0.30], np.float32) * lines[..., None])
