"""One scene, both dates: everything that stands there, drawn, lit and judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.synthetic.canvas import Canvas, Floats, blend, box, cover, frame_at, ramp, whole
from xview2_siamese_unet.synthetic.ground import draw_ground, draw_yard
from xview2_siamese_unet.synthetic.houses import House, build_houses, draw_roof
from xview2_siamese_unet.synthetic.land import Land, lay_out
from xview2_siamese_unet.synthetic.light import Bytes, Shot, clouds, expose, past_border, take_shot, to_bytes
from xview2_siamese_unet.synthetic.plan import SampleScene
from xview2_siamese_unet.synthetic.trees import draw_trees, plant, survivors
from xview2_siamese_unet.synthetic.wreck import Harm, Site, draw_around, draw_damaged, judge, spread_over, strike
from xview2_siamese_unet.xbd.names import PHASES, Phase

_REACH = 16.0
_HIDDEN = 0.6


@dataclass(frozen=True, slots=True)
class Sight:
    """One image, (size, size, 3), how it was taken, and which of its pixels show no ground."""

    image: Bytes
    shot: Shot
    hidden: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scene:
    """Both dates of one place, and the damage of each of its houses."""

    sights: dict[Phase, Sight]
    houses: list[House]
    damages: list[Damage]


@dataclass(frozen=True, slots=True)
class _Blow:
    harm: Harm
    onset: float
    damages: list[Damage]


def render(scene: SampleScene, size: int) -> Scene:
    """Return a scene of `size` by `size` pixels."""
    land = lay_out(scene.rng("land"), size, scene.event.waters)
    houses = [] if scene.is_empty else build_houses(scene.rng("houses"), land, scene.event.climate.roofs)
    ground = draw_ground(scene.rng("ground"), land, scene.event.climate)
    for house in houses:
        draw_yard(ground, house, land)
    rng = scene.rng("harm")
    harm = strike(rng, size, scene.event.hazard.is_front)
    damages, onset = judge(rng, harm, houses, scene.shares)
    trees = plant(scene.rng("trees"), land, houses)
    canvases = {
        "pre": _before(scene, ground.copy(), land, houses, trees),
        "post": _after(scene, ground, land, houses, trees, _Blow(harm, onset, damages)),
    }
    hidden, cloud = _veils(scene, size)
    return Scene({p: _sight(scene, p, canvases[p], hidden[p], cloud) for p in PHASES}, houses, damages)


def _before(scene: SampleScene, canvas: Canvas, land: Land, houses: list[House], trees: Floats) -> Canvas:
    _park(scene.rng("pre"), canvas, land)
    for house in houses:
        if frame := frame_at(canvas.size, house.x, house.y, house.angle, house.reach + 2):
            draw_roof(canvas, house, frame)
    draw_trees(canvas, trees, scene.event.climate, np.zeros(len(trees), np.bool_))
    return canvas


def _after(scene: SampleScene, canvas: Canvas, land: Land, houses: list[House], trees: Floats, blow: _Blow) -> Canvas:
    rng, hazard = scene.rng("wreck"), scene.event.hazard
    season = rng.normal(1, 0.05) * rng.normal(1, (0.03, 0.02, 0.03))
    canvas.rgb[:] *= season.astype(np.float32)
    _park(scene.rng("post"), canvas, land)
    x, y = whole(canvas.size)
    ragged = (0.025 if hazard.is_liquid else 0.08) * canvas.clump
    wide = 0.12 if hazard.is_liquid else 0.35
    force = ramp(blow.harm.at(x, y) + ragged, blow.onset - 0.05, blow.onset - 0.05 + wide)
    muddy = 0.6 * hazard.is_liquid * (land.water != "coast")
    ground = force + (muddy - force) * ramp(land.wet, -3, 1)
    spread_over(canvas, (slice(None), slice(None)), ground * hazard.spread, hazard)
    for stroke, reach in ((draw_around, _REACH), (draw_damaged, 2.0)):
        for house, damage in zip(houses, blow.damages, strict=True):
            if frame := frame_at(canvas.size, house.x, house.y, house.angle, house.reach + reach):
                stroke(Site(canvas, frame, house, hazard), damage)
    column, row = (trees[:, k].astype(int).clip(0, canvas.size - 1) for k in (0, 1))
    standing, charred = survivors(rng, trees, force[row, column], hazard)
    draw_trees(canvas, standing, scene.event.climate, charred)
    return canvas


def _park(rng: np.random.Generator, canvas: Canvas, land: Land) -> None:
    """Put cars on the lanes, other ones on every date."""
    streets, size = land.streets, canvas.size
    for _ in range(rng.poisson(size * size / 8000)):
        s, t = streets.along(*rng.uniform(0, size, (2, 1)).astype(np.float32))
        lane = streets.spacing * round(float(t[0]) / streets.spacing) + rng.choice((-0.55, 0.55)) * streets.half_width
        x, y, heading = streets.position(float(s[0]), lane)
        frame = frame_at(size, x, y, heading, 7) if land.is_dry(x, y, 6) else None
        if frame is None:
            continue
        paint = np.array(
            ((0.85, 0.85, 0.85), (0.12, 0.12, 0.13), (0.55, 0.56, 0.58), (0.50, 0.12, 0.10), (0.15, 0.22, 0.40))
        )
        body = cover(box(frame.u, frame.v, 4.4, 1.9))
        blend(canvas.rgb[frame.cut], body, paint[rng.integers(5)].astype(np.float32))
        blend(canvas.rgb[frame.cut], cover(box(frame.u - 1, frame.v, 0.8, 1.5)) * 0.7, (0.10, 0.12, 0.14))
        blend(canvas.height[frame.cut], body, 2.6)


def _veils(scene: SampleScene, size: int) -> tuple[dict[Phase, NDArray[np.bool_]], Floats | None]:
    rng = scene.rng("place")
    nothing = np.zeros((size, size), np.bool_)
    border = past_border(rng, size) if scene.has_border else {p: nothing for p in PHASES}
    return border, clouds(rng, size) if scene.has_cloud else None


def _sight(scene: SampleScene, phase: Phase, canvas: Canvas, nodata: NDArray[np.bool_], cloud: Floats | None) -> Sight:
    rng = scene.rng(phase)
    shot = take_shot(rng, phase == "post")
    image = expose(rng, canvas, shot)
    hidden = nodata
    if cloud is not None and phase == "post":
        blend(image, cloud, (120, 112, 106) if scene.event.hazard.burns else (228, 231, 234))
        hidden = nodata | (cloud > _HIDDEN)
    return Sight(to_bytes(image, nodata), shot, hidden)
