from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.plots.paint import chequer, fit, show_codes, show_image, weave
from xview2_siamese_unet.plots.panels import PanelRow, draw_panels
from xview2_siamese_unet.plots.window import densest_window

BUILDINGS = [code for code in Damage if code is not Damage.BACKGROUND]


def row(scene: str, size: int = 64, code: int = 0) -> PanelRow:
    image = np.full((size, size, 3), 120, np.uint8)
    mask = np.full((size, size), code, np.uint8)
    return PanelRow(scene, f"note of {scene}", image, image, mask, mask * 0)


def test_every_class_keeps_its_colour_and_has_a_weave_of_its_own() -> None:
    ground = np.zeros((12, 12, 3), np.uint8)
    patterns = set()
    for code in BUILDINGS:
        painted = weave(np.full((12, 12), code, np.uint8), ground)
        plain = (painted == code.rgb).all(axis=2)
        assert plain.mean() >= 0.5
        patterns.add(plain.tobytes())
    assert len(patterns) == len(BUILDINGS)
    assert not ground.any(), "the ground given is left as it was"


def test_background_shows_the_dimmed_image() -> None:
    image = np.full((8, 8, 3), 200, np.uint8)
    shown = show_codes(np.zeros((8, 8), np.uint8), image, 8)
    assert (shown == 40 + 70).all()


def test_no_data_is_a_light_chequer_in_image_and_mask() -> None:
    image = np.full((32, 32, 3), 90, np.uint8)
    image[:, :16] = 0
    for shown in (show_image(image, 32), show_codes(np.zeros((32, 32), np.uint8), image, 32)):
        np.testing.assert_array_equal(shown[:, :16], chequer((32, 32))[:, :16])
        assert (shown[:, 16:] < 100).all()


def test_codes_are_scaled_without_mixing() -> None:
    codes = np.random.default_rng(0).integers(0, 6, (100, 60)).astype(np.uint8)
    small = fit(codes, 50, 0)
    assert small.shape == (50, 30)
    assert set(np.unique(small)) <= set(range(6))


@pytest.mark.parametrize("count", [1, 3])
def test_panels_name_scenes_and_count_pixels(count: int) -> None:
    figure = draw_panels((row(f"a$_{n}$<b>", code=4) for n in range(count)), side=64)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("pixels, truth→prediction: destroyed 4.1k→0") == count
    assert [text for text in texts if text.startswith("a$")] == [f"a$_{n}$<b>" for n in range(count)]
    assert {code.word for code in BUILDINGS} | {"no data", "before", "after", "truth", "prediction"} <= set(texts)
    figure.canvas.draw()


def test_truth_is_painted_third_and_prediction_fourth() -> None:
    canvas = draw_panels([row("a", code=Damage.NO_DAMAGE)], side=64).axes[0].images[0].get_array()
    blue = (np.asarray(canvas) == Damage.NO_DAMAGE.rgb).all(axis=2)
    columns = np.flatnonzero(blue[:160].any(axis=0))
    third = 16 + 2 * (64 + 8)
    assert (columns.min(), columns.max()) == (third, third + 63)


def test_rows_are_taken_one_at_a_time() -> None:
    alive: list[str] = []

    def rows() -> Iterator[PanelRow]:
        for number in range(3):
            alive.append(f"{number}")
            yield row(f"{number}")

    figure = draw_panels(rows(), side=64)
    assert alive == ["0", "1", "2"]
    assert figure.axes[0].images[0].get_array().shape == (38 + 3 * (58 + 64 + 8) + 50, 2 * 16 + 4 * 64 + 3 * 8, 3)


def test_no_rows_say_so() -> None:
    figure = draw_panels([], side=64)
    assert "No scene with a building to show." in [text.get_text() for text in figure.axes[0].texts]


def test_a_wide_scene_keeps_its_proportions() -> None:
    image = np.full((32, 64, 3), 120, np.uint8)
    assert show_image(image, 64).shape == (32, 64, 3)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_window_holds_at_least_as_much_as_the_corners(height: int, width: int, side: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.2
    rows, columns = densest_window(mask, side)
    shape = min(side, height), min(side, width)
    assert mask[rows, columns].shape == shape
    corners = [mask[: shape[0], : shape[1]], mask[-shape[0] :, -shape[1] :]]
    assert mask[rows, columns].sum() >= max(corner.sum() for corner in corners)


def test_window_finds_the_buildings() -> None:
    mask = np.zeros((100, 200), bool)
    mask[70:80, 150:160] = True
    rows, columns = densest_window(mask, 32)
    assert mask[rows, columns].sum() == 100
    assert densest_window(mask, None) == (slice(0, 100), slice(0, 200))


def test_panels_show_the_window_and_say_so() -> None:
    whole = row("a", size=128)
    truth = np.zeros((128, 128), np.uint8)
    truth[64:, 64:] = Damage.NO_DAMAGE
    figure = draw_panels([replace(whole, truth=truth)], side=64, window=64)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "note of a · shown: 64 × 64 of 128 × 128 px" in texts
    blue = (np.asarray(figure.axes[0].images[0].get_array()) == Damage.NO_DAMAGE.rgb).all(axis=2)
    assert blue[: 38 + 58 + 64].sum() == 64 * 64
