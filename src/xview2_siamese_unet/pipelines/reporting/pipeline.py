"""Wiring of the reporting pipeline."""

from __future__ import annotations

from typing import Final

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.metrics.submission import number_scenes
from xview2_siamese_unet.metrics.table import count_scenes
from xview2_siamese_unet.pipelines.reporting.nodes import (
    count_probabilities,
    match_buildings,
    plot_buildings,
    plot_confusion,
    plot_curves,
    plot_panels,
    plot_probabilities,
    plot_scored_classes,
    predict,
    score,
    submit,
    write_report,
)

_PARAMS: Final = "params:reporting"
_MATRICES: Final = [
    "localization_confusion",
    "damage_confusion",
    "building_confusion",
    "localization_confusion_image",
    "damage_confusion_image",
    "building_confusion_image",
]
_PROBABILITIES: Final = ["precision_recall", "reliability", "precision_recall_image", "reliability_image"]
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
_OF_MATCHES: Final = [
    "predictions",
    "probabilities",
    "scene_counts",
    "buildings",
    "run",
]
_OF_SUMMARY: Final = ["scene_counts", "building_matches", "probability_counts", "checkpoint", _PARAMS]
_OF_REPORT: Final = {
    "metrics": "metrics",
    "counts": "scene_counts",
    "matches": "building_matches",
    "probability_counts": "probability_counts",
    "predictions": "predictions",
    "probabilities": "probabilities",
    "store": "store",
    "history": "history",
    "class_counts": "class_counts",
    "params": _PARAMS,
    "run": "run",
    "checkpoint": "checkpoint",
    "problems": "ingest_report",
    "timings": "timings",
}


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline from `checkpoint` to `report`."""
    return Pipeline(
        [
            Node(predict, _OF_PREDICT, ["predictions", "probabilities"], name="predict"),
            Node(count_scenes, _OF_COUNTS, "scene_counts", name="count_confusion"),
            Node(number_scenes, "scene_counts", "submission_manifest", name="number_scenes"),
            Node(submit, ["submission_manifest", "predictions", _PARAMS], "submission", name="submit"),
            Node(match_buildings, _OF_MATCHES, "building_matches", name="match_buildings"),
            Node(
                count_probabilities,
                ["probabilities", "store", "scene_counts", "checkpoint"],
                "probability_counts",
                name="count_probabilities",
            ),
            Node(score, _OF_SUMMARY, "metrics", name="score"),
            Node(plot_confusion, ["metrics", _PARAMS], _MATRICES, name="plot_confusion"),
            Node(plot_scored_classes, ["metrics", _PARAMS], _CLASSES, name="plot_scored_classes"),
            Node(plot_probabilities, ["probability_counts", _PARAMS], _PROBABILITIES, name="plot_probabilities"),
            Node(plot_curves, ["history", _PARAMS], _CURVES, name="plot_curves"),
            Node(
                plot_panels,
                ["scene_counts", "predictions", "probabilities", "store", "metrics", _PARAMS],
                "panels",
                name="plot_panels",
            ),
            Node(
                plot_buildings,
                ["building_matches", "predictions", "probabilities", "store", _PARAMS],
                "worst_buildings",
                name="plot_buildings",
            ),
            Node(write_report, _OF_REPORT, "report", name="write_report"),
        ]
    )
