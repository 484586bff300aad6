"""Estimates from labels: a published example, labels "cannot tell", later predictions, and areas."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from survey_data import assessed, stratified_by_class

from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.validation.estimation import COLUMNS, KINDS, accuracy, estimates_table, post_strata, survey
from xview2_siamese_unet.validation.statements import estimates_numbers, percents, statement

# Olofsson et al. 2014, table 8: deforestation, forest gain, stable forest, stable non-forest; here classes 1 to 4.
MATRIX = {1: [66, 0, 5, 4], 2: [0, 55, 8, 12], 3: [1, 0, 153, 11], 4: [2, 1, 9, 313]}
SHARES_OF_MAP = {1: 0.020, 2: 0.015, 3: 0.320, 4: 0.645}
BUILDINGS = 100_000


@pytest.fixture(scope="module")
def published() -> tuple[pd.DataFrame, dict[str, object]]:
    sizes = {code: round(BUILDINGS * share) for code, share in SHARES_OF_MAP.items()}
    found = survey(*stratified_by_class(sizes, MATRIX))
    numbers = accuracy(found)
    assert numbers is not None
    return estimates_table(found, {}).set_index("kind"), numbers


def test_areas_equal_those_of_olofsson_2014(published: tuple[pd.DataFrame, dict[str, object]]) -> None:
    table, _ = published
    # 235,086 ± 68,418 pixels of 10,000,000
    row = table.loc[SCORED[0].word]
    assert row["estimate"] == pytest.approx(BUILDINGS * 0.0235086, abs=0.1)
    half = BUILDINGS * 0.0068418
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.12)
    assert row["low"] == pytest.approx(row["estimate"] - half, abs=0.35 * half)
    # Longer to the right, as for rare classes.
    assert row["high"] == pytest.approx(row["estimate"] + half, abs=0.6 * half)


def test_accuracies_equal_those_of_olofsson_2014(published: tuple[pd.DataFrame, dict[str, object]]) -> None:
    _, numbers = published
    users = [numbers["users"][code.word] for code in SCORED]  # type: ignore[index]
    producers = [numbers["producers"][code.word] for code in SCORED]  # type: ignore[index]
    assert [round(each["estimate"], 2) for each in users] == [0.88, 0.73, 0.93, 0.96]
    assert [round(each["estimate"], 2) for each in producers] == [0.75, 0.85, 0.93, 0.96]
    assert round(numbers["overall"]["estimate"], 2) == 0.95  # type: ignore[index]
    # Their half widths: user's .07, .10, .04, .02, producer's .21, .23, .03, .01, overall .02.
    for each, half in zip(users, (0.07, 0.10, 0.04, 0.02), strict=True):
        assert (each["high"] - each["low"]) / 2 == pytest.approx(half, abs=0.012)
    for each, half in zip(producers, (0.21, 0.23, 0.03, 0.01), strict=True):
        assert (each["high"] - each["low"]) / 2 == pytest.approx(half, abs=0.06)
    assert sum(row[SCORED[1].word]["estimate"] for row in numbers["matrix"].values()) == pytest.approx(  # type: ignore[attr-defined]
        published[0].loc[SCORED[1].word, "estimate"], abs=0.3
    )


def test_the_error_of_a_stratified_share_by_hand(published: tuple[pd.DataFrame, dict[str, object]]) -> None:
    parts = zip(SHARES_OF_MAP.values(), [(66, 75), (0, 75), (1, 165), (2, 325)], strict=True)
    variance = sum(w**2 * (x / n) * (1 - x / n) / (n - 1) for w, (x, n) in parts)
    assert 1.96 * math.sqrt(variance) == pytest.approx(0.0068418, abs=1e-6)


def test_labels_cannot_tell_widen_the_interval_on_both_sides() -> None:
    population, buildings, ids, labels = stratified_by_class({1: 400, 4: 100}, {1: [45, 0, 0, 5], 4: [4, 0, 0, 36]})
    table = estimates_table(survey(population, buildings, ids, labels), {}).set_index("kind")
    assert (table["low_if_none"] == table["low"]).all()
    assert (table["high_if_all"] == table["high"]).all()
    hidden = labels.copy()
    hidden.loc[[0, 1, 60], "damage"] = pd.NA  # two undamaged and a destroyed one
    other = estimates_table(survey(population, buildings, ids, hidden), {}).set_index("kind")
    damaged = other.loc["damaged"]
    assert damaged["cannot_tell"] == 3
    assert damaged["labelled"] == 87
    assert damaged["estimate"] == pytest.approx(400 * 5 / 48 + 100 * 35 / 39, abs=0.06)
    assert damaged["low_if_none"] < damaged["low"] < damaged["high"] < damaged["high_if_all"]


def test_footprints_without_a_building_count_in_no_damage_class() -> None:
    """Footprints without a building are excluded from every damage class."""
    population, buildings, ids, labels = stratified_by_class({1: 400, 4: 100}, {1: [40, 0, 0, 10], 4: [4, 0, 0, 36]})
    labels.loc[0:9, "damage"] = 0
    labels.loc[50:51, "damage"] = 0
    found = survey(population, buildings, ids, labels)
    table = estimates_table(found, {}).set_index("kind")
    assert (table["labelled"] == 90).all()
    assert (table["cannot_tell"] == 0).all()
    assert table.loc["no building", "estimate"] == 400 * 10 / 50 + 100 * 2 / 40
    assert table.loc["no-damage", "estimate"] == 400 * 30 / 50 + 100 * 2 / 40
    assert table.loc["damaged", "estimate"] == 400 * 10 / 50 + 100 * 36 / 40
    assert table.loc["no building", "low"] < 85 < table.loc["no building", "high"]
    assert table.loc["no building", "predicted"] == 0
    numbers = accuracy(found)
    assert numbers is not None
    assert numbers["matrix"]["destroyed"]["no building"]["estimate"] == 100 * 2 / 40
    assert sum(cell["estimate"] for cell in numbers["matrix"]["no-damage"].values()) == 400
    assert numbers["users"]["no-damage"]["estimate"] == 30 / 50
    assert numbers["overall"]["estimate"] == (400 * 30 / 50 + 100 * 36 / 40) / 500
    sentences = estimates_numbers(estimates_table(found, {}), numbers, sample=90, outside=0)["sentences"]
    row = table.loc["no building"]
    assert f"{row['low']} to {row['high']} of 500 outlines are not buildings" in sentences[2]


def test_the_label_no_building_is_not_correct_without_a_prediction() -> None:
    buildings = assessed([None] * 50 + [4] * 50)
    population = buildings[["building_id"]].assign(stratum="x")
    ids = [f"b{number}" for number in range(0, 100, 5)]
    labels = pd.DataFrame({"building_id": ids, "damage": pd.array([0] * 20, dtype="Int8")})
    found = survey(population, buildings, ids, labels)
    numbers = accuracy(found)
    assert numbers is not None
    assert numbers["overall"]["estimate"] == 0
    assert numbers["matrix"]["no prediction"]["no building"]["estimate"] == 50
    table = estimates_table(found, {}).set_index("kind")
    assert table.loc["no building", "predicted"] == 0


def test_labels_outside_of_the_sample_are_not_used() -> None:
    population, buildings, ids, labels = stratified_by_class({1: 400, 4: 100}, {1: [45, 0, 0, 5], 4: [4, 0, 0, 36]})
    more = pd.DataFrame({"building_id": ["b399", "b398"], "damage": pd.array([4, 4], dtype="Int8")})
    one, other = (
        estimates_table(survey(population, buildings, ids, each), {}) for each in (labels, pd.concat([labels, more]))
    )
    pd.testing.assert_frame_equal(one, other)
    with pytest.raises(DataError, match="No building of the sample has a label"):
        survey(population, buildings, ids, more)


def test_another_assessment_is_refused() -> None:
    population, buildings, ids, labels = stratified_by_class({1: 40}, {1: [9, 0, 0, 1]})
    with pytest.raises(DataError, match=r"3 of 40 buildings that the sample was drawn from are not in this assessment"):
        survey(population, buildings.iloc[3:], ids, labels)
    hidden = buildings.iloc[[0]].assign(status="not_assessed", reason="no data", damage=pd.NA)
    with pytest.raises(DataError, match="1 ids of the assessment belong to several buildings; the first is 'b0'"):
        survey(population, pd.concat([buildings, hidden], ignore_index=True), ids, labels)


@pytest.fixture
def adapted() -> tuple[pd.DataFrame, pd.DataFrame, list[str], pd.DataFrame]:
    """A simple random sample, drawn without predictions, and a good model that was trained later."""
    rng = np.random.default_rng(1)
    truth = np.where(rng.random(3000) < 0.3, 4, 1)
    predicted = np.where(rng.random(3000) < 0.95, truth, 5 - truth)
    buildings = assessed(predicted.tolist(), rng.uniform(0.5, 1, 3000))
    population = buildings[["building_id"]].assign(stratum="no prediction")
    ids = [f"b{number}" for number in rng.choice(3000, 150, replace=False)]
    labels = pd.DataFrame(
        {"building_id": ids, "damage": pd.array([truth[int(building_id[1:])] for building_id in ids], dtype="Int8")}
    )
    return population, buildings, ids, labels


def test_later_predictions_narrow_the_interval(
    adapted: tuple[pd.DataFrame, pd.DataFrame, list[str], pd.DataFrame],
) -> None:
    population, buildings, ids, labels = adapted
    before = assessed([None] * 3000)
    without, with_model = (
        estimates_table(survey(population, each, ids, labels), {}).set_index("kind").loc["damaged"]
        for each in (before, buildings)
    )
    assert without["predicted"] == 0
    assert with_model["high"] - with_model["low"] < 0.65 * (without["high"] - without["low"])
    assert accuracy(survey(population, before, ids, labels)) is None


def test_parts_of_a_stratum_hold_enough_sampled_buildings(
    adapted: tuple[pd.DataFrame, pd.DataFrame, list[str], pd.DataFrame],
) -> None:
    population, buildings, ids, _ = adapted
    frame = buildings.assign(stratum=population["stratum"], drawn=buildings["building_id"].isin(ids))
    parts = post_strata(frame)
    assert parts.nunique() > 2
    assert frame["drawn"].groupby(parts).sum().min() >= 5
    few = frame.assign(drawn=frame["building_id"].isin(ids[:7]))
    assert few["drawn"].groupby(post_strata(few)).sum().min() >= 5


def test_an_area_of_all_buildings_has_the_overall_estimate(
    adapted: tuple[pd.DataFrame, pd.DataFrame, list[str], pd.DataFrame],
) -> None:
    found = survey(*adapted)
    half = np.arange(3000) % 2
    levels = {"zone": (["even", "odd"], half), "cell": (["only"], np.zeros(3000, int))}
    table = estimates_table(found, levels)
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 4 * len(KINDS)
    numbers = ["buildings", "labelled", "estimate", "low", "high"]
    whole = table[table["level"] == "all"][numbers].reset_index(drop=True)
    pd.testing.assert_frame_equal(table[table["level"] == "cell"][numbers].reset_index(drop=True), whole)
    zones = table[table["level"] == "zone"].groupby("kind")[["buildings", "labelled", "predicted"]].sum()
    assert (zones["buildings"] == 3000).all()
    assert (zones["labelled"] == 150).all()
    damaged = table[table["kind"] == "damaged"].set_index("name")
    assert damaged.loc[["even", "odd"], "estimate"].sum() == pytest.approx(damaged.loc["all", "estimate"], rel=0.03)


def test_sentences_state_intervals_and_excluded_buildings() -> None:
    population, buildings, ids, labels = stratified_by_class({1: 4000, 4: 1000}, {1: [95, 0, 0, 5], 4: [4, 0, 6, 90]})
    labels.loc[0, "damage"] = pd.NA
    found = survey(population, buildings, ids, labels)
    numbers = estimates_numbers(estimates_table(found, {}), accuracy(found), sample=205, outside=1234)
    first, second, third, fourth, *rest = numbers["sentences"]
    row = numbers["all"][0]
    assert first == f"{row['low']:,} to {row['high']:,} of 5,000 buildings are damaged (95 % interval, 199 labelled)."
    assert "buildings are destroyed or have major damage" in second
    assert third.startswith("For 1 building the labeller could not tell: between ")
    assert fourth == "1,234 more buildings are not visible or have no id: not included."
    assert rest[-1].startswith("Of the 1,000 buildings that are predicted to be destroyed, ")
    share = numbers["accuracy"]["overall"]
    low, high = math.floor(100 * share["low"]), math.ceil(100 * share["high"])
    assert rest[-2] == f"{low}% to {high}% of the buildings have the right predicted class."
    assert percents({"low": 0.8691, "high": 0.9402}) == "86% to 95%"
    assert percents({"low": 0.29, "high": 0.07}) == "29% to 7%"  # 28.999999999999996 and 7.000000000000001 in binary
    assert statement({"low": 3, "high": 3, "buildings": 3}) == "3 of 3 buildings"
