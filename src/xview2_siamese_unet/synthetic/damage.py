"""Where a disaster strikes, and what each class of damage looks like: patched roofs, collapsed roofs, rubble.

A class shows in texture and shape over several pixels. Colours are shared: rubble takes some of the colour of its roof,
what remains of a roof keeps its colour, and fittings of intact roofs have the colours of damage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.synthetic.canvas import Canvas, Floats, blend, box, coverage, smoothstep
from xview2_siamese_unet.synthetic.drawing import draw_roof, edge_of
from xview2_siamese_unet.synthetic.events import Hazard, Shares
from xview2_siamese_unet.synthetic.layout import House


@dataclass(frozen=True, slots=True)
class Force:
    """The force of a disaster over one scene: a track that fades to both sides, or a front that came from one side."""

    x: float
    y: float
    angle: float
    width: float
    wave: float
    is_front: bool

    @classmethod
    def random(cls, rng: np.random.Generator, size: int, *, is_front: bool) -> Force:
        """Return a force whose track or front crosses the middle half of the scene."""
        x, y = (rng.uniform(0.25, 0.75, 2) * size).tolist()
        width, wave = rng.uniform(0.35, 0.55) * size, rng.uniform(4, 9) / size
        return cls(x, y, rng.uniform(0, 2 * math.pi), width, wave, is_front)

    def at(self, x: Floats, y: Floats) -> Floats:
        """Return the force at positions in pixels, from 0 to 1."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        dx, dy = x - self.x, y - self.y
        distance = (dy * cos - dx * sin) / self.width + 0.25 * np.sin((dx * cos + dy * sin) * self.wave)
        force: Floats = 1 / (1 + np.exp(-4 * distance)) if self.is_front else np.exp(-(distance**2))
        return force


def assign_damage(
    rng: np.random.Generator, force: Force, houses: list[House], shares: Shares
) -> tuple[list[Damage], float]:
    """Return the damage of each house, and the force above which buildings are damaged (over 1: nowhere).

    Houses are ranked by force and luck and then divided in the given shares, so that a scene holds the classes that it
    is meant to hold; the rounding is random, so that the shares hold over many scenes.
    """
    strength = force.at(np.array([h.x for h in houses]), np.array([h.y for h in houses]))
    rank = np.argsort(np.argsort(strength + rng.normal(0, 0.12, len(houses)), kind="stable"))
    steps = np.floor(np.cumsum(shares)[:3] * len(houses) + rng.random())
    classes = np.searchsorted(steps, rank, side="right")
    spared = strength[classes == 0]
    onset = 1.2 if not classes.any() else float(np.quantile(spared, 0.85)) if spared.size else 0.2
    return [SCORED[k] for k in classes], onset


def draw_debris(canvas: Canvas, house: House, damage: Damage, hazard: Hazard) -> None:
    """Draw what lies on the ground around a house; for all houses before any roof, so that it lies on none."""
    rng = house.rng(2)
    part = canvas.around(house.x, house.y, house.angle, house.reach + 16)
    edge = edge_of(house, part)
    if damage is Damage.NO_DAMAGE:
        return
    lies = smoothstep(-edge - 3 * part.clump, -14, -7) * hazard.spread
    if damage is Damage.MINOR_DAMAGE:  # at one side only
        turn = rng.uniform(0, 2 * math.pi)
        lies *= smoothstep(part.u * math.cos(turn) + part.v * math.sin(turn), 0, 6)
    spread_cover(part, lies, hazard)
    if damage is not Damage.MINOR_DAMAGE:
        reach, density = (5.0, 0.45) if damage is Damage.MAJOR_DAMAGE else (8.0, 0.75)
        colour, rise = _rubble(part, house, hazard, rng)
        near = np.exp(-np.maximum(edge, 0) / reach) * density * (1 + 0.6 * part.clump)
        pieces = smoothstep(near - rise / 2.6, -0.02, 0.05) * (part.grain > -0.6)
        blend(part.rgb, pieces, colour)
        part.height[...] += pieces * rise * 0.5


def draw_damaged(canvas: Canvas, house: House, damage: Damage, hazard: Hazard) -> None:
    """Draw a house as the disaster left it."""
    part = canvas.around(house.x, house.y, house.angle, house.reach + 2)
    if damage is not Damage.DESTROYED:
        draw_roof(part, house)
    if damage in _DAMAGED:
        _DAMAGED[damage](part, house, hazard, house.rng(3))


