"""Where a disaster struck, and what each class of damage looks like: shingles, tarpaulins, collapsed roofs, rubble.

A class shows in texture and shape over several pixels. Colours are shared: rubble takes some of the colour of the roof
it was, what remains of a roof keeps its colour, and boxes and panels on intact roofs have the colours of damage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.synthetic.canvas import Canvas, Floats, Frame, Rgb, blend, box, cover, ramp
from xview2_siamese_unet.synthetic.events import Hazard
from xview2_siamese_unet.synthetic.houses import House, draw_roof, edge_of
from xview2_siamese_unet.synthetic.plan import Shares


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


@dataclass(frozen=True, slots=True)
class Site:
    """A house on a canvas, and what struck it; `frame` reaches as far as it is to be drawn."""

    canvas: Canvas
    frame: Frame
    house: House
    hazard: Hazard

    @property
    def edge(self) -> Floats:
        """Distance from the outline in pixels, negative inside."""
        return edge_of(self.house, self.frame)

    @property
    def clump(self) -> Floats:
        """Noise of about 7 px."""
        return self.canvas.clump[self.frame.cut]

    def paint(self, alpha: Floats, rgb: Floats | Rgb) -> None:
        """Move the colour towards `rgb`."""
        blend(self.canvas.rgb[self.frame.cut], alpha, rgb)

    def raise_to(self, alpha: Floats, height: Floats) -> None:
        """Move the height towards `height`."""
        blend(self.canvas.height[self.frame.cut], alpha, height)


def draw_around(site: Site, damage: Damage) -> None:
    """Draw what lies on the ground around a house; before any house, so that it never lies on a roof next door."""
    rng = np.random.default_rng([site.house.seed, 4])
    if damage is Damage.MINOR_DAMAGE:
        _surround(site, rng.uniform(0, 2 * np.pi))
    if damage in (Damage.MAJOR_DAMAGE, Damage.DESTROYED):
        _surround(site)
        reach, density = (5.0, 0.45) if damage is Damage.MAJOR_DAMAGE else (8.0, 0.75)
        _scatter(site, rng, reach, density)


def draw_damaged(site: Site, damage: Damage) -> None:
    """Draw a house as the disaster left it."""
    _STROKES[damage](site, np.random.default_rng([site.house.seed, 3]))


def spread_over(canvas: Canvas, cut: tuple[slice, slice], alpha: Floats, hazard: Hazard) -> None:
    """Cover the ground with what a disaster brings; a liquid lies flat, anything else keeps the texture below."""
    tone = 1 + (0.02 if hazard.is_liquid else 0.16) * canvas.clump[cut]
    blend(canvas.rgb[cut], alpha, np.asarray(hazard.cover, np.float32) * tone[..., None])
    if hazard.is_liquid:
        canvas.height[cut] *= 1 - 0.8 * alpha


def _intact(site: Site, rng: np.random.Generator) -> None:
    draw_roof(site.canvas, site.house, site.frame)


def _minor(site: Site, rng: np.random.Generator) -> None:
    """Patches where shingles are gone or mended."""
    draw_roof(site.canvas, site.house, site.frame)
    frame, house, patches = site.frame, site.house, site.hazard.patches
    inside = cover(site.edge + 0.7)
    for _ in range(int(rng.integers(2, 4))):
        u = frame.u - (rng.uniform(-0.65, 0.65) * house.half_length)
        v = frame.v - float(rng.choice((-0.5, 0.5))) * house.half_width
        half = rng.uniform(0.20, 0.34) * house.half_length, rng.uniform(0.30, 0.46) * house.half_width
        patch = cover(box(u, v, *half) + rng.uniform(0.2, 1.3) * site.clump) * inside
        colour = np.array(patches[rng.integers(len(patches))], np.float32) * rng.uniform(0.85, 1.15)
        battens = 1 + 0.10 * np.sin(u * 1.9) + 0.06 * site.clump
        site.paint(patch, colour * battens[..., None])


def _major(site: Site, rng: np.random.Generator) -> None:
    """About half of the roof fallen in: dark rooms, bare rafters, a ragged edge."""
    draw_roof(site.canvas, site.house, site.frame)
    u, v = site.frame.u / site.house.half_length, site.frame.v / site.house.half_width
    turn, limit = rng.uniform(0, 2 * np.pi), rng.uniform(-0.15, 0.12)
    depth = u * math.cos(turn) + v * math.sin(turn) + 0.30 * site.clump - limit
    inside = cover(site.edge + 0.8)
    fallen = ramp(depth, 0, 0.12) * inside
    rubble, rise = _rubble(site, rng)
    rooms = np.array([0.12, 0.105, 0.095], np.float32) + 0.42 * rubble * ramp(rise, 0.8, 1.4)[..., None]
    site.paint(fallen, rooms)
    site.raise_to(fallen, 1 + rise)
    rafters = cover(np.abs(np.mod(site.frame.u, 5) - 2.5) - 0.2)
    site.paint(rafters * (site.clump > -0.3) * fallen * 0.7, (0.66, 0.57, 0.45))
    torn = ramp(0.10 - np.abs(depth), 0, 0.06) * inside
    site.paint(torn * 0.7, (0.78, 0.72, 0.62))


def _destroyed(site: Site, rng: np.random.Generator) -> None:
    """A slab under rubble whose edge hardly shows."""
    grey = rng.uniform(0.42, 0.66)
    slab = np.array([1.0, 0.96, 0.90], np.float32) * grey * (1 + 0.06 * site.clump)[..., None]
    inside = cover(site.edge + 0.8 + 0.9 * site.clump)
    site.paint(inside * 0.8, slab)
    rubble, rise = _rubble(site, rng)
    heaps = inside * ramp(site.clump + rng.uniform(0.4, 0.9), -0.1, 0.2)
    site.paint(heaps, rubble)
    site.raise_to(inside, heaps * rise)


def _rubble(site: Site, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return colour and height of pieces of about 2 by 4 px."""
    bend, turn = 1.6 * site.clump, rng.uniform(0.3, 1.2)
    cos, sin = math.cos(turn), math.sin(turn)
    u, v = site.frame.u, site.frame.v
    long = np.floor((u * cos + v * sin + bend) / 4.2).astype(np.int64)
    wide = np.floor((v * cos - u * sin - bend) / 2.3).astype(np.int64)
    piece = (long * 73 + wide * 151) % 128
    palette = np.array([*site.hazard.debris, *site.hazard.debris, site.house.rgb, site.house.rgb], np.float32)
    colours = palette[rng.integers(len(palette), size=128)] * rng.uniform(0.65, 1.25, (128, 1)).astype(np.float32)
    return colours[piece], rng.uniform(0, 2.6, 128).astype(np.float32)[piece]


