"""Wiring of the reporting pipeline."""

from __future__ import annotations

from typing import Final

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.metrics.matching import match_scenes
from xview2_siamese_unet.metrics.submission import number_scenes
from xview2_siamese_unet.metrics.table import count_scenes
from xview2_siamese_unet.pipelines.reporting.nodes import (
    plot_confusion,
    plot_curves,
    plot_panels,
    plot_scored_classes,
    predict,
    score,
    submit,
    write_report,
)

_PARAMS: Final = "params:reporting"
_POLICY: Final = "params:classes.unclassified"
_MATRICES: Final = [
    "localization_confusion",
    "damage_confusion",
    "building_confusion",
    "localization_confusion_image",
    "damage_confusion_image",
    "building_confusion_image",
]
_CURVES: Final = ["training_curves", "training_curves_image"]
_CLASSES: Final = ["scored_classes", "scored_classes_image"]
_OF_PREDICT: Final = {
    "checkpoint": "checkpoint",
    "store": "store",
    "scenes": "scenes",
    "splits": "splits",
    "params": _PARAMS,
    "hardware": "params:hardware",
}
_OF_COUNTS: Final = ["predictions", "store", "scenes", "splits", "params:reporting.split"]
_OF_MATCHES: Final = ["predictions", "scene_counts", "buildings", "params:data_processing.masks.rule"]
_OF_SUMMARY: Final = ["scene_counts", "building_matches", _POLICY, _PARAMS]
_OF_REPORT: Final = {
    "metrics": "metrics",
    "counts": "scene_counts",
    "predictions": "predictions",
    "store": "store",
    "history": "history",
    "class_counts": "class_counts",
    "dataset": "params:dataset",
    "params": _PARAMS,
    "settings": "parameters",
    "checkpoint": "checkpoint",
    "problems": "ingest_report",
}


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline from `checkpoint` to `report`."""
    return Pipeline(
        [
            Node(predict, _OF_PREDICT, "predictions", name="predict"),
            Node(count_scenes, _OF_COUNTS, "scene_counts", name="count_confusion"),
            Node(number_scenes, "scene_counts", "submission_manifest", name="number_scenes"),
            Node(submit, ["submission_manifest", "predictions", _PARAMS], "submission", name="submit"),
            Node(match_scenes, _OF_MATCHES, "building_matches", name="match_buildings"),
            Node(score, _OF_SUMMARY, "metrics", name="score"),
            Node(plot_confusion, ["metrics", _PARAMS], _MATRICES, name="plot_confusion"),
            Node(plot_scored_classes, ["metrics", _PARAMS], _CLASSES, name="plot_scored_classes"),
            Node(plot_curves, ["history", _PARAMS], _CURVES, name="plot_curves"),
            Node(
                plot_panels,
                ["scene_counts", "predictions", "store", _POLICY, _PARAMS],
                "panels",
                name="plot_panels",
            ),
            Node(write_report, _OF_REPORT, "report", name="write_report"),
        ]
    )
