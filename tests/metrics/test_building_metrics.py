from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from xview2_siamese_unet.config.reporting import IntervalParams
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.errors import LabelError
from xview2_siamese_unet.metrics.buildings import (
    PIXEL_SIZES,
    building_confusion,
    building_scores,
    burn_instances,
    match_buildings,
    match_scenes,
)

SIDE = 48
NO_PROBABILITIES = np.zeros((5, SIDE, SIDE), np.uint8)
PARAMS = IntervalParams(draws=100)


def flood(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """Return the connected components of a mask by a slow flood fill."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    parts = []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            edge += near
        parts.append(part)
    return parts


def brute_force(instances: np.ndarray, codes: list[int], predicted: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the confusion matrix of buildings and their F1, comparing every true with every predicted building."""
    confusion = np.zeros((6, 6), int)
    parts = flood(predicted)
    taken = set()
    for number, code in enumerate(codes, start=1):
        pixels = {(int(y), int(x)) for y, x in zip(*np.nonzero(instances == number), strict=True)}
        if not pixels:
            continue
        partners = [k for k, part in enumerate(parts) if len(part & pixels) / len(part | pixels) > 0.5]
        assert len(partners) <= 1
        taken |= set(partners)
        confusion[code, vote(parts[partners[0]], predicted) if partners else 0] += 1
    for k, part in enumerate(parts):
        if k not in taken:
            confusion[0, vote(part, predicted)] += 1
    hits, missed, alarms = confusion[1:, 1:].sum(), confusion[1:, 0].sum(), confusion[0, 1:].sum()
    return confusion, 2 * hits / (2 * hits + missed + alarms) if hits else 0.0


def vote(part: set[tuple[int, int]], predicted: np.ndarray) -> int:
    codes = [int(predicted[pixel]) for pixel in part]
    return max(range(1, 6), key=lambda code: (codes.count(code), code))


def draw_scene(rng: np.random.Generator) -> tuple[list[str], list[int], np.ndarray]:
    """Return boxes as WKT with codes, and a prediction that shifts, drops, recolours and adds boxes."""
    wkt, codes, predicted = [], [], np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(rng.integers(0, 14)):
        (y, x), (h, w), code = rng.integers(-3, SIDE, 2), rng.integers(1, 12, 2), int(rng.integers(1, 6))
        wkt.append(shapely.box(x, y, x + w, y + h).wkt)
        codes.append(code)
        if rng.random() < 0.8:
            top, left = (max(0, int(at + rng.integers(-1, 2))) for at in (y, x))
            block = predicted[top : max(y + h, 0), left : max(x + w, 0)]
            block[...] = rng.choice([code, rng.integers(1, 6)], size=block.shape)
    if rng.random() < 0.5:
        predicted[:3, :4] = 2
    return wkt, codes, predicted


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_confusion_and_f1_equal_those_of_brute_force(seed: int) -> None:
    wkt, codes, predicted = draw_scene(np.random.default_rng(seed))
    instances = burn_instances(wkt, (SIDE, SIDE), "centre", scene="a")
    confusion, f1 = brute_force(instances, codes, predicted)
    table = match_scenes(
        {"a": lambda: predicted}, {"a": lambda: NO_PROBABILITIES}, SCENE, stored(table_of("a", wkt, codes)), "centre"
    )
    np.testing.assert_array_equal(building_confusion(table), confusion)
    assert building_scores(table, 1, "ignore", PARAMS)["f1"] == pytest.approx(f1, abs=1e-12)


SCENE = pd.DataFrame({"scene": ["a"], "disaster": ["x"], "disaster_type": ["fire"]})


def stored(buildings: pd.DataFrame) -> pq.ParquetFile:
    return pq.ParquetFile(io.BytesIO(buildings.to_parquet()))


def table_of(scene: str, wkt: list[str], codes: list[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "uid": [f"{scene}{number}" for number in range(len(wkt))],
            "scene": scene,
            "damage": [Damage(code).word for code in codes],
            "pre_polygon": wkt,
        }
    )


def test_neighbours_that_touch_stay_two_buildings() -> None:
    wkt = [shapely.box(0, 0, 10, 10).wkt, shapely.box(10, 0, 20, 10).wkt]
    predicted = np.zeros((SIDE, SIDE), np.uint8)
    predicted[:10, :10], predicted[:10, 11:20] = 4, 1
    instances = burn_instances(wkt, (SIDE, SIDE), "centre", scene="a")
    matches = match_buildings(instances, [4, 2], predicted, NO_PROBABILITIES)
    assert matches.truth.tolist() == [4, 2]
    assert matches.predicted.tolist() == [4, 1]
    assert matches.iou.tolist() == [1.0, 0.9]
    assert matches.pixels.tolist() == [100, 100]


def test_an_iou_of_one_half_is_no_match_and_a_tie_goes_to_the_worse_class() -> None:
    truth = np.zeros((4, 8), np.int32)
    truth[:, :4] = 1
    half = np.zeros((4, 8), np.uint8)
    half[:2, :4] = 3
    assert match_buildings(truth, [1], half, np.zeros((5, 4, 8), np.uint8)).predicted.tolist() == [0, 3]
    tied = np.zeros((4, 8), np.uint8)
    tied[:2, :4], tied[2:, :4] = 1, 3
    assert match_buildings(truth, [1], tied, np.zeros((5, 4, 8), np.uint8)).predicted.tolist() == [3]


def test_matches_have_confidence_and_bounding_boxes() -> None:
    truth = np.zeros((8, 8), np.int32)
    truth[:4, :2], truth[6:, 5:] = 1, 2
    predicted = np.zeros((8, 8), np.uint8)
    predicted[:4, :2], predicted[5, 0], predicted[5, 2] = 4, 1, 5
    shares = np.random.default_rng(0).integers(0, 255, (5, 8, 8), dtype=np.uint8)
    matches = match_buildings(truth, [4, 1, 2], predicted, shares)
    hit, missed, alarm = shares[4, :4, :2].mean() / 254, shares[0, 6:, 5:].mean() / 254, shares[1, 5, 0] / 254
    np.testing.assert_allclose(matches.confidence, [hit, missed, 0, alarm, np.nan], rtol=1e-12)
    frames = np.stack([matches.top, matches.left, matches.bottom, matches.right], axis=1)
    assert frames.tolist() == [[0, 0, 4, 2], [6, 5, 8, 8], [0, 0, 0, 0], [5, 0, 6, 1], [5, 2, 6, 3]]
    assert matches.pixels.tolist() == [8, 6, 0, 1, 1]


def test_the_smaller_of_two_overlapping_polygons_stays() -> None:
    wkt = [shapely.box(2, 2, 4, 4).wkt, shapely.box(0, 0, 8, 8).wkt]
    assert np.bincount(burn_instances(wkt, (8, 8), "centre", scene="a").ravel()).tolist() == [0, 4, 60]
    assert not burn_instances([], (8, 8), "centre", scene="a").any()
    with pytest.raises(LabelError, match="POINT"):
        burn_instances(["POINT (1 1)"], (8, 8), "centre", scene="a")


def test_table_lists_every_building_once_and_one_scene_is_loaded_at_a_time() -> None:
    rng = np.random.default_rng(0)
    drawn = {name: draw_scene(rng) for name in "ab"} | {"c": ([], [], np.zeros((SIDE, SIDE), np.uint8))}
    buildings = pd.concat([table_of(name, wkt, codes) for name, (wkt, codes, _) in drawn.items()])
    counts = pd.DataFrame({"scene": list("abc"), "disaster": list("xxy"), "disaster_type": "fire"})
    loaded: list[str] = []

    def load(name: str) -> np.ndarray:
        loaded.append(name)
        return drawn[name][2]

    shares = dict.fromkeys("abc", lambda: NO_PROBABILITIES)
    table = match_scenes(
        {name: lambda name=name: load(name) for name in "abc"}, shares, counts, stored(buildings), "centre"
    )
    assert loaded == list("abc")
    true = table[table["truth"] > 0]
    assert true["uid"].is_unique
    assert set(true["uid"]) <= set(buildings["uid"])
    assert set(table.loc[table["truth"] == 0, "uid"]) == {""}
    assert (table["pixels"] > 0).all()
    assert ((table["iou"] > 0.5) == ((table["truth"] > 0) & (table["predicted"] > 0))).all()


def test_buildings_without_a_pixel_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A building outside of the image, one covered by a smaller one, and one between pixel centres have no pixel."""
    boxes = [(0, 0, 10, 10), (60, 60, 70, 70), (20, 20, 24, 24), (20, 20, 24, 23.9), (30.6, 30.6, 31.4, 31.4)]
    wkt = [shapely.box(*box).wkt for box in boxes]
    predicted = np.zeros((SIDE, SIDE), np.uint8)
    buildings = table_of("a", wkt, [1] * 5)
    table = match_scenes({"a": lambda: predicted}, {"a": lambda: NO_PROBABILITIES}, SCENE, stored(buildings), "centre")
    assert table["uid"].tolist() == ["a0", "a3"]
    assert caplog.messages == ["3 of 5 labelled buildings are not matched: they are hidden or outside"]


def test_summary_counts_buildings_by_size_and_class() -> None:
    table = pd.DataFrame(
        {
            "scene": list("aaabb"),
            "truth": [1, 4, 5, 2, 0],
            "predicted": [1, 4, 1, 0, 3],
            "pixels": [50, 100, 399, 2000, 90],
        }
    )
    summary = building_scores(table, 4, "no_damage", PARAMS)
    assert (summary["precision"], summary["recall"], summary["support"]) == (3 / 4, 3 / 4, 4)
    assert [row["support"] for row in summary["sizes"].values()] == [1, 2, 0, 1]
    assert list(summary["sizes"]) == list(PIXEL_SIZES)
    assert summary["sizes"]["below 10 × 10 px"]["precision"] == 0.5
    assert [summary["damage"][code.word]["f1"] for code in SCORED] == [1, 0, 0, 1]
    assert summary["damage"]["no-damage"]["support"] == 2
    low, high = summary["f1_interval"]
    assert 0 <= low < 3 / 4 <= high <= 1
    assert np.sum(summary["confusion"]) == 5
