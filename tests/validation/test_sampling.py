"""The validation sample: strata, allocation, weights, larger samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from survey_data import assessed

from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.inference.buildings import ABSTAINED
from xview2_siamese_unet.validation.sampling import allocate, draw, in_population, new_population, spreads, stratify


@pytest.fixture
def town() -> pd.DataFrame:
    """2,000 buildings, a tenth of them predicted as damaged, with random confidence."""
    rng = np.random.default_rng(0)
    codes = rng.choice([1, 2, 3, 4], 2000, p=[0.9, 0.05, 0.03, 0.02])
    return assessed(codes.tolist(), rng.uniform(0.4, 1, 2000))


def test_neyman_allocation_by_hand() -> None:
    # N · s = 400, 100, 500: in proportion 40, 10, 50
    np.testing.assert_array_equal(allocate(np.array([4000, 250, 1000]), np.array([0.1, 0.4, 0.5]), 100), [40, 10, 50])
    # the third has only 20, and the others share 80 in proportion 4 : 1
    np.testing.assert_array_equal(allocate(np.array([4000, 250, 20]), np.array([0.1, 0.4, 25]), 100), [64, 16, 20])
    # at least five labels, or all buildings of a smaller stratum
    np.testing.assert_array_equal(allocate(np.array([10_000, 100, 3]), np.array([0.5, 0.001, 0.001]), 60), [52, 5, 3])


@pytest.mark.parametrize("count", [7, 50, 101, 999, 2000, 5000])
def test_the_requested_number_of_labels_is_allocated(count: int) -> None:
    sizes, spread = np.array([1500, 300, 150, 50]), np.array([0.3, 0.5, 0.6, 0.7])
    labels = allocate(sizes, spread, count)
    assert labels.sum() == min(max(count, 20), 2000)
    assert (labels <= sizes).all()


def test_strata_are_classes_split_by_confidence(town: pd.DataFrame) -> None:
    strata = stratify(town, 200)
    for name, rows in town.groupby(strata):
        assert rows["damage"].nunique() == 1, name
    assert strata.nunique() >= 10
    spread = pd.Series(spreads(town))
    first, second = (spread[strata == f"no-damage {number}"] for number in (1, 2))
    assert first.max() <= second.min()  # the highest confidence first
    # Every part of a class gets about equally many labels.
    mass = spread.groupby(strata).sum()
    parts = mass[mass.index.str.startswith("no-damage")]
    assert parts.max() / parts.min() < 1.05


def test_full_confidence_still_has_a_spread() -> None:
    confident, uncertain = spreads(assessed([1, 1], [1.0, 0.25]))
    assert confident > 0.3 * uncertain
    assert uncertain == pytest.approx(np.sqrt(0.75))


def test_weights_add_up_to_all_buildings_and_a_seed_repeats_the_sample(town: pd.DataFrame) -> None:
    population = new_population(town, 200, seed=3)
    sample = draw(population, 200)
    assert len(sample) == 200
    assert sample["building_id"].is_unique
    assert sample["weight"].sum() == pytest.approx(2000, abs=0.01)
    pd.testing.assert_frame_equal(sample, draw(new_population(town, 200, seed=3), 200))
    other = draw(new_population(town, 200, seed=4), 200)
    assert len(set(sample["building_id"]) & set(other["building_id"])) < 60


def test_every_building_of_a_stratum_is_equally_likely(town: pd.DataFrame) -> None:
    drawn = pd.Series(0, index=town["building_id"])
    for seed in range(60):
        drawn[draw(new_population(town, 200, seed), 200)["building_id"]] += 1
    population = new_population(town, 200, 0)
    for _, ids in population.groupby("stratum")["building_id"]:
        counts = drawn[ids]
        chance = counts.mean() / 60
        assert counts.var() / (60 * chance * (1 - chance)) == pytest.approx(1, abs=0.5)


def test_the_first_part_of_a_sample_covers_the_strata(town: pd.DataFrame) -> None:
    sample = draw(new_population(town, 200, 0), 200)
    assert sample["stratum"].iloc[:60].nunique() >= 9
    assert not sample["stratum"].is_monotonic_increasing


@pytest.mark.parametrize("larger", [201, 240, 600, 2000])
def test_a_larger_sample_contains_the_smaller_one(town: pd.DataFrame, larger: int) -> None:
    population = new_population(town, 200, 0)
    before = draw(population, 200)
    after = draw(population, larger, before["building_id"].tolist())
    assert set(before["building_id"]) <= set(after["building_id"])
    assert larger <= len(after) <= larger + 10
    assert set(draw(population, 50, before["building_id"].tolist())["building_id"]) == set(before["building_id"])


def test_without_predictions_the_sample_is_simple_random() -> None:
    town = assessed([None] * 300)
    assert in_population(town).all()
    sample = draw(new_population(town, 50, 0), 50)
    assert set(sample["stratum"]) == {"no prediction"}
    assert set(sample["weight"]) == {6.0}


def test_invisible_buildings_and_those_without_id_are_not_in_the_population() -> None:
    town = assessed([1, 2, None, None, 4])
    town.loc[2, "reason"] = "outside the overlap of the images"
    town.loc[3, "status"] = ABSTAINED
    town.loc[4, "building_id"] = None
    assert in_population(town).tolist() == [True, True, False, True, False]


def test_zones_can_be_strata() -> None:
    town = assessed([1, 4] * 100)
    zones = ["north", "north", "south", "south"] * 50
    population = new_population(town, 40, 0, zones)
    sample = draw(population, 40)
    counts = sample["stratum"].value_counts()
    assert set(counts.index) == {f"{zone}: {what}" for zone in ("north", "south") for what in ("damaged", "other")}
    assert counts.min() >= 5
    with pytest.raises(ConfigError, match=r"2 zones need at least 20 labels, and --count is 10"):
        new_population(town, 10, 0, zones)


def test_empty_and_ambiguous_assessments_are_refused() -> None:
    with pytest.raises(DataError, match="no building to label"):
        new_population(assessed([]), 50, 0)
    twice = assessed([1, 1]).assign(building_id="x")
    with pytest.raises(DataError, match="1 ids of the assessment belong to several buildings; the first is 'x'"):
        new_population(twice, 50, 0)
