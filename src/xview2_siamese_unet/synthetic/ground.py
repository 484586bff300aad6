"""The ground before the disaster: soil and grass, lots and fields, water, streets."""

from __future__ import annotations

import numpy as np

from xview2_siamese_unet.synthetic.canvas import (
    Canvas,
    Floats,
    Rgb,
    blank,
    blend,
    box,
    cover,
    fractal_noise,
    frame_at,
    ramp,
    whole,
)
from xview2_siamese_unet.synthetic.events import Climate
from xview2_siamese_unet.synthetic.houses import House
from xview2_siamese_unet.synthetic.land import Land, nearest

_CROPS: Rgb = (0.55, 0.52, 0.30)


def draw_ground(rng: np.random.Generator, land: Land, climate: Climate) -> Canvas:
    """Return the canvas of a place without anything that stands on it."""
    canvas = blank(rng, len(land.wet))
    x, y = whole(canvas.size)
    s, t = land.streets.along(x, y)
    broad = fractal_noise(rng, canvas.size, 90.0, 4)
    canvas.rgb[:] = climate.grass
    blend(canvas.rgb, ramp(broad, 0.1, 1.3) * 0.8, climate.soil)
    _parcels(rng, canvas, land, s, t)
    tone = 1 + 0.05 * broad + 0.045 * canvas.clump + 0.04 * canvas.grain
    canvas.rgb[:] *= tone[..., None]
    canvas.height[:] = 0.25 * canvas.grain
    if land.water == "river":
        _water(canvas, land, climate)
    _streets(canvas, land, climate, s, t)
    if land.water in ("coast", "pond"):
        _water(canvas, land, climate)
    return canvas


def draw_yard(canvas: Canvas, house: House, land: Land) -> None:
    """Draw the drive from a house to its street, and a pool behind some of them."""
    rng = np.random.default_rng([house.seed, 1])
    frame = frame_at(canvas.size, house.x, house.y, house.angle, house.street + house.reach)
    if frame is None:
        return
    grey = float(rng.uniform(0.52, 0.68))
    offset, half = float(rng.uniform(-0.6, 0.6)) * house.half_length, float(rng.uniform(2.2, 3.6))
    drive = cover(
        box(
            frame.u - offset,
            frame.v - (house.front * house.street / 2),
            half,
            house.street / 2 - 2,
        )
    )
    blend(canvas.rgb[frame.cut], drive * 0.85, (grey, grey * 0.97, grey * 0.92))
    has_room = not house.wing and land.is_dry(house.x, house.y, house.half_width + 24)
    if land.setting.is_paved and has_room and rng.random() < 0.16:
        u, v = frame.u - offset, frame.v + (house.front * (house.half_width + 8))
        edge = np.hypot(u / 1.5, v) - rng.uniform(3, 4.2)
        blend(canvas.rgb[frame.cut], cover(edge - 1.5), (0.72, 0.70, 0.66))
        blend(canvas.rgb[frame.cut], cover(edge), (0.25, 0.58, 0.66))


def _parcels(rng: np.random.Generator, canvas: Canvas, land: Land, s: Floats, t: Floats) -> None:
    """Give every lot its own tone, and every field its own crop and rows."""
    setting, spacing = land.setting, land.streets.spacing
    depth = spacing / 2 if not setting.is_farmed else spacing / 4
    column, row = (
        np.floor(s / setting.lot).astype(np.int32),
        np.floor(t / depth).astype(np.int32),
    )
    parcel = (column * 7 + row * 13) % 64
    canvas.rgb[:] *= rng.normal(1, 0.07, 64).astype(np.float32)[parcel][..., None]
    fence = cover(np.minimum(nearest(s, setting.lot), nearest(t - depth, 2 * depth)) - 0.3)
    blend(canvas.rgb, fence * 0.22, (0.20, 0.19, 0.16))
    if setting.is_farmed:
        field = (np.floor(s / 150).astype(np.int32) * 5 + row * 11) % 64
        crop = rng.uniform(0, 0.9, 64).astype(np.float32)[field]
        far = ramp(nearest(t, spacing), 46, 50)
        blend(canvas.rgb, far * crop, _CROPS)
        lengthwise = (rng.random(64) < 0.5)[field]
        rows = np.sin(np.where(lengthwise, s, t) * (2 * np.pi / 5.3))
        canvas.rgb[:] *= (1 + far * 0.11 * rows * (0.4 + crop))[..., None]


def _water(canvas: Canvas, land: Land, climate: Climate) -> None:
    wet = land.wet
    shore = (climate.soil[0] * 1.22, climate.soil[1] * 1.22, climate.soil[2] * 1.15)
    width = 22.0 if land.water == "coast" else 5.0
    blend(canvas.rgb, ramp(wet, -width, -width / 2) * 0.85, shore)
    inside = cover(-wet)
    blend(canvas.rgb, inside, (0.30, 0.40, 0.38))
    blend(canvas.rgb, ramp(wet, 0, 45 if land.water == "coast" else 16) * inside, (0.10, 0.21, 0.25))
    canvas.rgb[:] *= (1 + inside * 0.03 * canvas.clump)[..., None]
    if land.water == "coast":
        foam = ramp(2.2 - np.abs(wet - 4 - 2 * canvas.clump), 0, 2) + ramp(
            1.5 - np.abs(wet - 15 - 3 * canvas.clump), 0, 2
        )
        blend(canvas.rgb, foam * 0.6 * inside, (0.86, 0.89, 0.88))
    canvas.height[:] *= 1 - 0.75 * inside


def _streets(canvas: Canvas, land: Land, climate: Climate, s: Floats, t: Floats) -> None:
    streets, paved = land.streets, land.setting.is_paved
    along, across = nearest(t, streets.spacing), nearest(s, streets.block)
    edge = np.minimum(along, across) - streets.half_width
    dry = ramp(-land.wet, 3, 7) if land.water in ("coast", "pond") else 1
    verge = (0.60, 0.58, 0.54) if paved else climate.soil
    blend(canvas.rgb, cover(np.abs(edge - 3) - 0.6) * (0.75 if paved else 0.3) * dry, verge)
    soil = climate.soil
    surface = (0.37, 0.37, 0.38) if paved else (soil[0] * 1.08, soil[1] * 1.08, soil[2] * 1.06)
    worn = 1 + 0.04 * canvas.clump
    blend(canvas.rgb, cover(edge) * dry, np.asarray(surface, np.float32) * worn[..., None])
    canvas.height[:] *= 1 - 0.75 * cover(edge)
    if paved:
        dashes = (np.mod(s, 16) < 8) & (across > streets.half_width) & (along < across)
        line = cover(along - 0.2) * dashes
        blend(canvas.rgb, line * 0.8 * dry, (0.82, 0.80, 0.70))
