"""Wiring of the reporting pipeline."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.metrics.scores import summarise
from xview2_siamese_unet.metrics.table import count_scenes
from xview2_siamese_unet.pipelines.reporting.nodes import (
    plot_confusion,
    plot_curves,
    plot_panels,
    predict,
    write_report,
)


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline from `checkpoint` to `report`."""
    return Pipeline(
        [
            Node(
                predict,
                {
                    "checkpoint": "checkpoint",
                    "store": "store",
                    "scenes": "scenes",
                    "splits": "splits",
                    "params": "params:reporting",
                    "hardware": "params:hardware",
                },
                "predictions",
                name="predict",
            ),
            Node(count_scenes, ["predictions", "store", "scenes", "splits"], "scene_counts", name="count_confusion"),
            Node(summarise, ["scene_counts", "params:classes.unclassified"], "metrics", name="score"),
            Node(
                plot_confusion,
                ["metrics", "params:reporting"],
                [
                    "localization_confusion",
                    "damage_confusion",
                    "localization_confusion_image",
                    "damage_confusion_image",
                ],
                name="plot_confusion",
            ),
            Node(
                plot_curves,
                ["history", "params:reporting"],
                ["training_curves", "training_curves_image"],
                name="plot_curves",
            ),
            Node(
                plot_panels,
                ["scene_counts", "predictions", "store", "params:classes.unclassified", "params:reporting"],
                "panels",
                name="plot_panels",
            ),
            Node(
                write_report,
                {
                    "metrics": "metrics",
                    "counts": "scene_counts",
                    "predictions": "predictions",
                    "store": "store",
                    "history": "history",
                    "class_counts": "class_counts",
                    "dataset": "params:dataset",
                    "params": "params:reporting",
                    "settings": "parameters",
                },
                "report",
                name="write_report",
            ),
        ]
    )
