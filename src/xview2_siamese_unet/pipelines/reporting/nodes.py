"""Predictions, scores, figures and the report."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from xview2_siamese_unet.config.modelling import ClassesParams, HardwareParams, Unclassified
from xview2_siamese_unet.config.reporting import ReportingParams
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics import probabilities as said
from xview2_siamese_unet.metrics.matching import match_scenes
from xview2_siamese_unet.metrics.ranking import choose_scenes, scene_scores, worst_buildings
from xview2_siamese_unet.metrics.summary import summarise
from xview2_siamese_unet.metrics.table import Predictions, fingerprint
from xview2_siamese_unet.plots.histogram import ClassCounts, draw_class_histogram
from xview2_siamese_unet.plots.matrices import BUILDING_WORDS, DAMAGE_WORDS, draw_matrix
from xview2_siamese_unet.plots.panels import draw_panels
from xview2_siamese_unet.plots.probabilities import FEW, draw_precision_recall, draw_reliability
from xview2_siamese_unet.plots.rows import building_row, scene_row
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.report.page import ReportContent, render_report
from xview2_siamese_unet.report.provenance import provenance_of
from xview2_siamese_unet.report.settings import flatten
from xview2_siamese_unet.report.warn import warnings_of
from xview2_siamese_unet.xbd.georeference import Georeference
from xview2_siamese_unet.xbd.ingest import georeferences

Placed = dict[str, tuple[np.ndarray, Georeference | None]]
Answers = Callable[[str], tuple[np.ndarray, np.ndarray]]
"""Scene name → predicted codes (h, w) and probabilities in steps of 1/254 (5, h, w)."""

CHARTS: Final = {
    "localization_confusion": "Localisation. Shade and upper number: share of the truth; ↓ share of the predictions.",
    "damage_confusion": "Damage. First column: buildings that were missed.",
    "building_confusion": "Damage of whole buildings. First row: false alarms; first column: missed buildings.",
    "scored_classes": "Pixels of each class in the scored scenes.",
    "training_curves": "Training, epoch by epoch.",
    "class_histogram": "Pixels of each class in the training split.",
}
"""Dataset → caption in the report."""
CALIBRATION: Final = {
    "precision_recall": "Precision-recall curves. AP: average precision, the area under the curve.",
    "reliability": "Reliability diagrams. On the dotted line the model is calibrated; below it, over-confident. "
    f"ECE: expected calibration error. Bins of fewer than {FEW} pixels are not drawn.",
}
"""Dataset → caption in the section on probabilities."""


def predict(
    *,
    checkpoint: dict[str, Any],
    store: Store,
    scenes: pd.DataFrame,
    splits: pd.DataFrame,
    params: ReportingParams,
    hardware: HardwareParams,
) -> Iterator[tuple[Placed, Placed]]:
    """Yield damage codes and probabilities of the split to score with their place, one scene at a time.

    Raises:
        DataError: the dataset has lost a scene since the splits were made.
    """
    from xview2_siamese_unet.inference.prediction import predict_scenes  # noqa: PLC0415  torch is slow to import

    places = georeferences(scenes)
    wanted = splits.loc[splits["split"] == params.split, "scene"].tolist()
    absent = [name for name in wanted if name not in places]
    if absent:
        raise DataError(
            "splits",
            found=f"{absent[0]}, which the table of scenes does not hold, and {len(absent) - 1} more",
            allowed="the scenes that the dataset has now",
            remedy="run kedro run --pipelines data_processing with the same environment, or restore the scenes",
        )
    for answer in predict_scenes(checkpoint, store, wanted, hardware, batch_size=params.batch_size):
        name, place = answer.name, places[answer.name]
        yield {name: (answer.codes, place)}, {name: (answer.probabilities, place)}


def count_probabilities(
    probabilities: Predictions, store: Store, counts: pd.DataFrame, checkpoint: dict[str, Any]
) -> pd.DataFrame:
    """Return how often each probability was said, and how often it was true."""
    return said.count_probabilities(probabilities, store, counts, _policy(checkpoint))


def match_buildings(
    predictions: Predictions,
    probabilities: Predictions,
    counts: pd.DataFrame,
    buildings: pq.ParquetFile,
    run: dict[str, Any],
) -> pd.DataFrame:
    """Return one row a building, by the rule that burnt the masks of the run."""
    rule = run["settings"]["data_processing"]["masks"]["rule"]
    return match_scenes(predictions, probabilities, counts, buildings, rule)


def score(
    counts: pd.DataFrame,
    matches: pd.DataFrame,
    probabilities: pd.DataFrame,
    checkpoint: dict[str, Any],
    params: ReportingParams,
) -> dict[str, Any]:
    """Return every score, of pixels, of buildings and of probabilities."""
    return summarise(counts, matches, probabilities, _policy(checkpoint), params.intervals)


def plot_confusion(metrics: dict[str, Any]) -> tuple[Figure, Figure, Figure]:
    """Return the confusion matrices of localisation, damage and buildings."""
    counts, classes = metrics["confusion"], ("no building", *DAMAGE_WORDS[1:])
    return (
        draw_matrix(np.asarray(counts["localization"]), BUILDING_WORDS, "Localisation", "px"),
        draw_matrix(np.asarray(counts["damage"]), DAMAGE_WORDS, "Damage", "px"),
        draw_matrix(np.asarray(metrics["buildings"]["confusion"]), classes, "Damage of buildings", "buildings"),
    )


def plot_probabilities(counts: pd.DataFrame) -> tuple[Figure, Figure]:
    """Return precision-recall curves and reliability diagrams."""
    return draw_precision_recall(counts), draw_reliability(counts)


def plot_scored_classes(metrics: dict[str, Any]) -> Figure:
    """Return how many pixels of the scored scenes have each class, in truth and prediction."""
    matrix = np.asarray(metrics["confusion"]["damage"])
    sums = {"Truth": matrix.sum(axis=1), "Prediction": matrix.sum(axis=0)}
    return draw_class_histogram(
        {key: dict(zip(DAMAGE_WORDS, values.tolist(), strict=True)) for key, values in sums.items()}
    )


def plot_panels(
    counts: pd.DataFrame,
    predictions: Predictions,
    probabilities: Predictions,
    store: Store,
    metrics: dict[str, Any],
    params: ReportingParams,
) -> Figure:
    """Return pictures of the best, the median and the worst scenes."""
    answers = _answers(predictions, probabilities)
    scores, wanted = scene_scores(counts, metrics["unclassified"]), params.panels
    chosen = choose_scenes(scores, best=wanted.best, median=wanted.median, worst=wanted.worst)
    rows = (
        scene_row(name, f"{rank} · scene score {scores[name]:.2f}", store.scene(name), answers(name), wanted.window)
        for name, rank in chosen.items()
    )
    return draw_panels(rows, side=wanted.side)


def plot_buildings(
    matches: pd.DataFrame,
    predictions: Predictions,
    probabilities: Predictions,
    store: Store,
    params: ReportingParams,
) -> Figure:
    """Return pictures of the buildings that were answered worst."""
    answers, wanted = _answers(predictions, probabilities), params.panels
    rows = (
        building_row(row, store.scene(row["scene"]), answers(row["scene"]), wanted.building_window)
        for row in worst_buildings(matches, wanted.buildings).to_dict("records")
    )
    return draw_panels(rows, side=wanted.side, empty="No building was answered wrongly.")


def write_report(  # noqa: PLR0913  a report joins everything
    *,
    metrics: dict[str, Any],
    counts: pd.DataFrame,
    class_counts: ClassCounts,
    params: ReportingParams,
    run: dict[str, Any],
    checkpoint: dict[str, Any],
    problems: pd.DataFrame,
    **figures: bytes,
) -> str:
    """Return the report as HTML.

    Args:
        metrics: scores.
        counts: of pixels, one row a scene.
        class_counts: pixels of each class in the training split.
        params: of the report.
        run: what made the run, its settings among it.
        checkpoint: the scored model.
        problems: of the labels, one row each.
        figures: the saved files of `CHARTS`, `CALIBRATION`, `panels` and `worst_buildings`.
    """
    flat = flatten({**run["settings"], "reporting": params})
    content = ReportContent(
        title=params.title,
        source=run["settings"]["dataset"]["source"],
        metrics=metrics,
        charts={caption: figures[name] for name, caption in CHARTS.items()},
        calibration={caption: figures[name] for name, caption in CALIBRATION.items()},
        panels=figures["panels"],
        buildings=figures["worst_buildings"],
        settings=flat,
        provenance=provenance_of(checkpoint, run, params.model_file, fingerprint(counts), flat),
        warnings=warnings_of(metrics, problems, checkpoint, class_counts),
    )
    return render_report(content)


def _policy(checkpoint: dict[str, Any]) -> Unclassified:
    """Return what un-classified truth meant to the net, its best epoch and its thresholds; so it is scored."""
    return ClassesParams.model_validate(checkpoint["classes"]).unclassified


def _answers(predictions: Predictions, probabilities: Predictions) -> Answers:
    return lambda name: (predictions[name](), probabilities[name]())
