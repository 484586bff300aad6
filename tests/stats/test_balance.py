from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.config.feature_statistics import ClassWeightParams, SampleWeightParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.raster.store import RECORD, count_scene
from xview2_siamese_unet.stats.balance import count_classes, trained_counts, weigh_classes, weigh_samples

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
    """Records of scenes with these pixels by damage code."""
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
    table = np.stack([count_scene(scene) for scene in scenes])
    whole, first, second = (count_classes(part) for part in (table, table[:cut], table[cut:]))
    for phase, words in whole.items():
        assert words == {word: first[phase][word] + second[phase][word] for word in words}
    pooled = np.concatenate(scenes)
    assert list(whole["post"].values()) == [int((pooled[..., 7] == code).sum()) for code in range(6)]
    assert list(whole["pre"].values()) == [int((pooled[..., 6] == code).sum()) for code in range(2)]


def test_the_words_stand_in_the_order_of_the_codes() -> None:
    assert count_classes(records([9000, 600, 25, 75, 200, 100])) == COUNTS


@pytest.mark.parametrize(
    ("policy", "post"),
    [
        ("ignore", [9000, 600, 25, 75, 200]),
        ("no_damage", [9000, 700, 25, 75, 200]),
        ("class", [9000, 600, 25, 75, 200, 100]),
    ],
)
def test_un_classified_pixels_count_as_the_experiment_says(policy: str, post: list[int]) -> None:
    assert trained_counts(COUNTS, policy) == {"pre": [9000, 1000], "post": post}
    assert COUNTS["post"]["un-classified"] == 100


def weights(phase: str = "post", **params: object) -> list[float]:
    return weigh_classes(COUNTS, ClassWeightParams(**params), "ignore")[phase]


def test_inverse_frequency_by_hand() -> None:
    got = weights("pre", method="inverse", clip=None)
    assert got == pytest.approx([0.2, 1.8])
    got = weights("pre", method="sqrt_inverse", clip=None)
    assert got == pytest.approx([0.5, 1.5])


@pytest.mark.parametrize("method", ["inverse", "sqrt_inverse", "effective_number"])
def test_the_rarer_the_heavier_with_a_mean_of_one(method: str) -> None:
    got = np.array(weights(method=method, clip=None, beta=0.999))
    assert got.mean() == pytest.approx(1)
    order = np.argsort([9000, 600, 25, 75, 200])
    assert (np.diff(got[order]) < 0).all()


def test_effective_number_goes_from_none_to_inverse() -> None:
    assert weights(method="effective_number", beta=1e-9) == pytest.approx([1] * 5)
    near = weights(method="effective_number", beta=1 - 1e-14, clip=None)
    assert near == pytest.approx(weights(method="inverse", clip=None), rel=1e-2)
    by_hand = [(1 - 0.99) / (1 - 0.99**n) for n in (9000, 1000)]
    got = weights("pre", method="effective_number", beta=0.99)
    assert got[1] / got[0] == pytest.approx(by_hand[1] / by_hand[0])


def test_nothing_is_heavier_than_the_clip(caplog: pytest.LogCaptureFixture) -> None:
    assert max(weights(method="inverse", clip=None)) > 3
    caplog.clear()
    assert max(weights(method="inverse", clip=3)) == 3
    assert any("clipped to 3" in record.getMessage() for record in caplog.records)


def test_none_and_listed_weights_are_taken_as_they_are() -> None:
    assert weights(method="none") == [1] * 5
    listed = {"method": "list", "pre": (1, 2), "post": (1, 2, 3, 4, 50), "clip": None}
    assert weights(**listed) == [1, 2, 3, 4, 50]
    assert weights("pre", **listed) == [1, 2]


@pytest.mark.parametrize("lists", [{"pre": (1, 2), "post": (1, 2, 3)}, {"pre": (1,), "post": (1, 2, 3, 4, 5)}])
def test_a_list_of_another_length_is_refused(lists: dict) -> None:
    with pytest.raises(ConfigError, match=r"feature_statistics\.class_weights\.(pre|post): found [13] weights"):
        weights(method="list", **lists)


def test_a_class_without_pixels_has_no_weight_and_moves_no_other(caplog: pytest.LogCaptureFixture) -> None:
    counts = {"pre": COUNTS["pre"], "post": COUNTS["post"] | {"minor-damage": 0}}
    got = weigh_classes(counts, ClassWeightParams(method="inverse", clip=None), "ignore")["post"]
    assert got[2] == 0
    assert [record.args for record in caplog.records] == [("minor-damage",)]
    assert np.mean([got[0], got[1], got[3], got[4]]) == pytest.approx(1)


def test_scenes_are_drawn_by_what_they_hold() -> None:
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


def test_scenes_are_drawn_by_their_share_of_rare_pixels() -> None:
    table = records([60, 30, 10, 0, 0, 0], [90, 0, 0, 10, 0, 0], [90, 0, 0, 0, 10, 0])
    params = SampleWeightParams(damaged=0, rare=0, rare_pixels=4)
    assert weigh_samples(table, params).tolist() == [2, 5, 1]


def test_a_scene_with_buildings_before_only_is_not_empty() -> None:
    table = records([100, 0, 0, 0, 0, 0])
    table["building_pixels"] = [[90, 10]]
    assert weigh_samples(table, SampleWeightParams(empty=0)).tolist() == [1]
