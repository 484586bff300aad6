"""Precision-recall curves and reliability diagrams against slow references that handle each pixel separately."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.metrics.calibration import (
    BINS,
    BUILDING,
    CURVES,
    MOST_LIKELY,
    STEPS,
    count_probabilities,
    curves_of,
    precision_recall,
    reliability,
    summarise_probabilities,
)
from xview2_siamese_unet.raster.io import LEVELS, as_bytes

Pixels = list[tuple[float, bool]]
"""Predicted probability of each pixel and whether the class is true."""


def draw(seed: int | list[int]) -> tuple[np.ndarray, SimpleNamespace]:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet([2, 1, 0.5, 0.5, 0.2], (9, 7)).transpose(2, 0, 1)
    shares[:, 0, :3] = [[1], [0], [0], [0], [0]]  # no building, so no probability of any class
    damage = rng.choice(6, (9, 7), p=rng.dirichlet(np.ones(6))).astype(np.uint8)
    return as_bytes(shares), SimpleNamespace(building=(rng.random((9, 7)) < 0.4).astype(np.uint8), damage=damage)


def slow_pixels(scenes: list[tuple[np.ndarray, SimpleNamespace]], unclassified: str) -> dict[str, Pixels]:
    pixels: dict[str, Pixels] = {name: [] for name in CURVES}
    for shares, truth in scenes:
        for y, x in np.ndindex(truth.damage.shape):
            pixels[BUILDING].append(((LEVELS - int(shares[0, y, x])) / LEVELS, bool(truth.building[y, x])))
            code = int(truth.damage[y, x])
            code = 1 if code == 5 and unclassified == "no_damage" else code
            if code not in list(SCORED):
                continue
            parts = [int(share) for share in shares[1:, y, x]]
            predicted = [round(LEVELS * part / sum(parts)) / LEVELS if sum(parts) else 0.0 for part in parts]
            for each, share in zip(SCORED, predicted, strict=True):
                pixels[each.word].append((share, code == each))
            likely = parts.index(max(parts))
            pixels[MOST_LIKELY].append((predicted[likely], code == likely + 1))
    return pixels


def slow_average_precision(pixels: Pixels) -> float:
    """Average precision as in scikit-learn: the sum over thresholds of precision times the gain in recall."""
    true, area, before = sum(hit for _, hit in pixels), 0.0, 0.0
    for threshold in sorted({predicted for predicted, _ in pixels}, reverse=True):
        above = [hit for predicted, hit in pixels if predicted >= threshold]
        recall = sum(above) / max(true, 1)
        area += (recall - before) * sum(above) / len(above)
        before = recall
    return area


def slow_ece(pixels: Pixels) -> float:
    error = 0.0
    for low in range(BINS):
        inside = [(predicted, hit) for predicted, hit in pixels if low == int(round(predicted * LEVELS) / STEPS * BINS)]
        if inside:
            predicted, hits = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            error += len(inside) / len(pixels) * abs(predicted - hits)
    return error


def count(scenes: list[tuple[np.ndarray, SimpleNamespace]], unclassified: str = "ignore") -> pd.DataFrame:
    names = [f"scene{number}" for number in range(len(scenes))]
    loaders = {name: lambda shares=shares: shares for name, (shares, _) in zip(names, scenes, strict=True)}
    store = SimpleNamespace(scene=lambda name: scenes[names.index(name)][1])
    return count_probabilities(loaders, store, pd.DataFrame({"scene": names}), unclassified)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["ignore", "class", "no_damage"]))
def test_curves_equal_slow_references(seed: int, unclassified: str) -> None:
    scenes = [draw([seed, number]) for number in range(3)]
    summary = summarise_probabilities(count(scenes, unclassified))
    for name, pixels in slow_pixels(scenes, unclassified).items():
        assert summary[name]["pixels"] == len(pixels), name
        assert summary[name]["average_precision"] == pytest.approx(slow_average_precision(pixels), abs=1e-12), name
        assert summary[name]["ece"] == pytest.approx(slow_ece(pixels), abs=1e-12), name
        assert summary[name]["share"] == pytest.approx(sum(hit for _, hit in pixels) / max(len(pixels), 1), abs=1e-12)


def test_counts_are_whole_numbers_that_add_up_over_scenes() -> None:
    one, two = draw(1), draw(2)
    alone = [count([scene])[["seen", "true"]].to_numpy() for scene in (one, two)]
    both = count([one, two])
    assert (both[["seen", "true"]].to_numpy() == alone[0] + alone[1]).all()
    assert both.dtypes[["step", "seen", "true"]].tolist() == [np.dtype(np.int64)] * 3


def test_a_confident_and_correct_model_has_perfect_metrics() -> None:
    damage = np.array([[0, 1, 2, 3, 4]], np.uint8)
    shares = as_bytes(np.eye(5)[:, None, :])
    table = count([(shares, SimpleNamespace(building=(damage > 0).astype(np.uint8), damage=damage))])
    for row in summarise_probabilities(table).values():
        assert (row["average_precision"], row["ece"]) == (1.0, 0.0)


def test_without_a_building_all_numbers_are_zero() -> None:
    empty = SimpleNamespace(building=np.zeros((4, 4), np.uint8), damage=np.zeros((4, 4), np.uint8))
    summary = summarise_probabilities(count([(as_bytes(np.full((5, 4, 4), 0.2)), empty)]))
    assert summary[Damage.DESTROYED.word] == {"average_precision": 0.0, "ece": 0.0, "share": 0.0, "pixels": 0}
    assert summary[BUILDING]["average_precision"] == 0


def test_recall_grows_to_one_and_bins_hold_every_pixel() -> None:
    table = count([draw(seed) for seed in range(4)])
    for rows in curves_of(table).values():
        curve, bins = precision_recall(rows), reliability(rows)
        assert (np.diff(curve.recall) >= 0).all()
        assert curve.recall[-1] == 1
        assert 0 < curve.average_precision <= 1
        assert bins.pixels.sum() == rows["seen"].sum()
        assert (np.diff(bins.predicted) > 0).all()
