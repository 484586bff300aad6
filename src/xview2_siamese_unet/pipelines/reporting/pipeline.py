"""Wiring of the reporting pipeline."""

from __future__ import annotations

from typing import Final

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.metrics.table import count_scenes
from xview2_siamese_unet.pipelines.reporting.nodes import (
    CALIBRATION,
    CHARTS,
    count_probabilities,
    match_buildings,
    plot_buildings,
    plot_confusion,
    plot_panels,
    plot_probabilities,
    plot_scored_classes,
    predict,
    score,
    write_report,
)
from xview2_siamese_unet.plots.curves import draw_curves

_PARAMS: Final = "params:reporting"
_MATRICES: Final = ["localization_confusion", "damage_confusion", "building_confusion"]
_PROBABILITIES: Final = ["precision_recall", "reliability"]
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
    "class_counts": "class_counts",
    "params": _PARAMS,
    "run": "run",
    "checkpoint": "checkpoint",
    "problems": "ingest_report",
    **{name: name for name in (*CHARTS, *CALIBRATION, "panels", "worst_buildings")},
}


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline from `checkpoint` to `report`."""
    return Pipeline(
        [
            Node(predict, _OF_PREDICT, ["predictions", "probabilities"], name="predict"),
            Node(count_scenes, _OF_COUNTS, "scene_counts", name="count_confusion"),
            Node(match_buildings, _OF_MATCHES, "building_matches", name="match_buildings"),
            Node(
                count_probabilities,
                ["probabilities", "store", "scene_counts", "checkpoint"],
                "probability_counts",
                name="count_probabilities",
            ),
            Node(score, _OF_SUMMARY, "metrics", name="score"),
            Node(plot_confusion, "metrics", _MATRICES, name="plot_confusion"),
            Node(plot_scored_classes, "metrics", "scored_classes", name="plot_scored_classes"),
            Node(
                plot_probabilities, "probability_counts", ["precision_recall", "reliability"], name="plot_probabilities"
            ),
            Node(draw_curves, "history", "training_curves", name="plot_curves"),
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