def _scatter(site: Site, rng: np.random.Generator, reach: float, density: float) -> None:
    """Throw pieces around a house, fewer the farther away."""
    near = np.exp(-np.maximum(site.edge, 0) / reach) * density
    rubble, rise = _rubble(site, rng)
    lies = ramp(near * (1 + 0.6 * site.clump) - rise / 2.6, -0.02, 0.05)
    lies = lies * (site.canvas.grain[site.frame.cut] > -0.6)
    site.paint(lies, rubble)
    site.canvas.height[site.frame.cut] += lies * rise * 0.5


def _surround(site: Site, turn: float | None = None) -> None:
    """Spread what the disaster brought, such as water or soot, around a house or at the side that lies at `turn`."""
    lies = ramp(-site.edge - 3 * site.clump, -14, -7) * site.hazard.spread
    if turn is not None:
        lies *= ramp(site.frame.u * math.cos(turn) + site.frame.v * math.sin(turn), 0, 6)
    spread_over(site.canvas, site.frame.cut, lies, site.hazard)


_STROKES: Final[dict[Damage, Callable[[Site, np.random.Generator], None]]] = {
    Damage.NO_DAMAGE: _intact,
    Damage.MINOR_DAMAGE: _minor,
    Damage.MAJOR_DAMAGE: _major,
    Damage.DESTROYED: _destroyed,
}
