"""Roofs: their form as a height, and the tiles, ridges and boxes on them."""

from __future__ import annotations

import numpy as np

from xview2_siamese_unet.xbd.sample.canvas import Canvas, Floats, Frame, blend, box, cover
from xview2_siamese_unet.xbd.sample.houses import House


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
