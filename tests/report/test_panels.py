from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.raster.io import confidence
from xview2_siamese_unet.report.hatches import chequer, hatch
from xview2_siamese_unet.report.panels import (
    PanelRow,
    building_row,
    centred_window,
    choose_scenes,
    densest_window,
    draw_panels,
    resize,
    scene_row,
    show_codes,
    show_confidence,
    show_image,
    worst_buildings,
)

BUILDINGS = [code for code in Damage if code is not Damage.BACKGROUND]


def row(scene: str, size: int = 64, code: int = 0) -> PanelRow:
    image = np.full((size, size, 3), 120, np.uint8)
    mask = np.full((size, size), code, np.uint8)
    return PanelRow(scene, f"note of {scene}", f"detail of {scene}", image, image, mask, mask * 0, mask * 0 + 254)


def test_every_class_has_its_own_colour_and_hatch() -> None:
    ground = np.zeros((12, 12, 3), np.uint8)
    patterns = set()
    for code in BUILDINGS:
        painted = hatch(np.full((12, 12), code, np.uint8), ground)
        plain = (painted == code.rgb).all(axis=2)
        assert plain.mean() >= 0.5
        patterns.add(plain.tobytes())
    assert len(patterns) == len(BUILDINGS)
    assert not ground.any(), "the input is unchanged"


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
    small = resize(codes, 50, 0)
    assert small.shape == (50, 30)
    assert set(np.unique(small)) <= set(range(6))


@pytest.mark.parametrize("count", [1, 3])
def test_panels_name_scenes_and_count_pixels(count: int) -> None:
    figure = draw_panels((row(f"a$_{n}$<b>", code=4) for n in range(count)), side=64)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert [text for text in texts if text.startswith("detail")] == [f"detail of a$_{n}$<b>" for n in range(count)]
    assert [text for text in texts if text.startswith("a$")] == [f"a$_{n}$<b>" for n in range(count)]
    assert {code.word for code in BUILDINGS} | {
        "no data",
        "pre-disaster",
        "post-disaster",
        "truth",
        "prediction",
        "confidence",
    } <= set(texts)
    figure.canvas.draw()


def test_truth_is_painted_third_and_prediction_fourth() -> None:
    canvas = draw_panels([row("a", code=Damage.NO_DAMAGE)], side=64).axes[0].images[0].get_array()
    blue = (np.asarray(canvas) == Damage.NO_DAMAGE.rgb).all(axis=2)
    columns = np.flatnonzero(blue[:160].any(axis=0))
    third = 16 + 2 * (64 + 8)
    assert (columns.min(), columns.max()) == (third, third + 63)


def test_rows_are_read_one_at_a_time() -> None:
    alive: list[str] = []

    def rows() -> Iterator[PanelRow]:
        for number in range(3):
            alive.append(f"{number}")
            yield row(f"{number}")

    figure = draw_panels(rows(), side=64)
    assert alive == ["0", "1", "2"]
    assert figure.axes[0].images[0].get_array().shape == (38 + 3 * (58 + 64 + 8) + 92, 2 * 16 + 5 * 64 + 4 * 8, 3)


def test_a_figure_without_rows_shows_a_message() -> None:
    figure = draw_panels([], side=64)
    assert "No scene with a building to show." in [text.get_text() for text in figure.axes[0].texts]


def test_a_wide_scene_keeps_its_proportions() -> None:
    image = np.full((32, 64, 3), 120, np.uint8)
    assert show_image(image, 64).shape == (32, 64, 3)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_the_densest_window_holds_at_least_as_much_as_the_corners(
    height: int, width: int, side: int, seed: int
) -> None:
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


def scene_of(truth: np.ndarray) -> SimpleNamespace:
    image = np.full((*truth.shape, 3), 120, np.uint8)
    return SimpleNamespace(pre=image, post=image + 1, damage=truth)


def test_a_panel_shows_the_window_with_most_buildings() -> None:
    truth = np.zeros((128, 128), np.uint8)
    truth[64:, 64:] = Damage.NO_DAMAGE
    shares = np.full((5, 128, 128), 51, np.uint8)
    found = scene_row("a", "best", scene_of(truth), (truth * 0, shares), 64)
    assert found.note == "best · shown: 64 × 64 of 128 × 128 px"
    assert found.detail == "pixels, truth→prediction: no-damage 4.1k→0"
    assert (found.truth == Damage.NO_DAMAGE).all()
    assert (found.confidence == 51).all()
    assert scene_row("a", "best", scene_of(truth), (truth, shares), None).note == "best"


