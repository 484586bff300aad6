from __future__ import annotations

from itertools import pairwise

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.damage import SUBTYPES
from xview2_siamese_unet.stats.buildings import SIZES, UNKNOWN, count_buildings, summarise_buildings

SCENES = pd.DataFrame(
    {
        "scene": ["a_1", "a_2", "b_1", "b_2"],
        "tier": ["tier1", "tier1", "tier1", "hold"],
        "disaster": ["a", "a", "b", "b"],
        "pixel": [0.5, float("nan"), 0.5, 0.5],
        "buildings": [2, 1, 0, 1],
    }
)
BUILDINGS = pd.DataFrame(
    {
        "scene": ["a_1", "a_1", "a_2", "b_2"],
        "damage": ["no-damage", "destroyed", "destroyed", "minor-damage"],
        "area": [199.0, 200.0, 10.0, 2000.0],
    }
)


def summary(scenes: pd.DataFrame, buildings: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return summarise_buildings(scenes, count_buildings(scenes, [buildings]))


def test_counts_by_hand() -> None:
    tables = summary(SCENES, BUILDINGS)
    assert tables["folder"].loc["tier1", ["scenes", "empty", "no-damage", "destroyed"]].tolist() == [3, 1, 1, 2]
    assert tables["event"].loc["b"].tolist() == [2, 1, 0, 1, 0, 0, 0]
    assert tables["size"].sum(axis=1).to_dict() == dict(zip([*SIZES, UNKNOWN], [1, 1, 0, 1, 1], strict=True))


def test_a_dataset_without_buildings_has_all_columns() -> None:
    tables = summary(SCENES.assign(buildings=0), BUILDINGS.iloc[:0])
    assert tables["folder"]["empty"].sum() == 4
    assert list(tables["size"].columns) == list(SUBTYPES)
    assert tables["size"].to_numpy().sum() == 0


@given(st.lists(st.booleans(), min_size=4, max_size=4))
def test_counts_of_parts_add_up(chosen: list[bool]) -> None:
    def total(scenes: pd.DataFrame) -> pd.DataFrame:
        return summary(scenes, BUILDINGS[BUILDINGS["scene"].isin(scenes["scene"])])["event"]

    first, second = SCENES[chosen], SCENES[[not one for one in chosen]]
    whole = total(SCENES)
    assert total(first).add(total(second), fill_value=0).loc[whole.index, whole.columns].astype("int64").equals(whole)


@given(st.lists(st.integers(0, 4), max_size=3))
def test_the_table_may_come_in_any_parts(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 4]
    parts = [BUILDINGS[first:last] for first, last in pairwise(edges)]
    counts = count_buildings(SCENES, parts)
    pd.testing.assert_frame_equal(counts, count_buildings(SCENES, [BUILDINGS]))
    assert counts["buildings"].sum() == len(BUILDINGS)
