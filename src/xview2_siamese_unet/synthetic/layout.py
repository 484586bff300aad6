"""Layout of a scene: streets, houses along them, and trees. All lengths are in pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from xview2_siamese_unet.synthetic.canvas import Floats, Rgb, noise

Roof = Literal["gable", "hip", "flat"]
_TREE_SPACING: Final = 12.0


@dataclass(frozen=True, slots=True)
class Streets:
    """Parallel streets with lots on either side, and cross streets: `s` runs along the streets and `t` across.

    Attributes:
        angle: of the streets, in radians from the x axis towards the y axis.
        shift: (s, t) of the origin of the image.
        lot: width of a lot along the street.
        spacing: from one street to the next, in `t`.
        block: from one cross street to the next, in `s`.
        half_width: of a street.
        flat: share of the houses with a flat roof.
        is_paved: whether streets have lanes and pavements.
    """

    angle: float
    shift: tuple[float, float]
    lot: float
    spacing: float
    block: float
    half_width: float
    flat: float
    is_paved: bool

    @classmethod
    def random(cls, rng: np.random.Generator) -> Streets:
        """Return the streets of one of four kinds of settlement: suburb, old town, village, industrial area."""
        kinds = (
            (46.0, 118.0, 0.05, True),
            (40.0, 100.0, 0.30, True),
            (54.0, 160.0, 0.10, False),
            (68.0, 150.0, 0.80, True),
        )
        lot, spacing, flat, is_paved = kinds[rng.integers(len(kinds))]
        shift, block = (rng.uniform(0, 1000), rng.uniform(0, 1000)), lot * float(rng.integers(5, 8))
        half_width = rng.uniform(5.0, 6.5) if is_paved else rng.uniform(3.5, 5.0)
        return cls(rng.uniform(0, math.pi), shift, lot, spacing, block, half_width, flat, is_paved)

    def along(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return (s, t) of positions in the image."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return x * cos + y * sin + self.shift[0], y * cos - x * sin + self.shift[1]

    def position(self, s: float, t: float) -> tuple[float, float]:
        """Return (x, y) of a position along the streets; the inverse of `along`."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        s, t = s - self.shift[0], t - self.shift[1]
        return s * cos - t * sin, s * sin + t * cos


@dataclass(frozen=True, slots=True)
class House:
    """One building with a rectangular outline.

    Attributes:
        x: centre.
        y: centre.
        angle: of its length, in radians from the x axis towards the y axis.
        half_length: half its length.
        half_width: half its width.
        roof: its form.
        rgb: colour of the roof.
        seed: entropy of its details, the same in both images.
    """

    x: float
    y: float
    angle: float
    half_length: float
    half_width: float
    roof: Roof
    rgb: Rgb
    seed: int

    @property
    def reach(self) -> float:
        """From the centre to a corner."""
        return math.hypot(self.half_length, self.half_width)

    def rng(self, topic: int) -> np.random.Generator:
        """Return the generator of some of its details."""
        return np.random.default_rng([self.seed, topic])

    def outline(self) -> NDArray[np.float64]:
        """Return the closed outline in pixels of the image, (5, 2)."""
        corners = np.array([(-1, 1), (1, 1), (1, -1), (-1, -1), (-1, 1)]) * (self.half_length, self.half_width)
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        outline: NDArray[np.float64] = corners @ np.array([[cos, sin], [-sin, cos]]) + (self.x, self.y)
        return outline


def nearest(value: Floats, period: float) -> Floats:
    """Return the distance to the nearest multiple of `period`."""
    distance: Floats = np.abs(value - period * np.round(value / period))
    return distance


def build_houses(rng: np.random.Generator, streets: Streets, size: int, roofs: tuple[Rgb, ...]) -> list[House]:
    """Return the houses of a scene: a row on either side of each street, none on a crossing."""
    s, t = streets.along(np.array([0.0, size, 0, size]), np.array([0.0, 0, size, size]))
    lots = range(int(s.min() // streets.lot), int(s.max() // streets.lot) + 1)
    rows = range(int(t.min() // streets.spacing) - 1, int(t.max() // streets.spacing) + 2)
    houses = (_house(rng, streets, row, side, lot, roofs) for row in rows for side in (-1, 1) for lot in lots)
    near = size / 2
    return [h for h in houses if h is not None and max(abs(h.x - near), abs(h.y - near)) < near + h.reach]


def _house(
    rng: np.random.Generator, streets: Streets, row: int, side: int, lot: int, roofs: tuple[Rgb, ...]
) -> House | None:
    """Return the house on a lot at one side of a street, `None` for a lot that is empty or on a crossing."""
    half_length, half_width = rng.uniform(0.19, 0.32) * streets.lot, rng.uniform(0.14, 0.21) * streets.lot
    s = (lot + 0.5) * streets.lot + rng.uniform(-0.5, 0.5) * max(streets.lot - 2 * half_length - 5, 0)
    t = row * streets.spacing + side * (streets.half_width + rng.uniform(9, 13) + half_width)
    roof: Roof = "flat" if rng.random() < streets.flat else "hip" if rng.random() < 0.45 else "gable"
    rgb = np.array(roofs[rng.integers(len(roofs))]) * rng.uniform(0.85, 1.12) + rng.normal(0, 0.012, 3)
    red, green, blue = rgb.clip(0.05, 0.9).tolist()
    angle, seed = streets.angle + rng.normal(0, 0.03), int(rng.integers(2**32))
    is_built = rng.random() < 0.70
    is_clear = nearest(np.array(s), streets.block) > half_length + streets.half_width + 3
    house = House(*streets.position(s, t), angle, half_length, half_width, roof, (red, green, blue), seed)
    return house if is_built and is_clear else None


def plant_trees(rng: np.random.Generator, streets: Streets, size: int, houses: list[House]) -> Floats:
    """Return trees as rows of x, y, radius and shade: in woods and gardens, some over a corner of a roof."""
    count = int(size / _TREE_SPACING) + 2
    x, y = (
        _TREE_SPACING * (axis + rng.uniform(-0.9, 0.9, (count, count))).ravel() for axis in np.indices((count,) * 2)
    )
    radius = rng.gamma(6.0, 0.75, len(x)).clip(2.4, 9.0)
    s, t = streets.along(x, y)
    road = np.minimum(nearest(t, streets.spacing), nearest(s, streets.block)) - streets.half_width
    woods = noise(rng, size, 26.0, 3)[y.astype(int).clip(0, size - 1), x.astype(int).clip(0, size - 1)]
    grows = (rng.random(len(x)) < np.where(woods > 1.0, 0.85, 0.14)) & (road > 2 + 0.5 * radius)
    for house in houses:
        grows &= np.hypot(x - house.x, y - house.y) > 0.8 * house.reach + 0.5 * radius
    return np.column_stack([x, y, radius, rng.normal(1, 0.13, len(x))])[grows].astype(np.float32)
