"""Where a disaster struck hardest, and which building took how much of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.xbd.sample.canvas import Floats
from xview2_siamese_unet.xbd.sample.houses import House
from xview2_siamese_unet.xbd.sample.plan import Shares


@dataclass(frozen=True, slots=True)
class Harm:
    """The force of a disaster over one scene: a track that fades to both sides, or a front that came from one side."""

    x: float
    y: float
    angle: float
    width: float
    is_front: bool
    wave: float

    def at(self, x: Floats, y: Floats) -> Floats:
        """Return the force at positions in pixels, from 0 to 1."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        dx, dy = x - self.x, y - self.y
        along = (dx * cos + dy * sin) * self.wave
        distance = (dy * cos - dx * sin) / self.width + 0.25 * np.sin(along)
        force = 1 / (1 + np.exp(-4 * distance)) if self.is_front else np.exp(-distance * distance)
        return np.asarray(force, np.float32)


def strike(rng: np.random.Generator, size: int, is_front: bool) -> Harm:
    """Return a force whose track or front crosses the middle half of the scene."""
    x, y = rng.uniform(0.25, 0.75, 2) * size
    width = rng.uniform(0.35, 0.55) * size
    return Harm(
        float(x), float(y), float(rng.uniform(0, 2 * np.pi)), float(width), is_front, float(rng.uniform(4, 9)) / size
    )


def judge(rng: np.random.Generator, harm: Harm, houses: list[House], shares: Shares) -> tuple[list[Damage], float]:
    """Return the damage of each house, and the force from which on buildings are damaged (above 1: nowhere).

    Houses are ranked by force and luck and then divided in the given shares, so that a scene holds the classes it is
    meant to hold; the rounding is drawn, so that the shares hold over many scenes.
    """
    force = harm.at(np.array([h.x for h in houses], np.float32), np.array([h.y for h in houses], np.float32))
    rank = np.empty(len(houses), np.int64)
    rank[np.argsort(force + rng.normal(0, 0.12, len(houses)), kind="stable")] = np.arange(len(houses))
    steps = np.floor(np.cumsum(shares)[:3] * len(houses) + rng.random())
    classes = np.searchsorted(steps, rank, side="right")
    spared = force[classes == 0]
    onset = 1.2 if not classes.any() else float(np.quantile(spared, 0.85)) if spared.size else 0.2
    return [SCORED[k] for k in classes], onset
