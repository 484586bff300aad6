"""Undamaged parts of a scene: ground, streets, cars, intact roofs and trees."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from xview2_siamese_unet.synthetic.canvas import (
    Canvas,
    Floats,
    Rgb,
    blend,
    box,
    coverage,
    noise,
    smoothstep,
)
from xview2_siamese_unet.synthetic.events import Climate
from xview2_siamese_unet.synthetic.layout import House, Streets, nearest

_CAR_PAINTS: tuple[Rgb, ...] = ((0.85,) * 3, (0.12,) * 3, (0.56,) * 3, (0.50, 0.12, 0.10), (0.15, 0.22, 0.40))


def draw_ground(rng: np.random.Generator, streets: Streets, climate: Climate, size: int) -> Canvas:
    """Return the canvas of a scene with nothing but its ground."""
    canvas = Canvas.blank(rng, size)
    s, t = streets.along(canvas.u, canvas.v)
    lot, depth = streets.lot, streets.spacing / 2
    broad = noise(rng, size, 28.0, 4)
    canvas.rgb[:] = climate.grass
    blend(canvas.rgb, smoothstep(broad, 0.1, 1.3) * 0.8, climate.soil)
    # Every lot has a different tone, and a fence.
    parcel = (np.floor(s / lot) * 7 + np.floor(t / depth) * 13).astype(int) % 64
    tone = rng.normal(1, 0.07, 64).astype(np.float32)[parcel]
    canvas.rgb[:] *= (tone * (1 + 0.05 * broad + 0.045 * canvas.clump + 0.04 * canvas.grain))[..., None]
    blend(canvas.rgb, coverage(np.minimum(nearest(s, lot), nearest(t - depth, 2 * depth)) - 0.3) * 0.22, (0.2,) * 3)
    canvas.height[:] = 0.25 * canvas.grain
    _draw_streets(canvas, streets, climate)
    return canvas


def _draw_streets(canvas: Canvas, streets: Streets, climate: Climate) -> None:
    s, t = streets.along(canvas.u, canvas.v)
    along, across = nearest(t, streets.spacing), nearest(s, streets.block)
    edge = np.minimum(along, across) - streets.half_width
    paved = streets.is_paved
    blend(canvas.rgb, coverage(np.abs(edge - 3) - 0.6) * (0.6 if paved else 0.3), (0.60, 0.58, 0.54))
    surface = np.array((0.37, 0.37, 0.38) if paved else climate.soil, np.float32) * (1 + 0.04 * canvas.clump)[..., None]
    blend(canvas.rgb, coverage(edge), surface)
    canvas.height[:] *= 1 - 0.75 * coverage(edge)
    if paved:
        dashes = (np.mod(s, 16) < 8) & (across > streets.half_width) & (along < across)
        blend(canvas.rgb, coverage(along - 0.2) * dashes * 0.8, (0.82, 0.80, 0.70))


def draw_cars(rng: np.random.Generator, canvas: Canvas, streets: Streets) -> None:
    """Draw cars on the lanes, different ones in each image."""
    size, spacing = len(canvas.height), streets.spacing
    for _ in range(rng.poisson(size**2 / 8000)):
        s, t = streets.along(*rng.uniform(0, size, 2))
        lane = float(rng.choice((-0.55, 0.55))) * streets.half_width
        x, y = streets.position(float(s), spacing * round(float(t) / spacing) + lane)
        part = canvas.around(x, y, streets.angle, 7)
        body = coverage(box(part.u, part.v, 4.4, 1.9))
        blend(part.rgb, body, _CAR_PAINTS[rng.integers(len(_CAR_PAINTS))])
        blend(part.rgb, coverage(box(part.u - 1, part.v, 0.8, 1.5)) * 0.7, (0.10, 0.12, 0.14))
        blend(part.height, body, 2.6)


def draw_yard(canvas: Canvas, house: House) -> None:
    """Draw paved ground next to a house, in the greys of roofs."""
    rng = house.rng(0)
    part = canvas.around(house.x, house.y, house.angle, 2 * house.reach)
    for _ in range(2):
        u, v = part.u - rng.uniform(-1.2, 1.2) * house.half_length, part.v - rng.uniform(-1.5, 1.5) * house.half_width
        grey = rng.uniform(0.35, 0.75)
        blend(part.rgb, coverage(box(u, v, rng.uniform(3, 9), rng.uniform(3, 9))), (grey, 0.97 * grey, 0.92 * grey))


def edge_of(house: House, part: Canvas) -> Floats:
    """Return the distance from the outline of a house in pixels, negative inside."""
    return box(part.u, part.v, house.half_length, house.half_width)


def draw_roof(part: Canvas, house: House) -> None:
    """Draw the intact roof of a house: its form, its tiles, and what stands on it."""
    rng = house.rng(1)
    edge, across = edge_of(house, part), house.half_width - np.abs(part.v)
    if house.roof == "flat":
        height = rng.uniform(7, 10) + 1.2 * coverage(np.abs(edge + 1) - 0.4)  # with a parapet
        courses = part.grain
    else:
        slope = np.minimum(across, house.half_length - np.abs(part.u)) if house.roof == "hip" else across
        height = rng.uniform(5, 7) + rng.uniform(0.30, 0.50) * min(1, 11 / house.half_width) * slope
        courses = np.sin(part.v * (2 * math.pi / rng.uniform(2.6, 4.0)))
    tone = 1 + 0.035 * courses + rng.uniform(0.02, 0.06) * part.clump
    blend(part.rgb, coverage(edge), np.array(house.rgb, np.float32) * tone[..., None])
    blend(part.height, coverage(edge), height + 0.12 * part.grain)
    for _ in range(rng.integers(0, 3)):  # weathered parts, the same in both images
        u, v = part.u - rng.uniform(-0.6, 0.6) * house.half_length, part.v - rng.uniform(-0.6, 0.6) * house.half_width
        stain = coverage(np.hypot(u, v) - rng.uniform(2, 5) + 1.5 * part.clump) * coverage(edge)
        part.rgb[...] *= (1 + stain * rng.uniform(-0.35, 0.25))[..., None]
    _draw_fittings(part, house, rng)


def _draw_fittings(part: Canvas, house: House, rng: np.random.Generator) -> None:
    """Add vents, machines and solar panels: intact roofs, too, have small spots in the colours of damage."""
    a, b = house.half_length, house.half_width
    for _ in range(rng.integers(2, 6) if house.roof == "flat" else rng.integers(0, 3)):
        u, v = part.u - rng.uniform(-0.7, 0.7) * a, part.v - rng.uniform(-0.6, 0.6) * b
        spot = coverage(box(u, v, rng.uniform(0.8, 2.2), rng.uniform(0.8, 1.3)))
        blend(part.rgb, spot, (rng.uniform(0.35, 0.75),) * 3)
        part.height[...] += spot * 1.8
    if rng.random() < 0.12 and b > 7:
        u, v = part.u - rng.uniform(-0.4, 0.4) * a, np.abs(part.v) - 0.5 * b
        panels = coverage(box(u, v, 0.45 * a, 0.28 * b)) * (part.v < 0)
        struts = 1 + 0.5 * coverage(np.abs(np.mod(u, 3) - 1.5) - 0.1)
        blend(part.rgb, panels, np.array([0.13, 0.17, 0.30], np.float32) * struts[..., None])


def draw_trees(canvas: Canvas, trees: Floats, climate: Climate, charred: NDArray[np.bool_]) -> None:
    """Draw crowns, higher ones over lower ones; a charred tree is small, dark and bare."""
    for (x, y, radius, shade), is_charred in zip(trees.tolist(), charred.tolist(), strict=True):
        size = radius * (0.55 if is_charred else 1.0)
        part = canvas.around(x, y, 0.0, size + 1)
        inside = 1 - (part.u**2 + part.v**2) / size**2 + 0.22 * part.clump
        crown = 1.5 * radius * np.sqrt(np.maximum(inside, 0)) + 0.9 * part.grain
        shows = (inside > 0) & (crown > part.height)
        colour = np.array((0.13, 0.11, 0.10) if is_charred else climate.tree, np.float32) * shade
        part.rgb[shows] = (colour * (1 + 0.14 * part.grain)[..., None])[shows]
        part.height[shows] = crown[shows]
