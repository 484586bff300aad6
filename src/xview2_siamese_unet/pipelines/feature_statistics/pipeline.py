"""Store and splits → class counts, class weights, sample weights, channel statistics, charts."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.pipelines.feature_statistics import nodes
from xview2_siamese_unet.report.figures import draw_class_histogram


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline `feature_statistics`."""
    return Pipeline(
        [
            Node(nodes.count_training_classes, ["store", "splits"], "class_counts", name="count_classes"),
            Node(
                nodes.weigh_counted_classes,
                ["class_counts", "params:feature_statistics", "params:classes"],
                "class_weights",
                name="weigh_classes",
            ),
            Node(
                nodes.weigh_training_scenes,
                ["store", "splits", "params:feature_statistics"],
                "sample_weights",
                name="weigh_samples",
            ),
            Node(nodes.measure_channels, ["store", "splits"], "channel_statistics", name="measure_channels"),
            Node(
                nodes.tabulate_split_classes,
                ["store", "splits", "building_counts"],
                "class_balance",
                name="tabulate_balance",
            ),
            Node(nodes.plot_balance, "class_balance", "class_balance_chart", name="plot_balance"),
            Node(draw_class_histogram, "class_counts", "class_histogram", name="plot_classes"),
        ]
    )