@pytest.mark.parametrize(
    ("truth", "predicted", "note", "words"),
    [
        (4, 1, "wrong class", "truth: destroyed · prediction: no-damage"),
        (3, 0, "missed", "truth: major-damage · prediction: no building that matches"),
        (0, 2, "false alarm", "truth: no building that matches · prediction: minor-damage"),
    ],
)
def test_a_building_is_framed_and_named(truth: int, predicted: int, note: str, words: str) -> None:
    codes = np.zeros((128, 128), np.uint8)
    building = {"scene": "a", "truth": truth, "predicted": predicted, "pixels": 1250, "confidence": 0.934}
    frame = {"top": 100, "left": 60, "bottom": 110, "right": 70}
    found = building_row(building | frame, scene_of(codes), (codes, np.zeros((5, 128, 128), np.uint8)), 32)
    assert (found.note, found.detail) == (f"{note} · confidence 93.4 % · 1.25k px", words)
    assert found.truth.shape == (32, 32)
    assert found.frame == (11, 11, 21, 21)
    marks = draw_panels([found], side=64).axes[0].patches
    assert len(marks) == 5 * 2
    assert {(round(mark.get_width()), round(mark.get_height())) for mark in marks} == {(28, 28)}


@given(st.integers(0, 99), st.integers(0, 79), st.integers(1, 60), st.integers(1, 60), st.integers(16, 200))
def test_a_centred_window_holds_the_frame_inside_the_scene(
    top: int, left: int, high: int, wide: int, side: int
) -> None:
    frame = (top, left, min(top + high, 100), min(left + wide, 80))
    rows, columns = centred_window(frame, (100, 80), side)
    assert 0 <= rows.start <= frame[0] <= frame[2] <= rows.stop <= 100
    assert 0 <= columns.start <= frame[1] <= frame[3] <= columns.stop <= 80
    wanted = max(side, frame[2] - frame[0], frame[3] - frame[1])
    assert (rows.stop - rows.start, columns.stop - columns.start) == (min(wanted, 100), min(wanted, 80))


def test_higher_confidence_is_lighter_and_missing_confidence_is_a_chequer() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None]
    shown = show_confidence(ramp, 256)[0].astype(int)
    assert (np.diff(shown[:255] @ [0.2126, 0.7152, 0.0722]) >= 0).all()
    assert (shown[255] >= 208).all()


def test_confidence_is_the_probability_of_the_predicted_class() -> None:
    shares = np.arange(5 * 6, dtype=np.uint8).reshape(5, 1, 6)
    codes = np.array([[0, 1, 2, 3, 4, 5]], np.uint8)
    assert confidence(shares, codes).tolist() == [[0, 7, 14, 21, 28, 255]]


@given(st.lists(st.floats(0, 1), max_size=12), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_chosen_scenes_are_truly_best_and_worst(values: list[float], best: int, median: int, worst: int) -> None:
    scores = pd.Series({f"s{number}": value for number, value in enumerate(values)}, dtype=float)
    chosen = choose_scenes(scores, best=best, median=median, worst=worst)
    named = {kind: [scene for scene, k in chosen.items() if k == kind] for kind in ("best", "median", "worst")}
    assert len(chosen) == min(best + median + worst, len(values))
    assert len(named["best"]) == min(best, len(values))
    rest = scores.drop(named["best"])
    if named["best"] and len(rest):
        assert scores[named["best"]].min() >= rest.max()
    rest = rest.drop(named["worst"])
    if named["worst"] and len(rest):
        assert scores[named["worst"]].max() <= rest.min()


def test_median_scenes_have_the_middle_scores() -> None:
    scores = pd.Series({name: rank / 10 for rank, name in enumerate("abcdefg")})
    assert choose_scenes(scores, best=1, median=1, worst=1) == {"g": "best", "d": "median", "a": "worst"}


@pytest.mark.parametrize(("most", "chosen"), [(0, []), (2, [3, 6]), (4, [3, 1, 6, 5]), (9, [3, 1, 6, 5])])
def test_worst_buildings_are_confident_mistakes_and_large_misses(most: int, chosen: list[int]) -> None:
    table = pd.DataFrame(
        {
            "truth": [1, 4, 5, 0, 2, 3, 4, 1],
            "predicted": [1, 1, 4, 3, 1, 0, 0, 5],
            "pixels": [500, 100, 900, 400, 99, 10, 800, 300],
            "confidence": [1.0, 0.6, 1.0, 0.9, 1.0, 0.9, 0.5, np.nan],
        }
    )
    assert worst_buildings(table, most).index.tolist() == chosen
