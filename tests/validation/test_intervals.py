"""Intervals compared with formulas by hand, all small populations, and a small simulation."""

from __future__ import annotations

import math
import runpy
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom

from xview2_siamese_unet.validation.intervals import count_interval, limits, ratio_interval
from xview2_siamese_unet.validation.zones import zone_intervals

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "bench_intervals.py"


def test_the_stratified_estimate_and_its_variance_by_hand() -> None:
    damaged, labelled, sizes = np.array([60, 150]), np.array([600, 200]), np.array([9000, 1000])
    # 9000 · 0.1 + 1000 · 0.75
    estimate, low, high = count_interval(damaged, labelled, sizes)
    assert estimate == pytest.approx(1650)
    # N² (1 - n/N) p (1 - p) / (n - 1) of each stratum
    variance = 9000**2 * (1 - 600 / 9000) * 0.09 / 599 + 1000**2 * (1 - 200 / 1000) * 0.1875 / 199
    error = 1.96 * math.sqrt(variance)
    # Half a label of the first stratum, which stands for 15 buildings, moves each limit outwards by at most 7.5.
    assert error - 8 < 1650 - low < error + 8
    assert error < high - 1650 < error + 15  # a small count has a longer right tail


@pytest.mark.parametrize(("damaged", "labelled"), [(1, 50), (5, 50), (20, 100)])
def test_one_stratum_is_close_to_the_mid_p_interval(damaged: int, labelled: int) -> None:
    low, high = limits(np.array([damaged]), np.array([labelled]), np.array([10**7]))
    # P(X < x) + P(X = x) / 2 and P(X > x) + P(X = x) / 2 are 2.5 %
    share = high / 1e7
    assert binom.cdf(damaged, labelled, share) - binom.pmf(damaged, labelled, share) / 2 == pytest.approx(
        0.025, abs=0.01
    )
    share = low / 1e7
    assert binom.sf(damaged, labelled, share) + binom.pmf(damaged, labelled, share) / 2 == pytest.approx(
        0.025, abs=0.015
    )


def test_no_damaged_label_of_one_stratum_is_close_to_the_exact_limit() -> None:
    low, high = limits(np.array([0]), np.array([50]), np.array([10**7]))
    assert low == pytest.approx(0, abs=1)
    assert binom.cdf(0, 50, high / 1e7) == pytest.approx(0.025, abs=0.003)


def test_exact_coverage_of_every_small_population() -> None:
    sizes, labelled = np.array([12, 6]), np.array([4, 3])
    samples = np.array(list(product(range(5), range(4))))
    each = count_interval(samples, np.broadcast_to(labelled, samples.shape), np.broadcast_to(sizes, samples.shape))
    coverage = []
    for first, second in product(range(13), range(7)):
        chance = hypergeom.pmf(samples[:, 0], 12, first, 4) * hypergeom.pmf(samples[:, 1], 6, second, 3)
        assert chance.sum() == pytest.approx(1)
        coverage.append(chance[(each.low <= first + second) & (first + second <= each.high)].sum())
    assert np.mean(coverage) > 0.96
    assert np.min(coverage) > 0.86  # the lowest of all 91 populations


def test_without_a_damaged_label_the_upper_limit_is_above_zero() -> None:
    estimate, low, high = count_interval(np.array([0, 0]), np.array([30, 20]), np.array([900, 100]))
    assert (estimate, low) == (0, 0)
    # 97.5 % of samples contain a damaged building if 11.6 % of the larger stratum are damaged.
    assert 0.09 * 900 < high < 0.125 * 900


def test_a_stratum_without_labels_has_the_widest_interval() -> None:
    _, low, high = count_interval(np.array([5, 0]), np.array([10, 0]), np.array([10, 90]))
    assert (low, high) == (5, 95)


def test_a_fully_labelled_population_has_no_interval_width() -> None:
    assert count_interval(np.array([2, 3]), np.array([10, 5]), np.array([10, 5])) == (5, 5, 5)