def spread_cover(target: Canvas, alpha: Floats, hazard: Hazard) -> None:
    """Cover the ground with what a disaster brings; a liquid lies flat, anything else keeps the texture below."""
    tone = 1 + (0.02 if hazard.is_liquid else 0.16) * target.clump
    blend(target.rgb, alpha, np.array(hazard.cover, np.float32) * tone[..., None])
    if hazard.is_liquid:
        target.height[...] *= 1 - 0.8 * alpha


def _draw_minor(part: Canvas, house: House, hazard: Hazard, rng: np.random.Generator) -> None:
    """Draw patches where the cover of the roof is gone or repaired."""
    inside = coverage(edge_of(house, part) + 0.7)
    for _ in range(rng.integers(2, 4)):
        u = part.u - rng.uniform(-0.65, 0.65) * house.half_length
        v = part.v - float(rng.choice((-0.5, 0.5))) * house.half_width
        half = rng.uniform(0.20, 0.34) * house.half_length, rng.uniform(0.30, 0.46) * house.half_width
        patch = coverage(box(u, v, *half) + rng.uniform(0.2, 1.3) * part.clump) * inside
        colour = np.array(hazard.patches[rng.integers(len(hazard.patches))], np.float32) * rng.uniform(0.85, 1.15)
        battens = 1 + 0.10 * np.sin(u * 1.9) + 0.06 * part.clump
        blend(part.rgb, patch, colour * battens[..., None])


def _draw_major(part: Canvas, house: House, hazard: Hazard, rng: np.random.Generator) -> None:
    """Let about half of the roof fall in: dark rooms, bare rafters, a ragged edge."""
    turn = rng.uniform(0, 2 * math.pi)
    u, v = part.u / house.half_length, part.v / house.half_width
    depth = u * math.cos(turn) + v * math.sin(turn) + 0.30 * part.clump - rng.uniform(-0.15, 0.12)
    inside = coverage(edge_of(house, part) + 0.8)
    fallen = smoothstep(depth, 0, 0.12) * inside
    rubble, rise = _rubble(part, house, hazard, rng)
    rooms = np.array([0.12, 0.105, 0.095], np.float32) + 0.42 * rubble * smoothstep(rise, 0.8, 1.4)[..., None]
    blend(part.rgb, fallen, rooms)
    blend(part.height, fallen, 1 + rise)
    rafters = coverage(np.abs(np.mod(part.u, 5) - 2.5) - 0.2) * (part.clump > -0.3)
    blend(part.rgb, rafters * fallen * 0.7, (0.66, 0.57, 0.45))
    blend(part.rgb, smoothstep(0.10 - np.abs(depth), 0, 0.06) * inside * 0.7, (0.78, 0.72, 0.62))


def _draw_destroyed(part: Canvas, house: House, hazard: Hazard, rng: np.random.Generator) -> None:
    """Draw a slab under rubble whose edge hardly shows."""
    inside = coverage(edge_of(house, part) + 0.8 + 0.9 * part.clump)
    slab = np.array([1.0, 0.96, 0.90], np.float32) * rng.uniform(0.42, 0.66) * (1 + 0.06 * part.clump)[..., None]
    blend(part.rgb, inside * 0.8, slab)
    rubble, rise = _rubble(part, house, hazard, rng)
    heaps = inside * smoothstep(part.clump + rng.uniform(0.4, 0.9), -0.1, 0.2)
    blend(part.rgb, heaps, rubble)
    blend(part.height, inside, heaps * rise)


_DAMAGED: Final[dict[Damage, Callable[[Canvas, House, Hazard, np.random.Generator], None]]] = {
    Damage.MINOR_DAMAGE: _draw_minor,
    Damage.MAJOR_DAMAGE: _draw_major,
    Damage.DESTROYED: _draw_destroyed,
}


def _rubble(part: Canvas, house: House, hazard: Hazard, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return colour and height of pieces of about 2 by 4 px."""
    turn, bend = rng.uniform(0.3, 1.2), 1.6 * part.clump
    cos, sin = math.cos(turn), math.sin(turn)
    column = np.floor((part.u * cos + part.v * sin + bend) / 4.2).astype(int)
    row = np.floor((part.v * cos - part.u * sin - bend) / 2.3).astype(int)
    piece = (column * 73 + row * 151) % 128
    palette = np.array([*hazard.debris, *hazard.debris, house.rgb, house.rgb], np.float32)
    colours = palette[rng.integers(len(palette), size=128)] * rng.uniform(0.65, 1.25, (128, 1)).astype(np.float32)
    return colours[piece], rng.uniform(0, 2.6, 128).astype(np.float32)[piece]
