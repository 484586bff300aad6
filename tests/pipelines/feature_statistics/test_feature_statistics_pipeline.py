"""Counts and weights of the training split, from a store with known records."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from xview2_siamese_unet.config.feature_statistics import FeatureStatisticsParams
from xview2_siamese_unet.config.modelling import ClassesParams
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.pipelines.feature_statistics import create_pipeline, nodes
from xview2_siamese_unet.raster.store import RECORD
from xview2_siamese_unet.stats import count_classes

NAMES = [f"a-fire_{n:08d}" for n in range(4)]
SPLITS = pd.DataFrame({"scene": [NAMES[2], NAMES[0], NAMES[3]], "split": ["train", "train", "test"]})


@pytest.fixture
def store() -> SimpleNamespace:
    rng = np.random.default_rng(5)
    records = np.zeros(4, RECORD)
    records["damage_pixels"] = rng.integers(1, 100, (4, 6))
    records["building_pixels"] = rng.integers(1, 100, (4, 2))
    records["valid_pixels"] = 100
    records["channel_sums"] = rng.integers(1, 20_000, (4, 2, 3))
    records["channel_squares"] = records["channel_sums"] ** 2
    return SimpleNamespace(records=records, rows=lambda names: [NAMES.index(name) for name in names])


def test_only_the_training_split_is_counted(store: SimpleNamespace) -> None:
    counts = nodes.count_training_classes(store, SPLITS)
    assert counts == count_classes(store.records[[0, 2]])
    store.records["damage_pixels"][[1, 3]] = 0
    assert nodes.count_training_classes(store, SPLITS) == counts


def test_the_weights_of_scenes_name_their_scenes_in_order(store: SimpleNamespace) -> None:
    store.records["damage_pixels"][2] = [100, 0, 0, 0, 0, 0]
    store.records["building_pixels"][2] = [100, 0]
    params = FeatureStatisticsParams()
    got = nodes.weigh_training_scenes(store, SPLITS, params)
    assert got == {"scenes": [NAMES[2], NAMES[0]], "weights": [params.sample_weights.empty, 3.0]}


def test_class_weights_follow_the_parameter_unclassified(store: SimpleNamespace) -> None:
    counts = nodes.count_training_classes(store, SPLITS)
    params = FeatureStatisticsParams()
    lengths = {
        unclassified: len(nodes.weigh_counted_classes(counts, params, ClassesParams(unclassified=unclassified))["post"])
        for unclassified in ("ignore", "class")
    }
    assert lengths == {"ignore": 5, "class": 6}
    assert set(nodes.measure_channels(store, SPLITS)) == {"pre", "post", "both"}


def test_the_balance_of_classes_is_a_table_and_a_figure(store: SimpleNamespace) -> None:
    store.records["damage_pixels"][[0, 2], Damage.DESTROYED] = [0, 7]
    counts = pd.DataFrame(
        {
            "scene": [NAMES[2], NAMES[0], NAMES[3], NAMES[1]],  # the last is in no split
            "damage": ["destroyed", "destroyed", "minor-damage", "destroyed"],
            "buildings": [2, 3, 4, 50],
        }
    )
    table = nodes.tabulate_split_classes(store, SPLITS, counts)
    assert list(table.columns) == ["split", "class", "scenes", "buildings", "pixels", "share"]
    rows = table.set_index(["split", "class"])
    assert list(rows.index) == [(split, code.word) for split in ("train", "test") for code in Damage]
    assert rows.loc[("train", "destroyed"), ["scenes", "buildings", "pixels"]].tolist() == [1, 5, 7]
    assert rows.loc[("test", "minor-damage"), "buildings"] == 4
    assert rows["buildings"].sum() == 9
    assert rows.loc["test", "pixels"].tolist() == store.records["damage_pixels"][3].tolist()
    assert rows.groupby("split")["share"].sum().tolist() == pytest.approx([1, 1])
    chart = nodes.plot_balance(table)
    bars = [[bar.get_width() for bar in axes.patches] for axes in chart.axes]
    assert bars == [rows.loc[split, "pixels"].tolist() for split in ("train", "test")]
    assert [axes.get_title(loc="left") for axes in chart.axes] == ["Training", "Test"]


def test_a_split_without_buildings_has_rows_of_zeros(store: SimpleNamespace) -> None:
    store.records["damage_pixels"][:, 1:] = 0
    table = nodes.tabulate_split_classes(store, SPLITS, pd.DataFrame({"scene": [], "damage": [], "buildings": []}))
    assert table["buildings"].sum() == 0
    assert set(table.loc[table["class"] != "background", "share"]) == {0.0}
    assert nodes.plot_balance(table).axes


def test_the_pipeline_needs_only_store_splits_counts_and_parameters() -> None:
    pipeline = create_pipeline()
    needed = {name for name in pipeline.inputs() if not name.startswith("params:")}
    assert needed == {"store", "splits", "building_counts"}
    assert {
        "class_counts",
        "class_weights",
        "sample_weights",
        "channel_statistics",
    } <= pipeline.outputs() | pipeline.all_outputs()
