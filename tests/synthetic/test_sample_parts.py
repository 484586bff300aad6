"""The parts that scenes are drawn with, each on its own."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st

from xview2_siamese_unet.config.dataset import SampleParams, SampleScenes
from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.synthetic import plan_sample
from xview2_siamese_unet.synthetic.canvas import Canvas, blank, fractal_noise, frame_at, smooth_noise
from xview2_siamese_unet.synthetic.houses import House, build_houses, edge_of
from xview2_siamese_unet.synthetic.land import Streets, lay_out
from xview2_siamese_unet.synthetic.light import Shot, expose, to_bytes
from xview2_siamese_unet.synthetic.plan import SEVERITIES
from xview2_siamese_unet.synthetic.wreck import judge, strike

NOON = Shot(180.0, 45.0, (1.0, 1.0, 1.0), 1.0, 0.0, 0.6, 0.0, (0.0, 0.0))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def grey_plain(size: int = 64) -> Canvas:
    canvas = blank(rng(), size)
    canvas.rgb[:] = 0.5
    return canvas


@pytest.mark.parametrize(
    "noise", [smooth_noise(rng(), 512, 7.0), fractal_noise(rng(), 512, 40.0, 3), blank(rng(), 256).grain]
)
def test_noise_is_about_zero_with_unit_variance(noise: np.ndarray) -> None:
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 0.15
    assert 0.75 < noise.std() < 1.25


@given(st.floats(0, math.pi), st.floats(-500, 500), st.floats(-500, 500), st.floats(0, 24), st.floats(0.006, 0.012))
def test_a_street_position_leads_back_to_itself(angle: float, s: float, t: float, bend: float, wave: float) -> None:
    streets = Streets(angle, (30.0, -70.0), bend, wave, 1.0, 100.0, 250.0, 5.0)
    x, y, _ = streets.position(s, t)
    found = streets.along(np.float32([x]), np.float32([y]))
    np.testing.assert_allclose(np.ravel(found), [s, t], atol=0.01)


@pytest.mark.parametrize("seed", range(6))
def test_houses_stand_apart_on_dry_land(seed: int) -> None:
    land = lay_out(np.random.default_rng(seed), 256, ("coast", "river", "pond"))
    houses = build_houses(np.random.default_rng(seed), land, ((0.5, 0.5, 0.5),))
    shapes = [shapely.Polygon(house.outline()) for house in houses]
    pairs = [(a, b) for i, a in enumerate(shapes) for b in shapes[:i]]
    assert sum(a.intersection(b).area > 1 for a, b in pairs) == 0
    assert all(land.is_dry(house.x, house.y, 3) for house in houses)


@example(angle=0.0, a=12.0, b=7.0, wing=8.0, side=-1)  # its wing ends on centres of pixels
@given(st.floats(0, 6), st.floats(9, 25), st.floats(7, 12), st.sampled_from([0.0, 8.0]), st.sampled_from([-1, 1]))
def test_the_outline_is_where_the_roof_ends(angle: float, a: float, b: float, wing: float, side: int) -> None:
    house = House(80.3, 79.6, angle, a, b, wing, side, -side, 30.0, "hip", 6.0, 0.4, (0.5, 0.5, 0.5), 1)
    frame = frame_at(160, house.x, house.y, house.angle, house.reach + 2)
    assert frame is not None
    row, column = (np.arange(s.start, s.stop) + 0.5 for s in frame.cut)
    inside = shapely.contains_xy(shapely.Polygon(house.outline()), *np.meshgrid(column, row))
    edge = edge_of(house, frame)
    clear = np.abs(edge) > 1e-3  # nearer, the rounding of float32 decides
    assert np.mean((inside != (edge < 0))[clear]) < 0.002


@pytest.mark.parametrize("shares", SEVERITIES)
def test_the_hardest_struck_are_damaged_most(shares: tuple[float, float, float, float]) -> None:
    house = House(0, 0, 0.0, 12, 8, 0.0, 1, 1, 30.0, "hip", 6.0, 0.4, (0.5, 0.5, 0.5), 1)
    x, y = rng().uniform(0, 256, (2, 400))
    houses = [replace(house, x=float(a), y=float(b)) for a, b in zip(x, y, strict=True)]
    harm = strike(rng(), 256, is_front=True)
    damages, onset = judge(rng(), harm, houses, shares)
    counts = [damages.count(damage) for damage in SCORED]
    np.testing.assert_allclose(np.divide(counts, 400), shares, atol=0.005)
    force = harm.at(x.astype(np.float32), y.astype(np.float32))
    means = [force[np.array(damages) == damage].mean() for damage in SCORED if damage in damages]
    assert means == sorted(means)
    assert 0 < onset < 1


def test_nobody_struck_leaves_the_ground_alone() -> None:
    damages, onset = judge(rng(), strike(rng(), 64, is_front=False), [], SEVERITIES[0])
    assert damages == []
    assert onset > 1


def test_shadows_fall_away_from_the_sun_as_far_as_a_thing_is_high() -> None:
    canvas = grey_plain()
    canvas.height[30:34, 30:34] = 8
    image = expose(rng(), canvas, NOON)[..., 1]
    assert image.dtype == np.float32
    assert image[26, 32] < 0.7 * image[60, 5]
    assert image[38, 32] == pytest.approx(image[60, 5], rel=0.02)
    assert image[20, 32] == pytest.approx(image[60, 5], rel=0.02)


def test_a_shot_is_off_by_its_shift() -> None:
    canvas = grey_plain()
    canvas.rgb[:] = 0.0
    canvas.rgb[32, 32] = 1.0
    shot = replace(NOON, shift=(1.2, -0.7))
    image = expose(rng(), canvas, shot)[..., 0]
    image = image - np.median(image)
    row, column = np.indices(image.shape)
    assert (image * column).sum() / image.sum() == pytest.approx(33.2, abs=0.05)
    assert (image * row).sum() / image.sum() == pytest.approx(31.3, abs=0.05)


def test_only_missing_data_is_black() -> None:
    image = np.full((2, 2, 3), -5.0, np.float32)
    values = to_bytes(image, np.array([[True, False], [False, False]]))
    assert values[0, 0].tolist() == [0, 0, 0]
    assert values[0, 1].tolist() == [1, 1, 1]


def test_severities_take_turns_in_every_tier() -> None:
    plan = plan_sample(SampleParams(scenes=SampleScenes(tier1=4, tier3=4, hold=4, test=4)))
    assert all({s.shares for s in plan if s.tier == t} == set(SEVERITIES) for t in ("tier1", "tier3", "hold", "test"))
