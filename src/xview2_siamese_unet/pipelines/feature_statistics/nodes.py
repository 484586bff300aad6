"""Nodes of `feature_statistics`: store and splits → counts, weights, channel statistics, charts."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from xview2_siamese_unet import stats
from xview2_siamese_unet.config.feature_statistics import FeatureStatisticsParams
from xview2_siamese_unet.config.modelling import ClassesParams
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.report.figures import draw_class_histogram


def count_training_classes(store: Store, splits: pd.DataFrame) -> stats.ClassCounts:
    """Return the pixels of each class in the training split, in both images."""
    return stats.count_classes(_training_records(store, splits))


def tabulate_split_classes(store: Store, splits: pd.DataFrame, building_counts: pd.DataFrame) -> pd.DataFrame:
    """Return scenes, buildings and pixels of each class in each split."""
    records = store.records[store.rows(splits["scene"].tolist())]
    return stats.tabulate_balance(splits, records["damage_pixels"], building_counts)


def plot_balance(class_balance: pd.DataFrame) -> Figure:
    """Return a chart of the pixels of each class in each split."""
    counts = {
        str(split): dict(zip(rows["class"], rows["pixels"], strict=True))
        for split, rows in class_balance.groupby("split", sort=False)
    }
    return draw_class_histogram(counts)


def weigh_counted_classes(
    class_counts: stats.ClassCounts, params: FeatureStatisticsParams, classes: ClassesParams
) -> dict[str, list[float]]:
    """Return one weight per class of each head."""
    return stats.weigh_classes(class_counts, params.class_weights, classes.unclassified)


def weigh_training_scenes(
    store: Store, splits: pd.DataFrame, params: FeatureStatisticsParams
) -> dict[str, list[object]]:
    """Return the scenes of the training split and their sampling weights."""
    weights = stats.weigh_samples(_training_records(store, splits), params.sample_weights)
    return {"scenes": _training_scenes(splits), "weights": weights.tolist()}


def measure_channels(store: Store, splits: pd.DataFrame) -> dict[str, dict[str, list[float]]]:
    """Return mean and standard deviation of the channels over the training split."""
    return stats.channel_statistics(_training_records(store, splits))


def _training_scenes(splits: pd.DataFrame) -> list[str]:
    return splits.loc[splits["split"] == "train", "scene"].tolist()


def _training_records(store: Store, splits: pd.DataFrame) -> np.ndarray:
    return store.records[store.rows(_training_scenes(splits))]