def small_survey(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    damaged, undamaged, unlabelled = np.array(rows).T
    return damaged, damaged + undamaged, damaged + undamaged + unlabelled


strata = st.lists(st.tuples(*[st.integers(0, 30)] * 3), min_size=1, max_size=6).filter(
    lambda rows: sum(damaged + undamaged for damaged, undamaged, _ in rows) > 0
)


@given(strata)
def test_limits_are_consistent_with_the_labels(rows: list[tuple[int, int, int]]) -> None:
    damaged, labelled, sizes = small_survey(rows)
    _, low, high = count_interval(damaged, labelled, sizes)
    assert damaged.sum() <= low <= high <= sizes.sum() - (labelled - damaged).sum()
    assert (low < high) == (sizes.sum() > labelled.sum())


@given(strata)
def test_intervals_of_damaged_and_undamaged_are_symmetric(rows: list[tuple[int, int, int]]) -> None:
    damaged, labelled, sizes = small_survey(rows)
    one, other = count_interval(damaged, labelled, sizes), count_interval(labelled - damaged, labelled, sizes)
    assert (one.low, one.high) == (sizes.sum() - other.high, sizes.sum() - other.low)
    assert one.estimate + other.estimate == pytest.approx(sizes.sum())


def test_the_interval_of_a_share_follows_from_its_uncertain_count() -> None:
    exact = (np.array([30]), np.array([40]), np.array([40]))
    assert ratio_interval(exact, (np.array([10]), np.array([20]), np.array([20]))) == (0.75, 0.75)
    rest = (np.array([10]), np.array([100]), np.array([1000]))
    _, low, high = count_interval(*rest)
    # Only `rest` is uncertain, so its limits give those of the share.
    interval = ratio_interval(exact, rest)
    assert interval == pytest.approx((30 / (30 + high), 30 / (30 + low)), abs=0.015)
    nothing = (np.array([0]), np.array([10]), np.array([20]))
    assert ratio_interval(nothing, nothing) == (0.0, 1.0)


def test_limits_of_zones_are_consistent_with_their_labels() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 40, (30, 4))
    labelled = rng.binomial(sizes, 0.1)
    labelled[3] = sizes[3]
    damaged = rng.binomial(labelled, [0.02, 0.1, 0.5, 0.9])
    each = zone_intervals(damaged, labelled, sizes)
    assert (each.low >= damaged.sum(1)).all()
    assert (each.high <= sizes.sum(1) - (labelled - damaged).sum(1)).all()
    assert ((each.low < each.high) == (sizes.sum(1) > labelled.sum(1))).all()
    assert each.low[3] == each.high[3] == damaged[3].sum()
    again = zone_intervals(damaged, labelled, sizes)
    np.testing.assert_array_equal(each.low, again.low)


def test_a_zone_is_estimated_mainly_from_its_own_labels() -> None:
    sizes = np.array([[500], [500], [500]])
    labelled = np.array([[60], [60], [0]])
    each = zone_intervals(np.array([[54], [6], [0]]), labelled, sizes)
    assert each.low[0] > 390  # 90 % of the labels
    assert each.high[1] < 110  # 10 %
    assert each.low[2] < 50  # no labels, and the other zones differ
    assert each.high[2] > 450


@pytest.fixture(scope="module")
def benchmark_code() -> dict[str, Any]:
    return runpy.run_path(str(BENCHMARK))


@pytest.mark.parametrize(("prevalence", "auc", "count"), [(0.01, 0.6, 50), (0.03, 0.8, 100), (0.1, 0.95, 100)])
def test_coverage_of_simulated_populations(
    benchmark_code: dict[str, Any], prevalence: float, auc: float, count: int
) -> None:
    populations = 60
    one = benchmark_code["simulate"](prevalence, auc, count, populations)
    assert one["coverage"] * populations >= binom.ppf(0.001, populations, 0.95)
    if auc == 0.95:
        assert one["width"] / one["plain_width"] < 0.8


@pytest.mark.parametrize("scores", ["reversed", "constant", "shifted up"])
def test_wrong_scores_do_not_reduce_the_coverage(benchmark_code: dict[str, Any], scores: str) -> None:
    one = benchmark_code["simulate"](0.1, 0.8, 100, 60, scores)
    assert one["coverage"] * 60 >= binom.ppf(0.001, 60, 0.95)


def test_coverage_with_predictions_that_came_after_the_sample(benchmark_code: dict[str, Any]) -> None:
    one = benchmark_code["simulate_later"](0.1, 0.95, 100, 12)
    assert one["coverage"] * 12 >= binom.ppf(0.001, 12, 0.95)
    assert one["width"] < 0.85 * one["without"]


def test_coverage_in_zones_that_differ(benchmark_code: dict[str, Any]) -> None:
    one = benchmark_code["simulate_zones"](0.1, 0.8, 100, 1.5, 6)
    assert one["coverage"] > 0.85
