from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.table import count_scenes, each, fingerprint, total, total_by

BUILDING = np.array([[0, 1], [1, 1]], np.uint8)
DAMAGE = np.array([[0, 1], [4, 5]], np.uint8)


class OneAtATime:
    """Every scene is the same; remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def scene(self, name: str) -> OneAtATime:
        self.asked.append(name)
        self.building, self.damage = BUILDING, DAMAGE
        self.pre = self.post = np.zeros((2, 2, 3), np.uint8)
        return self


SCENES = pd.DataFrame(
    {"scene": ["b", "a", "c"], "tier": "test", "disaster": ["y", "x", "x"], "disaster_type": ["fire", "wind", "wind"]}
)
SPLITS = pd.DataFrame({"scene": ["c", "b", "a"], "split": ["train", "test", "test"]})


def test_rows_are_scenes_and_columns_say_truth_then_prediction() -> None:
    predicted = {"b": lambda: np.array([[2, 1], [0, 5]], np.uint8), "a": lambda: DAMAGE}
    table = count_scenes(predicted, OneAtATime(), SCENES, SPLITS, "test")
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


def test_sums_agree_however_rows_are_grouped() -> None:
    predicted = {name: lambda: DAMAGE for name in "abc"}
    table = count_scenes(predicted, OneAtATime(), SCENES, ALL_TEST, "test")
    whole = total(table)
    assert whole.damage.sum() == 12
    for parts in (total_by(table, "disaster"), each(table)):
        np.testing.assert_array_equal(sum(part.damage for part in parts.values()), whole.damage)
        np.testing.assert_array_equal(sum(part.localization for part in parts.values()), whole.localization)
    assert list(total_by(table, "disaster")) == ["x", "y"]


def test_one_scene_is_loaded_at_a_time() -> None:
    events: list[str] = []
    store = OneAtATime()

    def load(name: str) -> np.ndarray:
        events.append(f"{name} after {len(store.asked)}")
        return DAMAGE

    count_scenes({name: lambda name=name: load(name) for name in "cab"}, store, SCENES, ALL_TEST, "test")
    assert events == ["a after 1", "b after 2", "c after 3"]


def test_predictions_of_other_scenes_are_not_looked_at() -> None:
    predicted = {name: lambda: DAMAGE for name in ("a", "b", "c", "left-behind")}
    store = OneAtATime()
    assert list(count_scenes(predicted, store, SCENES, SPLITS, "test")["scene"]) == ["a", "b"]
    assert store.asked == ["a", "b"]


def test_fingerprint_follows_scenes_and_truth_and_no_prediction() -> None:
    one, other = (
        count_scenes({name: lambda found=found: found for name in "abc"}, OneAtATime(), SCENES, ALL_TEST, "test")
        for found in (DAMAGE, np.zeros((2, 2), np.uint8))
    )
    assert fingerprint(one) == fingerprint(other) == fingerprint(one[::-1])
    assert fingerprint(one) != fingerprint(one[1:])
    assert fingerprint(one) != fingerprint(one.assign(scene=["a", "b", "d"]))
    assert fingerprint(one) != fingerprint(one.assign(damage_4_4=one["damage_4_4"] + 1))


PREDICTED = {name: lambda: DAMAGE for name in "abc"}


@pytest.mark.parametrize(
    ("predicted", "scenes", "splits", "split", "message"),
    [
        (
            {"a": PREDICTED["a"]},
            SCENES,
            SPLITS,
            "test",
            r"^b: found a scene without a prediction \(1 of 2 in",
        ),
        (PREDICTED, SCENES[1:], SPLITS, "test", r"^b: found a scene that the table of scenes does not list \(1 of 2"),
        (PREDICTED, SCENES, pd.concat([SPLITS, SPLITS]), "test", r"^a: found a scene that stands more than once"),
        (PREDICTED, pd.concat([SCENES, SCENES]), SPLITS, "test", r"^a: found a scene that stands more than once"),
        (PREDICTED, SCENES, SPLITS, "validation", "^split validation: found no scene"),
    ],
)
def test_a_score_of_half_a_split_is_refused(
    predicted: dict, scenes: pd.DataFrame, splits: pd.DataFrame, split: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        count_scenes(predicted, OneAtATime(), scenes, splits, split)
