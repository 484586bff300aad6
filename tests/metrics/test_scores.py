from __future__ import annotations

import json
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.config.reporting import IntervalParams
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.metrics.confusion import Counts, count_scene
from xview2_siamese_unet.metrics.matching import MATCH_COLUMNS
from xview2_siamese_unet.metrics.probabilities import CURVES, STEPS
from xview2_siamese_unet.metrics.ranking import choose_scenes, scene_scores
from xview2_siamese_unet.metrics.scores import (
    class_scores,
    constant_scores,
    official_score,
    present_class_damage_f1,
    scored_damage,
)
from xview2_siamese_unet.metrics.summary import summarise
from xview2_siamese_unet.metrics.table import count_scenes

POLICIES: tuple[Unclassified, ...] = get_args(Unclassified)
Image = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Building truth, damage truth, prediction."""


def official(images: Sequence[Image], policy: str) -> dict[str, float]:
    """The official score a second time: slowly, from its description, one image and one class at a time."""
    rows = {name: [0, 0, 0] for name in ("building", 1, 2, 3, 4)}
    for building, truth, predicted in images:
        damage_truth = truth.copy()
        damage_truth[truth == 5] = 1 if policy == "no_damage" else 0
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
    """Random codes of a random choice of classes, so that absent classes and empty predictions are common."""
    shape = (int(rng.integers(1, 12)), int(rng.integers(1, 12)))
    truth_codes, found_codes = (rng.choice(6, size=rng.integers(1, 7)) for _ in range(2))
    truth = rng.choice(truth_codes, size=shape).astype(np.uint8)
    predicted = rng.choice(found_codes, size=shape).astype(np.uint8)
    predicted = np.where(rng.random(shape) < rng.random(), truth, predicted)
    building = np.where(rng.random(shape) < 0.8, truth > 0, rng.random(shape) < 0.5).astype(np.uint8)
    return building, truth, predicted


def count(images: list[Image]) -> Counts:
    return sum((count_scene(*image, scene="a") for image in images), start=Counts.zero())


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(170))
def test_official_score_equals_a_slow_one(policy: Unclassified, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [draw_image(rng) for _ in range(rng.integers(1, 5))]
    assert official_score(count(images), policy) == pytest.approx(official(images, policy), rel=0, abs=1e-12)


def test_all_perfect_is_a_hair_above_one() -> None:
    truth = np.arange(5, dtype=np.uint8).reshape(1, 5)
    scores = official_score(count([((truth > 0).astype(np.uint8), truth, truth)]))
    assert scores["damage_f1"] == pytest.approx(1.000001, abs=1e-12)
    assert scores["score"] == pytest.approx(1.0000007, abs=1e-12)


def test_all_zero_prediction_is_one_millionth_of_damage() -> None:
    truth = np.arange(5, dtype=np.uint8).reshape(1, 5)
    scores = official_score(count([((truth > 0).astype(np.uint8), truth, np.zeros_like(truth))]))
    assert scores["damage_f1"] == pytest.approx(1e-6, rel=1e-9)
    assert scores["localization_f1"] == 0


def test_a_false_building_costs_localization_and_never_damage() -> None:
    truth = np.array([[0, 1, 2, 3, 4]], np.uint8)
    building = (truth > 0).astype(np.uint8)
    scores = official_score(count([(building, truth, np.array([[4, 1, 2, 3, 4]], np.uint8))]))
    assert scores["damage_f1_destroyed"] == 1
    assert scores["localization_f1"] < 1


@pytest.mark.parametrize("policy", POLICIES)
def test_constant_scores_equal_predicting_that_constant(policy: Unclassified) -> None:
    images = [draw_image(np.random.default_rng(seed)) for seed in range(5)]
    for answer, score in constant_scores(count(images), policy).items():
        same = [(b, d, np.full_like(d, answer)) for b, d, _ in images]
        assert score == pytest.approx(official(same, policy)["score"], abs=1e-12)


@given(st.lists(st.lists(st.integers(0, 10**9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_class_scores_stay_within_bounds_and_agree(rows: list[list[int]]) -> None:
    matrix = np.array(rows, np.int64)
    for code, score in enumerate(class_scores(matrix)):
        assert 0 <= score.iou <= score.f1 <= 1
        assert score.iou == pytest.approx(score.f1 / (2 - score.f1))
        assert score.support == matrix[code].sum()
        assert min(score.precision, score.recall) - 1e-12 <= score.f1 <= max(score.precision, score.recall) + 1e-12


def test_policy_moves_unclassified_truth_only() -> None:
    damage = np.arange(36, dtype=np.int64).reshape(6, 6)
    ignored, moved = scored_damage(damage, "ignore"), scored_damage(damage, "no_damage")
    np.testing.assert_array_equal(ignored[1:5], damage[1:5])
    assert not ignored[[0, 5]].any()
    np.testing.assert_array_equal(moved[1], damage[1] + damage[5])
    np.testing.assert_array_equal(scored_damage(damage, "class"), ignored)
    assert damage[0, 1] == 1, "the counts given are left as they were"


def test_present_class_variant_leaves_absent_classes_out() -> None:
    truth = np.array([[1, 1, 4, 4]], np.uint8)
    counts = count([(np.ones_like(truth), truth, np.array([[1, 1, 4, 1]], np.uint8))])
    f1 = {"no": 4 / 5, "destroyed": 2 / 3}
    assert present_class_damage_f1(counts) == pytest.approx(2 / sum(1 / v for v in f1.values()), abs=1e-5)
    assert official_score(counts)["damage_f1"] < 1e-5
    assert present_class_damage_f1(Counts.zero()) == 0


NO_BUILDINGS = pd.DataFrame(columns=list(MATCH_COLUMNS)).astype(MATCH_COLUMNS)

NO_PROBABILITIES = pd.DataFrame({"curve": np.repeat(CURVES, STEPS), "seen": 0, "true": 0})


class _Truth:
    def __init__(self, images: dict[str, Image]) -> None:
        self.images = images

    def scene(self, name: str) -> _Truth:
        self.building, self.damage, _ = self.images[name]
        self.pre = self.post = np.zeros((*self.damage.shape, 3), np.uint8)
        return self


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    images = {f"s{number}": draw_image(rng) for number in range(6)}
    images["empty"] = (np.zeros((3, 3), np.uint8),) * 3
    names = list(images)
    scenes = pd.DataFrame({"scene": names, "disaster": [*list("ababab"), "c"], "disaster_type": ["fire"] * 7})
    splits = pd.DataFrame({"scene": names, "split": "test"})
    return count_scenes(
        {name: lambda name=name: images[name][2] for name in names}, _Truth(images), scenes, splits, "test"
    ).assign(images=lambda t: t["scene"].map(images))


def test_summary_is_plain_and_agrees_with_itself(table: pd.DataFrame) -> None:
    summary = summarise(table, NO_BUILDINGS, NO_PROBABILITIES)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["n_scenes"] == 7
    assert summary["splits"] == {"test": 7}
    for code in SCORED:
        assert summary[f"damage_f1_{code.name.lower()}"] == summary["damage"][code.word]["f1"]
    assert summary["localization_f1"] == summary["localization"]["building"]["f1"]
    assert np.sum(summary["confusion"]["damage"]) == np.sum(summary["confusion"]["localization"])
    assert summary["constant_prediction"] in [code.word for code in Damage]


def test_each_event_is_scored_from_its_own_scenes(table: pd.DataFrame) -> None:
    events = summarise(table, NO_BUILDINGS, NO_PROBABILITIES, "no_damage")["events"]
    for event, rows in table.groupby("disaster"):
        expected = official(list(rows["images"]), "no_damage")
        assert {key: events[event][key] for key in expected} == pytest.approx(expected, abs=1e-12)
    assert {event: numbers["n_scenes"] for event, numbers in events.items()} == {"a": 3, "b": 3, "c": 1}
    low, high = events["a"]["score_interval"]
    assert low <= events["a"]["score"] + 1e-9
    assert events["a"]["score"] - 1e-9 <= high
    assert events["c"]["score_interval"] is None, "one scene tells nothing of others"


def test_macro_weighs_each_event_the_same(table: pd.DataFrame) -> None:
    summary = summarise(table, NO_BUILDINGS, NO_PROBABILITIES)
    for key, value in summary["macro_over_events"].items():
        assert value == pytest.approx(np.mean([numbers[key] for numbers in summary["events"].values()]))
    assert "n_scenes" not in summary["macro_over_events"]


def test_intervals_are_part_of_the_summary_and_follow_the_seed(table: pd.DataFrame) -> None:
    one, again, other = (
        summarise(table, NO_BUILDINGS, NO_PROBABILITIES, "ignore", IntervalParams(draws=100, seed=seed))
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one["intervals"] != other["intervals"]
    assert all(low <= one[key] + 1e-9 and one[key] - 1e-9 <= high for key, (low, high) in one["intervals"].items())


def test_scene_scores_rank_scenes_with_buildings(table: pd.DataFrame) -> None:
    scores = scene_scores(table)
    assert "empty" not in scores.index
    assert scores.between(0, 1).all()


def test_scene_score_of_a_perfect_scene_is_one_and_of_a_blind_one_zero() -> None:
    truth = np.array([[0, 1, 1, 4]], np.uint8)
    building = (truth > 0).astype(np.uint8)
    images = {"blind": (building, truth, np.zeros_like(truth)), "perfect": (building, truth, truth)}
    images["unjudged"] = (building, building * np.uint8(5), building)
    names = list(images)
    facts = pd.DataFrame({"scene": names, "disaster": "a", "disaster_type": "fire", "split": "test"})
    counted = count_scenes(
        {name: lambda name=name: images[name][2] for name in names},
        _Truth(images),
        facts.drop(columns="split"),
        facts[["scene", "split"]],
        "test",
    )
    assert scene_scores(counted).to_dict() == {"blind": 0.0, "perfect": 1.0, "unjudged": 1.0}


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


def test_median_scenes_stand_in_the_middle() -> None:
    scores = pd.Series({name: place / 10 for place, name in enumerate("abcdefg")})
    assert choose_scenes(scores, best=1, median=1, worst=1) == {"g": "best", "d": "median", "a": "worst"}
