from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xview2_siamese_unet.config.feature_statistics import ClassWeightParams, SampleWeightParams
from xview2_siamese_unet.damage import SUBTYPES
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.raster.store import RECORD, scene_record
from xview2_siamese_unet.stats import (
    AREA_SIZES,
    UNKNOWN,
    channel_statistics,
    count_buildings,
    count_classes,
    tabulate_building_counts,
    trained_counts,
    weigh_classes,
    weigh_samples,
)

COUNTS = {
    "pre": {"background": 9000, "building": 1000},
    "post": {
        "background": 9000,
        "no-damage": 600,
        "minor-damage": 25,
        "major-damage": 75,
        "destroyed": 200,
        "un-classified": 100,
    },
}


def records(*damage: list[int]) -> np.ndarray:
    """Return records of scenes with these pixel counts by damage code."""
    table = np.zeros(len(damage), RECORD)
    table["damage_pixels"] = damage
    table["building_pixels"] = [[pixels[0], sum(pixels[1:])] for pixels in damage]
    return table


def pixels_of(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scene = rng.integers(0, 256, (9, 7, 8), dtype=np.uint8)
    scene[..., 6], scene[..., 7] = rng.integers(0, 2, (9, 7)), rng.integers(0, 6, (9, 7))
    return scene


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=6), st.integers(0, 6))
def test_counts_of_parts_add_up_to_those_of_the_whole(seeds: list[int], cut: int) -> None:
    scenes = [pixels_of(seed) for seed in seeds]
    table = np.stack([scene_record(scene) for scene in scenes])
    whole, first, second = (count_classes(part) for part in (table, table[:cut], table[cut:]))
    for phase, counts in whole.items():
        assert counts == {name: first[phase][name] + second[phase][name] for name in counts}
    pooled = np.concatenate(scenes)
    assert list(whole["post"].values()) == [int((pooled[..., 7] == code).sum()) for code in range(6)]
    assert list(whole["pre"].values()) == [int((pooled[..., 6] == code).sum()) for code in range(2)]


def test_classes_are_in_the_order_of_their_codes() -> None:
    assert count_classes(records([9000, 600, 25, 75, 200, 100])) == COUNTS


@pytest.mark.parametrize(
    ("unclassified", "post"),
    [
        ("ignore", [9000, 600, 25, 75, 200]),
        ("no_damage", [9000, 700, 25, 75, 200]),
        ("class", [9000, 600, 25, 75, 200, 100]),
    ],
)
def test_un_classified_pixels_count_as_the_parameter_unclassified_sets(unclassified: str, post: list[int]) -> None:
    assert trained_counts(COUNTS, unclassified) == {"pre": [9000, 1000], "post": post}
    assert COUNTS["post"]["un-classified"] == 100


def weights(phase: str = "post", **params: object) -> list[float]:
    return weigh_classes(COUNTS, ClassWeightParams(**params), "ignore")[phase]


def test_inverse_frequency_by_hand() -> None:
    got = weights("pre", method="inverse", clip=None)
    assert got == pytest.approx([0.2, 1.8])
    got = weights("pre", method="sqrt_inverse", clip=None)
    assert got == pytest.approx([0.5, 1.5])


@pytest.mark.parametrize("method", ["inverse", "sqrt_inverse", "effective_number"])
def test_rarer_classes_have_larger_weights_and_the_mean_is_one(method: str) -> None:
    got = np.array(weights(method=method, clip=None, beta=0.999))
    assert got.mean() == pytest.approx(1)
    order = np.argsort([9000, 600, 25, 75, 200])
    assert (np.diff(got[order]) < 0).all()


def test_effective_number_ranges_from_equal_to_inverse_weights() -> None:
    assert weights(method="effective_number", beta=1e-9) == pytest.approx([1] * 5)
    near = weights(method="effective_number", beta=1 - 1e-14, clip=None)
    assert near == pytest.approx(weights(method="inverse", clip=None), rel=1e-2)
    by_hand = [(1 - 0.99) / (1 - 0.99**n) for n in (9000, 1000)]
    got = weights("pre", method="effective_number", beta=0.99)
    assert got[1] / got[0] == pytest.approx(by_hand[1] / by_hand[0])


def test_weights_are_clipped(caplog: pytest.LogCaptureFixture) -> None:
    assert max(weights(method="inverse", clip=None)) > 3
    caplog.clear()
    assert max(weights(method="inverse", clip=3)) == 3
    assert any("clipped to 3" in record.getMessage() for record in caplog.records)


def test_equal_and_listed_weights_are_used_unchanged() -> None:
    assert weights(method="none") == [1] * 5
    listed = {"method": "list", "pre": (1, 2), "post": (1, 2, 3, 4, 50), "clip": None}
    assert weights(**listed) == [1, 2, 3, 4, 50]
    assert weights("pre", **listed) == [1, 2]


@pytest.mark.parametrize("lists", [{"pre": (1, 2), "post": (1, 2, 3)}, {"pre": (1,), "post": (1, 2, 3, 4, 5)}])
def test_a_list_of_the_wrong_length_is_refused(lists: dict) -> None:
    with pytest.raises(ConfigError, match=r"feature_statistics\.class_weights\.(pre|post) has [13] weights"):
        weights(method="list", **lists)


