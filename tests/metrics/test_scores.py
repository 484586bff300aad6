from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.metrics.confusion import COUNT_COLUMNS, Counts, count_scene
from xview2_siamese_unet.metrics.scores import (
    class_scores,
    constant_scores,
    official_score,
    official_scores,
    scored_damage,
)

UNCLASSIFIED = st.sampled_from(get_args(Unclassified))
SEEDS = st.integers(0, 2**32 - 1)
Image = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Building truth, damage truth, prediction."""


def official(images: Sequence[Image], unclassified: str) -> dict[str, float]:
    """Slow reference of the official score, from its description, one image and one class at a time."""
    rows = {name: [0, 0, 0] for name in ("building", 1, 2, 3, 4)}
    for building, truth, predicted in images:
        damage_truth = truth.copy()
        damage_truth[truth == 5] = 1 if unclassified == "no_damage" else 0
        located = predicted > 0
        damage = predicted * located
        _add(rows["building"], located, building > 0)
        scored = damage_truth > 0
        for code in (1, 2, 3, 4):
            _add(rows[code], damage[scored] == code, damage_truth[scored] == code)
    f1 = {name: _f1(*row) for name, row in rows.items()}
    damage_f1 = 4 / sum(1 / (f1[code] + 1e-6) for code in (1, 2, 3, 4))
    return {
        "score": 0.3 * f1["building"] + 0.7 * damage_f1,
        "damage_f1": damage_f1,
        "localization_f1": f1["building"],
        "damage_f1_no_damage": f1[1],
        "damage_f1_minor_damage": f1[2],
        "damage_f1_major_damage": f1[3],
        "damage_f1_destroyed": f1[4],
    }


def _add(row: list[int], predicted: np.ndarray, truth: np.ndarray) -> None:
    row[0] += int((predicted & truth).sum())
    row[1] += int((~predicted & truth).sum())
    row[2] += int((predicted & ~truth).sum())


def _f1(tp: int, fn: int, fp: int) -> float:
    if tp == 0:
        return 0.0
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    return 2 * precision * recall / (precision + recall)


def draw_image(rng: np.random.Generator) -> Image:
    """Return random codes of randomly chosen classes, so that absent classes and empty predictions are common."""
    shape = (int(rng.integers(1, 12)), int(rng.integers(1, 12)))
    truth_codes, predicted_codes = (rng.choice(6, size=rng.integers(1, 7)) for _ in range(2))
    truth = rng.choice(truth_codes, size=shape).astype(np.uint8)
    predicted = rng.choice(predicted_codes, size=shape).astype(np.uint8)
    predicted = np.where(rng.random(shape) < rng.random(), truth, predicted)
    building = np.where(rng.random(shape) < 0.8, truth > 0, rng.random(shape) < 0.5).astype(np.uint8)
    return building, truth, predicted


def count(images: list[Image]) -> Counts:
    return sum((count_scene(*image, scene="a") for image in images), start=Counts.zero())


@given(SEEDS, UNCLASSIFIED)
def test_official_score_equals_a_slow_one(seed: int, unclassified: Unclassified) -> None:
    rng = np.random.default_rng(seed)
    images = [draw_image(rng) for _ in range(rng.integers(1, 5))]
    expected = official(images, unclassified)
    scores = official_score(count(images), unclassified)
    assert list(scores)[:7] == list(expected)
    assert {key: scores[key] for key in expected} == pytest.approx(expected, rel=0, abs=1e-12)


@given(SEEDS, UNCLASSIFIED)
def test_scores_of_many_matrices_equal_those_of_each_matrix(seed: int, unclassified: Unclassified) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 50, (5, len(COUNT_COLUMNS))) * (rng.random(len(COUNT_COLUMNS)) < 0.4)
    together = official_scores(Counts.from_rows(rows), unclassified)
    for index, row in enumerate(rows):
        alone = official_score(Counts.from_rows(row), unclassified)
        assert {key: float(values[index]) for key, values in together.items()} == alone


def test_a_perfect_prediction_scores_slightly_above_one() -> None:
    truth = np.arange(5, dtype=np.uint8).reshape(1, 5)
    scores = official_score(count([((truth > 0).astype(np.uint8), truth, truth)]))
    assert scores["damage_f1"] == pytest.approx(1.000001, abs=1e-12)
    assert scores["score"] == pytest.approx(1.0000007, abs=1e-12)


def test_an_empty_prediction_has_a_damage_f1_of_one_millionth() -> None:
    truth = np.arange(5, dtype=np.uint8).reshape(1, 5)
    scores = official_score(count([((truth > 0).astype(np.uint8), truth, np.zeros_like(truth))]))
    assert scores["damage_f1"] == pytest.approx(1e-6, rel=1e-9)
    assert scores["localization_f1"] == 0


def test_a_false_building_lowers_the_localization_f1_and_no_damage_f1() -> None:
    truth = np.array([[0, 1, 2, 3, 4]], np.uint8)
    building = (truth > 0).astype(np.uint8)
    scores = official_score(count([(building, truth, np.array([[4, 1, 2, 3, 4]], np.uint8))]))
    assert scores["damage_f1_destroyed"] == 1
    assert scores["localization_f1"] < 1


@given(SEEDS, UNCLASSIFIED)
def test_constant_scores_equal_predicting_that_constant(seed: int, unclassified: Unclassified) -> None:
    images = [draw_image(np.random.default_rng(seed))]
    for code, score in constant_scores(count(images), unclassified).items():
        same = [(b, d, np.full_like(d, code)) for b, d, _ in images]
        assert score == pytest.approx(official(same, unclassified)["score"], abs=1e-12)


@given(st.lists(st.lists(st.integers(0, 10**9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_class_scores_are_within_bounds_and_consistent(rows: list[list[int]]) -> None:
    matrix = np.array(rows, np.int64)
    scores = class_scores(matrix)
    assert scores.support.tolist() == matrix.sum(axis=1).tolist()
    assert scores.iou == pytest.approx(scores.f1 / (2 - scores.f1))
    low, high = np.minimum(scores.precision, scores.recall), np.maximum(scores.precision, scores.recall)
    assert ((low - 1e-12 <= scores.f1) & (scores.f1 <= high + 1e-12)).all()
    assert ((scores.iou >= 0) & (scores.iou <= scores.f1) & (scores.f1 <= 1)).all()


def test_only_the_row_of_unclassified_truth_depends_on_the_parameter() -> None:
    damage = np.arange(36, dtype=np.int64).reshape(6, 6)
    ignored, moved = scored_damage(damage, "ignore"), scored_damage(damage, "no_damage")
    np.testing.assert_array_equal(ignored[1:5], damage[1:5])
    assert not ignored[[0, 5]].any()
    np.testing.assert_array_equal(moved[1], damage[1] + damage[5])
    np.testing.assert_array_equal(scored_damage(damage, "class"), ignored)
    assert damage[0, 1] == 1, "the given counts are unchanged"


def test_present_class_variant_leaves_absent_classes_out() -> None:
    truth = np.array([[1, 1, 4, 4]], np.uint8)
    counts = count([(np.ones_like(truth), truth, np.array([[1, 1, 4, 1]], np.uint8))])
    scores = official_score(counts)
    assert scores["present_class_damage_f1"] == pytest.approx(2 / (5 / 4 + 3 / 2), abs=1e-5)
    assert scores["damage_f1"] < 1e-5
    assert official_score(Counts.zero())["present_class_damage_f1"] == 0
