from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from xview2_siamese_unet.config.reporting import IntervalParams
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.buildings import MATCH_COLUMNS
from xview2_siamese_unet.metrics.calibration import CURVES, STEPS
from xview2_siamese_unet.metrics.confusion import COUNT_COLUMNS, Counts, total
from xview2_siamese_unet.metrics.scores import official_score
from xview2_siamese_unet.metrics.summary import count_scenes, scene_scores, scenes_fingerprint, summarise_scores

BUILDING = np.array([[0, 1], [1, 1]], np.uint8)
DAMAGE = np.array([[0, 1], [4, 5]], np.uint8)


class EqualScenes:
    """Store in which all scenes are equal; records the names of loaded scenes."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def scene(self, name: str) -> EqualScenes:
        self.loaded.append(name)
        self.building, self.damage = BUILDING, DAMAGE
        self.pre = self.post = np.zeros((2, 2, 3), np.uint8)
        return self


SCENES = pd.DataFrame(
    {"scene": ["b", "a", "c"], "tier": "test", "disaster": ["y", "x", "x"], "disaster_type": ["fire", "wind", "wind"]}
)
SPLITS = pd.DataFrame({"scene": ["c", "b", "a"], "split": ["train", "test", "test"]})


def test_rows_are_scenes_and_column_names_give_truth_then_prediction() -> None:
    predicted = {"b": lambda: np.array([[2, 1], [0, 5]], np.uint8), "a": lambda: DAMAGE}
    table = count_scenes(predicted, EqualScenes(), SCENES, SPLITS, "test")
    assert table[["scene", "split", "disaster", "disaster_type"]].to_numpy().tolist() == [
        ["a", "test", "x", "wind"],
        ["b", "test", "y", "fire"],
    ]
    row = table.set_index("scene").loc["b"]
    counts = row.drop(["split", "disaster", "disaster_type"])
    assert counts[counts > 0].to_dict() == {
        "localization_0_1": 1,
        "localization_1_0": 1,
        "localization_1_1": 2,
        "damage_0_2": 1,
        "damage_1_1": 1,
        "damage_4_0": 1,
        "damage_5_5": 1,
    }
    assert len(counts) == 40
    assert set(table.dtypes.iloc[4:]) == {np.dtype(np.int64)}


ALL_TEST = SPLITS.assign(split="test")


def test_one_scene_is_loaded_at_a_time() -> None:
    events: list[str] = []
    store = EqualScenes()

    def load(name: str) -> np.ndarray:
        events.append(f"{name} after {len(store.loaded)}")
        return DAMAGE

    count_scenes({name: lambda name=name: load(name) for name in "cab"}, store, SCENES, ALL_TEST, "test")
    assert events == ["a after 1", "b after 2", "c after 3"]


def test_predictions_of_other_scenes_are_not_read() -> None:
    predicted = {name: lambda: DAMAGE for name in ("a", "b", "c", "left-behind")}
    store = EqualScenes()
    assert list(count_scenes(predicted, store, SCENES, SPLITS, "test")["scene"]) == ["a", "b"]
    assert store.loaded == ["a", "b"]


def test_fingerprint_depends_on_scenes_and_truth_but_not_on_predictions() -> None:
    one, other = (
        count_scenes(
            {name: lambda predicted=predicted: predicted for name in "abc"}, EqualScenes(), SCENES, ALL_TEST, "test"
        )
        for predicted in (DAMAGE, np.zeros((2, 2), np.uint8))
    )
    assert scenes_fingerprint(one) == scenes_fingerprint(other) == scenes_fingerprint(one[::-1])
    assert scenes_fingerprint(one) != scenes_fingerprint(one[1:])
    assert scenes_fingerprint(one) != scenes_fingerprint(one.assign(scene=["a", "b", "d"]))
    assert scenes_fingerprint(one) != scenes_fingerprint(one.assign(damage_4_4=one["damage_4_4"] + 1))


PREDICTED = {name: lambda: DAMAGE for name in "abc"}


@pytest.mark.parametrize(
    ("predicted", "scenes", "splits", "split", "message"),
    [
        ({"a": PREDICTED["a"]}, SCENES, SPLITS, "test", r"^Scene b has no prediction \(1 of 2"),
        (PREDICTED, SCENES[1:], SPLITS, "test", r"^Scene b is not in the table of scenes \(1 of 2"),
        (PREDICTED, SCENES, pd.concat([SPLITS, SPLITS]), "test", "^Scene a is listed more than once"),
        (PREDICTED, pd.concat([SCENES, SCENES]), SPLITS, "test", "^Scene a is listed more than once"),
        (PREDICTED, SCENES, SPLITS, "validation", "^Split validation has no scene"),
    ],
)
def test_an_incomplete_split_is_not_scored(
    predicted: dict, scenes: pd.DataFrame, splits: pd.DataFrame, split: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        count_scenes(predicted, EqualScenes(), scenes, splits, split)


NO_BUILDINGS = pd.DataFrame(columns=list(MATCH_COLUMNS)).astype(MATCH_COLUMNS)
NO_PROBABILITIES = pd.DataFrame({"curve": np.repeat(CURVES, STEPS), "seen": 0, "true": 0})


@pytest.fixture
def table() -> pd.DataFrame:
    """Six scenes of two events, and one without a building."""
    rows = np.random.default_rng(3).integers(0, 100, (7, len(COUNT_COLUMNS)))
    rows[6, 2:4] = rows[6, 10:] = 0
    facts = {"scene": [*"012345", "empty"], "split": "test", "disaster": [*"ababab", "c"], "disaster_type": "fire"}
    return pd.DataFrame(facts).join(pd.DataFrame(rows, columns=COUNT_COLUMNS))


def test_summary_is_plain_json_and_consistent(table: pd.DataFrame) -> None:
    summary = summarise_scores(table, NO_BUILDINGS, NO_PROBABILITIES)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["n_scenes"] == 7
    assert summary["splits"] == {"test": 7}
    for code in SCORED:
        assert summary[f"damage_f1_{code.name.lower()}"] == summary["damage"][code.word]["f1"]
    assert summary["localization_f1"] == summary["localization"]["building"]["f1"]
    assert summary["constant_prediction"] in [code.word for code in Damage]


def test_each_event_is_scored_from_its_own_scenes(table: pd.DataFrame) -> None:
    events = summarise_scores(table, NO_BUILDINGS, NO_PROBABILITIES, "no_damage")["events"]
    for event, rows in table.groupby("disaster"):
        expected = official_score(total(rows), "no_damage")
        assert {key: events[event][key] for key in expected} == expected
    assert {event: numbers["n_scenes"] for event, numbers in events.items()} == {"a": 3, "b": 3, "c": 1}
    low, high = events["a"]["score_interval"]
    assert low <= events["a"]["score"] + 1e-9
    assert events["a"]["score"] - 1e-9 <= high
    assert events["c"]["score_interval"] is None, "one scene has no interval"


def test_events_outside_of_training_are_scored_separately(table: pd.DataFrame) -> None:
    def unseen(seen: list[str] | None) -> dict[str, Any] | None:
        summary = summarise_scores(table, NO_BUILDINGS, NO_PROBABILITIES, training_events=seen)
        return cast("dict[str, Any] | None", summary["unseen_events"])

    unseen_summary = unseen(["b"])
    assert unseen_summary is not None
    rows = table[table["disaster"] != "b"]
    assert {key: unseen_summary[key] for key in official_score(total(rows))} == official_score(total(rows))
    assert (unseen_summary["names"], unseen_summary["n_scenes"]) == (["a", "c"], 4)
    assert unseen(["a", "b", "c"]) == {"names": [], "n_scenes": 0}
    single = unseen(["a", "b"])
    assert single is not None
    assert single["intervals"] is None, "one scene has no interval"
    assert unseen(None) is None, "unknown for an older checkpoint"


def test_macro_average_weights_each_event_equally(table: pd.DataFrame) -> None:
    summary = summarise_scores(table, NO_BUILDINGS, NO_PROBABILITIES)
    for key, value in summary["macro_over_events"].items():
        assert value == pytest.approx(np.mean([numbers[key] for numbers in summary["events"].values()]))
    assert "n_scenes" not in summary["macro_over_events"]


def test_intervals_are_part_of_the_summary_and_depend_on_the_seed(table: pd.DataFrame) -> None:
    one, again, other = (
        summarise_scores(table, NO_BUILDINGS, NO_PROBABILITIES, "ignore", IntervalParams(draws=100, seed=seed))
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one["intervals"] != other["intervals"]
    assert all(low <= one[key] + 1e-9 and one[key] - 1e-9 <= high for key, (low, high) in one["intervals"].items())


def test_scenes_with_buildings_have_a_score(table: pd.DataFrame) -> None:
    scores = scene_scores(table)
    assert list(scores.index) == list("012345")
    assert scores.between(0, 1).all()


def test_scene_score_of_a_perfect_scene_is_one_and_of_an_empty_prediction_zero() -> None:
    missed, perfect, ignored = Counts.zero(), Counts.zero(), Counts.zero()
    missed.localization[1, 0] = perfect.localization[1, 1] = ignored.localization[1, 1] = 3
    missed.damage[4, 0] = perfect.damage[4, 4] = ignored.damage[5, 1] = 3
    rows = pd.DataFrame([counts.row() for counts in (missed, perfect, ignored)], columns=COUNT_COLUMNS)
    scores = scene_scores(rows.assign(scene=["missed", "perfect", "ignored"]))
    assert scores.to_dict() == {"missed": 0.0, "perfect": 1.0, "ignored": 1.0}
