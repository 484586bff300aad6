from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.confusion import Counts, count_scene


def codes(highest: int, shape: tuple[int, int] = (5, 7)) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.uint8, shape, elements=st.integers(0, highest))


@given(codes(1), codes(5), codes(5))
def test_each_pixel_is_counted_in_its_own_cell(building: np.ndarray, damage: np.ndarray, predicted: np.ndarray) -> None:
    localization, by_code = np.zeros((2, 2), int), np.zeros((6, 6), int)
    for b, d, p in zip(building.flat, damage.flat, predicted.flat, strict=True):
        localization[b, int(p > 0)] += 1
        by_code[d, p] += 1
    counts = count_scene(building, damage, predicted, scene="a")
    np.testing.assert_array_equal(counts.localization, localization)
    np.testing.assert_array_equal(counts.damage, by_code)
    assert counts.localization.dtype == counts.damage.dtype == np.int64


@given(codes(1), codes(5), codes(5), st.integers(1, 4))
def test_counts_of_parts_add_up(building: np.ndarray, damage: np.ndarray, predicted: np.ndarray, cut: int) -> None:
    parts = [
        count_scene(building[rows], damage[rows], predicted[rows], scene="a") for rows in (slice(cut), slice(cut, None))
    ]
    whole = count_scene(building, damage, predicted, scene="a")
    added = sum(parts, start=Counts.zero())
    np.testing.assert_array_equal(added.localization, whole.localization)
    np.testing.assert_array_equal(added.damage, whole.damage)


GOOD = np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize(
    ("building", "damage", "predicted", "message"),
    [
        (GOOD + np.uint8(2), GOOD, GOOD, "building truth holds the value 2"),
        (GOOD, GOOD + np.uint8(6), GOOD, "damage truth holds the value 6"),
        (GOOD, GOOD, GOOD + np.uint8(255), "prediction holds the value 255"),
        (GOOD, GOOD, GOOD.astype(np.int64), "prediction has int64 values"),
        (GOOD, GOOD, GOOD[:3], r"prediction has the shape \(3, 4\)"),
        (GOOD[0], GOOD[0], GOOD[0], r"building truth has the shape \(4,\)"),
        (GOOD[:0], GOOD[:0], GOOD[:0], r"building truth has the shape \(0, 4\)"),
    ],
)
def test_the_error_for_an_invalid_array_names_the_scene_and_array(
    building: np.ndarray, damage: np.ndarray, predicted: np.ndarray, message: str
) -> None:
    # Unwrapped, because the shape check of the tests refuses some of these first.
    with pytest.raises(DataError, match=f"^socal-fire_00000001, {message}"):
        inspect.unwrap(count_scene)(building, damage, predicted, scene="socal-fire_00000001")
