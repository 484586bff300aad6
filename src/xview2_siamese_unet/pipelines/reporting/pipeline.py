"""Wiring of the reporting pipeline: predictions, counts, scores, figures, report."""

from __future__ import annotations

from typing import Final

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.metrics.summary import count_scenes
from xview2_siamese_unet.pipelines.reporting import nodes
from xview2_siamese_unet.report.figures import draw_curves
from xview2_siamese_unet.report.page import CALIBRATION, CHARTS

_PARAMS: Final = "params:reporting"
_PREDICT: Final = {
    **{name: name for name in ("checkpoint", "store", "scenes", "splits")},
    "params": _PARAMS,
    "hardware": "params:hardware",
}
_COUNTS: Final = ["predictions", "store", "scenes", "splits", "params:reporting.split"]
_MATCHES: Final = ["predictions", "probabilities", "scene_counts", "buildings", "run"]
_PROBABILITIES: Final = ["probabilities", "store", "scene_counts", "checkpoint"]
_SCORE: Final = ["scene_counts", "building_matches", "probability_counts", "checkpoint", _PARAMS]
_PANELS: Final = ["scene_counts", "predictions", "probabilities", "store", "metrics", _PARAMS]
_BUILDINGS: Final = ["building_matches", "predictions", "probabilities", "store", _PARAMS]
_REPORT: Final = {
    "counts": "scene_counts",
    "params": _PARAMS,
    "problems": "ingest_report",
    **{name: name for name in ("metrics", "class_counts", "run", "checkpoint")},
    **{name: name for name in (*CHARTS, *CALIBRATION, "panels", "worst_buildings")},
}
_MATRICES: Final = ["localization_confusion", "damage_confusion", "building_confusion"]
_DIAGRAMS: Final = ["precision_recall", "reliability"]


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline from `checkpoint` to `report`."""
    return Pipeline(
        [
            Node(nodes.predict, _PREDICT, ["predictions", "probabilities"], name="predict"),
            Node(count_scenes, _COUNTS, "scene_counts", name="count_confusion"),
            Node(nodes.match_predicted_buildings, _MATCHES, "building_matches", name="match_buildings"),
            Node(nodes.count_predicted_probabilities, _PROBABILITIES, "probability_counts", name="count_probabilities"),
            Node(nodes.score_predictions, _SCORE, "metrics", name="score"),
            Node(nodes.plot_confusion, "metrics", _MATRICES, name="plot_confusion"),
            Node(nodes.plot_scored_classes, "metrics", "scored_classes", name="plot_scored_classes"),
            Node(nodes.plot_probabilities, "probability_counts", _DIAGRAMS, name="plot_probabilities"),
            Node(draw_curves, "history", "training_curves", name="plot_curves"),
            Node(nodes.plot_panels, _PANELS, "panels", name="plot_panels"),
            Node(nodes.plot_buildings, _BUILDINGS, "worst_buildings", name="plot_buildings"),
            Node(nodes.write_report, _REPORT, "report", name="write_report"),
        ]
    )