def test_a_class_without_pixels_has_weight_zero_and_changes_no_other(caplog: pytest.LogCaptureFixture) -> None:
    counts = {"pre": COUNTS["pre"], "post": COUNTS["post"] | {"minor-damage": 0}}
    got = weigh_classes(counts, ClassWeightParams(method="inverse", clip=None), "ignore")["post"]
    assert got[2] == 0
    assert [record.args for record in caplog.records] == [("minor-damage",)]
    assert np.mean([got[0], got[1], got[3], got[4]]) == pytest.approx(1)


def test_sample_weights_follow_the_classes_of_a_scene() -> None:
    table = records(
        [100, 0, 0, 0, 0, 0],
        [90, 10, 0, 0, 0, 0],
        [90, 0, 0, 0, 10, 0],
        [90, 0, 0, 10, 0, 0],
        [90, 0, 10, 0, 0, 0],
        [90, 0, 0, 0, 0, 10],
    )
    params = SampleWeightParams(empty=0.25, damaged=2, rare=3)
    assert weigh_samples(table, params).tolist() == [0.25, 1, 3, 6, 6, 1]


def test_sample_weights_follow_the_share_of_rare_pixels() -> None:
    table = records([60, 30, 10, 0, 0, 0], [90, 0, 0, 10, 0, 0], [90, 0, 0, 0, 10, 0])
    params = SampleWeightParams(damaged=0, rare=0, rare_pixels=4)
    assert weigh_samples(table, params).tolist() == [2, 5, 1]


def test_a_scene_with_only_pre_disaster_buildings_is_not_empty() -> None:
    table = records([100, 0, 0, 0, 0, 0])
    table["building_pixels"] = [[90, 10]]
    assert weigh_samples(table, SampleWeightParams(empty=0)).tolist() == [1]


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
    return tabulate_building_counts(scenes, count_buildings(scenes, [buildings]))


def test_building_counts_equal_those_by_hand() -> None:
    tables = summary(SCENES, BUILDINGS)
    assert tables["folder"].loc["tier1", ["scenes", "empty", "no-damage", "destroyed"]].tolist() == [3, 1, 1, 2]
    assert tables["event"].loc["b"].tolist() == [2, 1, 0, 1, 0, 0, 0]
    assert tables["size"].sum(axis=1).to_dict() == dict(zip([*AREA_SIZES, UNKNOWN], [1, 1, 0, 1, 1], strict=True))


def test_a_dataset_without_buildings_has_all_columns() -> None:
    tables = summary(SCENES.assign(buildings=0), BUILDINGS.iloc[:0])
    assert tables["folder"]["empty"].sum() == 4
    assert list(tables["size"].columns) == list(SUBTYPES)
    assert tables["size"].to_numpy().sum() == 0


@settings(max_examples=16)  # pandas takes 30 ms each
@given(st.lists(st.booleans(), min_size=4, max_size=4))
def test_counts_of_parts_add_up(chosen: list[bool]) -> None:
    def total(scenes: pd.DataFrame) -> pd.DataFrame:
        return summary(scenes, BUILDINGS[BUILDINGS["scene"].isin(scenes["scene"])])["event"]

    first, second = SCENES[chosen], SCENES[[not each for each in chosen]]
    whole = total(SCENES)
    assert total(first).add(total(second), fill_value=0).loc[whole.index, whole.columns].astype("int64").equals(whole)


@settings(max_examples=16)  # pandas takes 30 ms each
@given(st.lists(st.integers(0, 4), max_size=3))
def test_building_counts_do_not_depend_on_how_the_table_is_split(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 4]
    parts = [BUILDINGS[first:last] for first, last in pairwise(edges)]
    counts = count_buildings(SCENES, parts)
    pd.testing.assert_frame_equal(counts, count_buildings(SCENES, [BUILDINGS]))
    assert counts["buildings"].sum() == len(BUILDINGS)


def pixels_with_gaps(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 256, (count, 8, 6, 8), dtype=np.uint8)
    pixels[:, :2, :, :3] = 0  # no data in the pre-disaster image
    pixels[..., 6] = pixels[..., 7] = 0
    return pixels


@given(st.integers(1, 4), st.integers(0, 10_000))
def test_channel_statistics_use_only_pixels_with_data(count: int, seed: int) -> None:
    pixels = pixels_with_gaps(count, seed)
    got = channel_statistics(np.stack([scene_record(scene) for scene in pixels]))
    pre, post = pixels[:, 2:, :, 0:3].reshape(-1, 3), pixels[..., 3:6].reshape(-1, 3)
    for name, values in (("pre", pre), ("post", post), ("both", np.concatenate([pre, post]))):
        assert got[name]["mean"] == pytest.approx(values.mean(axis=0))
        assert got[name]["std"] == pytest.approx(values.std(axis=0))


def test_a_flat_or_empty_channel_has_a_standard_deviation_of_one(caplog: pytest.LogCaptureFixture) -> None:
    flat = np.full((4, 4, 8), 7, np.uint8)
    flat[..., 6:] = 0
    assert channel_statistics(scene_record(flat)[None])["both"] == {"mean": [7] * 3, "std": [1] * 3}
    assert channel_statistics(np.zeros(1, RECORD))["pre"] == {"mean": [0] * 3, "std": [1] * 3}
    assert [message.split(" image")[0] for message in caplog.messages] == ["no pre-disaster", "no post-disaster"]


def test_channel_statistics_of_all_of_xbd_do_not_overflow() -> None:
    table = np.zeros(11_034, RECORD)
    table["valid_pixels"] = 1024**2
    table["channel_sums"] = 255 * 1024**2
    table["channel_squares"] = 255**2 * 1024**2
    assert channel_statistics(table)["both"]["mean"] == [255] * 3
