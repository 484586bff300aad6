"""Trees: where they grow, and their crowns on either date."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xview2_siamese_unet.synthetic.canvas import Canvas, Floats, fractal_noise, frame_at
from xview2_siamese_unet.synthetic.events import Climate, Hazard
from xview2_siamese_unet.synthetic.houses import House
from xview2_siamese_unet.synthetic.land import Land, nearest

_STEP = 12.0


def plant(rng: np.random.Generator, land: Land, houses: list[House]) -> Floats:
    """Return the trees of a place as rows of x, y, radius and shade: woods, gardens, none on streets or in houses."""
    size = len(land.wet)
    count = int(size / _STEP) + 2
    x, y = (_STEP * (axis + rng.uniform(-0.9, 0.9, (count, count))) for axis in np.indices((count, count)))
    radius = rng.gamma(6.0, 0.75, (count, count)).clip(2.4, 9.0)
    trees = np.stack([x, y, radius, rng.normal(1, 0.13, (count, count))], -1).reshape(-1, 4).astype(np.float32)
    woods = fractal_noise(rng, size, 80.0, 3)
    column, row = (trees[:, k].astype(int).clip(0, size - 1) for k in (0, 1))
    density = np.where(woods[row, column] > 1.0, 0.85, 0.14)
    s, t = land.streets.along(trees[:, 0], trees[:, 1])
    road = np.minimum(nearest(t, land.streets.spacing), nearest(s, land.streets.block)) - land.streets.half_width
    if land.setting.is_farmed:
        density *= np.where(nearest(t, land.streets.spacing) > 46, 0.2, 1.0)
    grows = (rng.random(len(trees)) < density) & (land.wet[row, column] < -8) & (road > 2 + 0.5 * trees[:, 2])
    planted: Floats = trees[grows & _clear_of(houses, trees)]
    return planted


def draw_trees(canvas: Canvas, trees: Floats, climate: Climate, charred: NDArray[np.bool_]) -> None:
    """Draw crowns, the higher over the lower; a charred tree is small, dark and bare."""
    for (x, y, radius, shade), is_charred in zip(trees.tolist(), charred.tolist(), strict=True):
        size = radius * (0.55 if is_charred else 1.0)
        frame = frame_at(canvas.size, x, y, 0.0, size + 1)
        if frame is None:
            continue
        clump, grain = canvas.clump[frame.cut], canvas.grain[frame.cut]
        inside = 1 - (frame.u * frame.u + frame.v * frame.v) / (size * size) + 0.22 * clump
        crown = (1.5 * radius) * np.sqrt(np.maximum(inside, 0)) + 0.9 * grain
        shows = (inside > 0) & (crown > canvas.height[frame.cut])
        colour = np.array((0.13, 0.11, 0.10) if is_charred else climate.tree, np.float32) * shade
        canvas.rgb[frame.cut][shows] = (colour * (1 + 0.14 * grain)[..., None])[shows]
        canvas.height[frame.cut][shows] = crown[shows]


def survivors(
    rng: np.random.Generator, trees: Floats, force: Floats, hazard: Hazard
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the trees that still stand after the disaster, and which of them are charred."""
    luck = rng.random((2, len(trees)))
    stands = luck[0] > hazard.tree_loss * force
    return trees[stands], (luck[1] < force * hazard.burns)[stands]


def _clear_of(houses: list[House], trees: Floats) -> NDArray[np.bool_]:
    clear = np.ones(len(trees), np.bool_)
    for house in houses:
        dx, dy = trees[:, 0] - house.x, trees[:, 1] - house.y
        u = np.abs(dx * np.cos(house.angle) + dy * np.sin(house.angle)) - house.half_length
        v = np.abs(dy * np.cos(house.angle) - dx * np.sin(house.angle)) - house.half_width - house.wing
        clear &= np.maximum(u, v) > 0.8 * trees[:, 2]
    return clear
