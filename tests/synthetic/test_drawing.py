"""The parts that render synthetic scenes, tested separately."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.synthetic.canvas import Canvas, noise
from xview2_siamese_unet.synthetic.damage import Force, assign_damage
from xview2_siamese_unet.synthetic.drawing import edge_of
from xview2_siamese_unet.synthetic.events import SEVERITIES
from xview2_siamese_unet.synthetic.layout import House, Streets, build_houses
from xview2_siamese_unet.synthetic.sensor import Shot, expose, to_bytes

NOON = Shot(180.0, 45.0, (1.0, 1.0, 1.0), 1.0, 0.0, 0.6, 0.0, (0.0, 0.0))
HOUSE = House(80.3, 79.6, 0.0, 12.0, 8.0, "hip", (0.5, 0.5, 0.5), 1)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(("sigma", "octaves"), [(0.75, 1), (2.4, 1), (30.0, 4)])
def test_noise_has_zero_mean_and_unit_variance(sigma: float, octaves: int) -> None:
    drawn = noise(rng(), 64, sigma, octaves)
    assert drawn.dtype == np.float32
    assert drawn.mean() == pytest.approx(0, abs=1e-5)
    assert drawn.std() == pytest.approx(1, abs=1e-5)


@given(st.floats(0, math.pi), st.floats(-500, 500), st.floats(-500, 500))
def test_street_coordinates_can_be_inverted(angle: float, s: float, t: float) -> None:
    streets = replace(Streets.random(rng()), angle=angle)
    x, y = streets.position(s, t)
    np.testing.assert_allclose(np.ravel(streets.along(np.array([x]), np.array([y]))), [s, t], atol=0.01)


@pytest.mark.parametrize("seed", range(6))
def test_houses_do_not_overlap(seed: int) -> None:
    streets = Streets.random(np.random.default_rng(seed))
    houses = build_houses(np.random.default_rng(seed), streets, 256, ((0.5, 0.5, 0.5),))
    shapes = [shapely.Polygon(house.outline()) for house in houses]
    assert len(shapes) > 5
    assert not [1 for i, a in enumerate(shapes) for b in shapes[:i] if a.intersection(b).area > 1]


@given(st.floats(0, 6), st.floats(9, 25), st.floats(7, 12))
def test_the_outline_is_the_edge_of_the_roof(angle: float, half_length: float, half_width: float) -> None:
    house = replace(HOUSE, angle=angle, half_length=half_length, half_width=half_width)
    canvas = Canvas.blank(rng(), 160)
    edge = edge_of(house, canvas.around(house.x, house.y, house.angle, 200))
    inside = shapely.contains_xy(shapely.Polygon(house.outline()), *np.broadcast_arrays(canvas.u, canvas.v))
    clear = np.abs(edge) > 1e-3  # closer to the edge, rounding of float32 decides
    assert (inside == (edge < 0))[clear].all()


@pytest.mark.parametrize("position", [(-900.0, 5.0), (5.0, -900.0), (900.0, 5.0), (5.0, 900.0)])
def test_nothing_is_drawn_outside_of_the_canvas(position: tuple[float, float]) -> None:
    assert Canvas.blank(rng(), 32).around(*position, 0.3, 20).height.size == 0


@pytest.mark.parametrize("shares", SEVERITIES)
def test_buildings_in_the_strongest_force_are_damaged_most(shares: tuple[float, float, float, float]) -> None:
    x, y = rng().uniform(0, 256, (2, 400))
    houses = [replace(HOUSE, x=float(a), y=float(b)) for a, b in zip(x, y, strict=True)]
    force = Force.random(rng(), 256, is_front=True)
    damages, onset = assign_damage(rng(), force, houses, shares)
    np.testing.assert_allclose([damages.count(damage) / 400 for damage in SCORED], shares, atol=0.005)
    means = [force.at(x, y)[np.array(damages) == damage].mean() for damage in SCORED if damage in damages]
    assert means == sorted(means)
    assert 0 < onset < 1


def test_without_damage_the_force_has_no_effect_on_the_ground() -> None:
    damages, onset = assign_damage(rng(), Force.random(rng(), 64, is_front=False), [], SEVERITIES[0])
    assert damages == []
    assert onset > 1


def test_shadows_fall_away_from_the_sun_as_far_as_the_object_is_high() -> None:
    canvas = Canvas.blank(rng(), 64)
    canvas.rgb[:] = 0.5
    canvas.height[30:34, 30:34] = 8
    image = expose(rng(), canvas, NOON)[..., 1]
    assert image.dtype == np.float32
    assert image[26, 32] < 0.7 * image[60, 5]
    assert image[38, 32] == pytest.approx(image[60, 5], rel=0.02)
    assert image[20, 32] == pytest.approx(image[60, 5], rel=0.02)


def test_an_image_is_shifted_by_the_shift_of_its_shot() -> None:
    canvas = Canvas.blank(rng(), 64)
    canvas.rgb[32, 32] = 1.0
    image = expose(rng(), canvas, replace(NOON, shift=(1.2, -0.7)))[..., 0]
    image = image - np.median(image)
    row, column = np.indices(image.shape)
    assert (image * column).sum() / image.sum() == pytest.approx(33.2, abs=0.05)
    assert (image * row).sum() / image.sum() == pytest.approx(31.3, abs=0.05)


def test_only_missing_data_is_black() -> None:
    values = to_bytes(np.full((2, 2, 3), -5.0, np.float32), np.array([[True, False], [False, False]]))
    assert values[0, 0].tolist() == [0, 0, 0]
    assert values[0, 1].tolist() == [1, 1, 1]
