from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from xview2_siamese_unet.metrics.bootstrap import draw_weights, intervals, score_differences
from xview2_siamese_unet.metrics.confusion import COUNT_COLUMNS, DAMAGE_COLUMNS, total
from xview2_siamese_unet.metrics.scores import official_score

HITS = {1: 0.9, 2: 0.5, 3: 0.6, 4: 0.7}
"""Share of the pixels of a class that the simulated model classifies correctly, on average over scenes."""


def simulate_table(rng: np.random.Generator, scenes: int) -> pd.DataFrame:
    """Return counts of scenes of very different size and difficulty: lognormal sizes, beta-distributed hit rates."""
    table = {name: np.zeros(scenes, np.int64) for name in COUNT_COLUMNS}
    total = np.zeros(scenes, np.int64)
    for code, rate in HITS.items():
        pixels = rng.lognormal(7 - code / 4, 0.7, scenes).astype(np.int64)
        hit = rng.binomial(pixels, rng.beta(10 * rate, 10 * (1 - rate), scenes))
        missed = (pixels - hit) // 3
        table[f"damage_{code}_{code}"] += hit
        table[f"damage_{code}_0"] += missed
        table[f"damage_{code}_{code % 4 + 1}"] += pixels - hit - missed
        total = total + pixels - missed
        table["localization_1_0"] += missed
    table["localization_1_1"] = total
    table["localization_0_1"] = rng.binomial(total, rng.beta(2, 18, scenes))
    return pd.DataFrame(table).assign(scene=[f"s{number}" for number in range(scenes)])


def test_a_bootstrap_sample_has_as_many_scenes_as_the_table() -> None:
    weights = draw_weights(30, draws=50, seed=4)
    assert weights.shape == (50, 30)
    assert set(weights.sum(axis=1)) == {30}
    np.testing.assert_array_equal(weights, draw_weights(30, draws=50, seed=4))
    assert not np.array_equal(weights, draw_weights(30, draws=50, seed=5))


def test_intervals_contain_the_score_and_depend_on_the_seed() -> None:
    table = simulate_table(np.random.default_rng(1), 60)
    first = intervals(table)
    assert first == intervals(table)
    assert first != intervals(table, seed=1)
    score = official_score(total(table))
    for key, (low, high) in first.items():
        assert low < score[key] < high, key
        assert 0.001 < high - low < 0.3, key


def test_the_interval_of_a_single_scene_has_no_width() -> None:
    table = simulate_table(np.random.default_rng(2), 1)
    assert all(low == high for low, high in intervals(table, draws=10).values())


@pytest.mark.slow
def test_intervals_cover_a_known_truth_in_95_of_100_repetitions() -> None:
    rng = np.random.default_rng(3)
    truth = official_score(total(simulate_table(rng, 100_000)))
    repetitions = 400
    covered = dict.fromkeys(truth, 0)
    for seed in range(repetitions):
        for key, (low, high) in intervals(simulate_table(rng, 120), draws=400, seed=seed).items():
            covered[key] += low <= truth[key] <= high
    for key, count in covered.items():
        assert count / repetitions == pytest.approx(0.95, abs=0.03), key


def test_a_paired_difference_is_narrower_than_one_interval_and_zero_for_equal_tables() -> None:
    rng = np.random.default_rng(5)
    table = simulate_table(rng, 80)
    better = table.copy()
    moved = table[DAMAGE_COLUMNS[1 * 6 + 0]] // 2
    better["damage_1_0"] -= moved
    better["damage_1_1"] += moved
    assert set(map(tuple, score_differences(table, table).values())) == {(0.0, 0.0)}
    low, high = score_differences(table, better)["damage_f1_no_damage"]
    assert 0 < low < high
    alone = intervals(table)["damage_f1_no_damage"]
    assert high - low < (alone[1] - alone[0]) / 2
