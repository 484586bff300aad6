"""Translations between the catalog and the figures and pages."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from PIL import Image

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics import probabilities as said
from xview2_siamese_unet.metrics.ranking import choose_scenes, scene_scores, worst_buildings
from xview2_siamese_unet.metrics.submission import name_predictions
from xview2_siamese_unet.metrics.summary import summarise
from xview2_siamese_unet.metrics.table import Predictions, fingerprint
from xview2_siamese_unet.params.dataset import DatasetParams
from xview2_siamese_unet.params.modelling import ClassesParams, HardwareParams, Unclassified
from xview2_siamese_unet.params.reporting import ReportingParams
from xview2_siamese_unet.plots.curves import draw_curves, plotly_curves
from xview2_siamese_unet.plots.histogram import ClassCounts, draw_class_histogram, plotly_class_histogram
from xview2_siamese_unet.plots.matrices import BUILDING_WORDS, DAMAGE_WORDS, draw_matrix, plotly_matrix
from xview2_siamese_unet.plots.panels import draw_panels
from xview2_siamese_unet.plots.probabilities import (
    FEW,
    draw_precision_recall,
    draw_reliability,
    plotly_precision_recall,
    plotly_reliability,
)
from xview2_siamese_unet.plots.rows import building_row, scene_row
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.report.page import ReportContent, render_report
from xview2_siamese_unet.report.provenance import provenance_of
from xview2_siamese_unet.report.settings import flatten
from xview2_siamese_unet.report.trained import as_trained, differences
from xview2_siamese_unet.report.warn import warnings_of
from xview2_siamese_unet.xbd.georeference import Georeference
from xview2_siamese_unet.xbd.ingest import georeferences

Placed = dict[str, tuple[np.ndarray, Georeference | None]]
Answers = Callable[[str], tuple[np.ndarray, np.ndarray]]
"""Scene name → predicted codes (h, w) and probabilities in steps of 1/254 (5, h, w)."""

_log = logging.getLogger(__name__)
_RECALL: Final = "Precision against recall. AP: average precision, the area under the line."
_RELIABILITY: Final = (
    "What was said against what was found. On the dotted line a probability means what it says; below it the model is "
    f"too sure of itself. ECE: expected calibration error. Bins of fewer than {FEW} pixels are not drawn."
)


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
    from xview2_siamese_unet.inference.predict import predict_scenes  # noqa: PLC0415  torch is slow to import

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


def submit(
    manifest: pd.DataFrame, predictions: Predictions, params: ReportingParams
) -> Iterator[dict[str, Image.Image]]:
    """Yield the files of a submission, if one is asked for."""
    if params.submission is not None:
        for stem, codes in name_predictions(manifest, predictions, params.submission):
            yield {stem: Image.fromarray(codes)}


def count_probabilities(
    probabilities: Predictions, store: Store, counts: pd.DataFrame, checkpoint: dict[str, Any]
) -> pd.DataFrame:
    """Return how often each probability was said, and how often it was true."""
    return said.count_probabilities(probabilities, store, counts, _policy(checkpoint))


def score(
    counts: pd.DataFrame,
    matches: pd.DataFrame,
    probabilities: pd.DataFrame,
    checkpoint: dict[str, Any],
    params: ReportingParams,
) -> dict[str, Any]:
    """Return every score, of pixels, of buildings and of probabilities."""
    return summarise(counts, matches, probabilities, _policy(checkpoint), params.intervals)


def plot_confusion(
    metrics: dict[str, Any], params: ReportingParams
) -> tuple[go.Figure, go.Figure, go.Figure, Figure, Figure, Figure]:
    """Return the confusion matrices of localisation, damage and buildings, to look into and for print."""
    localization, damage, buildings = (plotly_matrix(*each) for each in _matrices(metrics))
    printed = [draw_matrix(*each, dpi=params.dpi) for each in _matrices(metrics)]
    return localization, damage, buildings, printed[0], printed[1], printed[2]


def plot_probabilities(counts: pd.DataFrame, params: ReportingParams) -> tuple[go.Figure, go.Figure, Figure, Figure]:
    """Return precision against recall, and found against said, to look into and for print."""
    printed = draw_precision_recall(counts, dpi=params.dpi), draw_reliability(counts, dpi=params.dpi)
    return plotly_precision_recall(counts), plotly_reliability(counts), *printed


def plot_curves(history: pd.DataFrame, params: ReportingParams) -> tuple[go.Figure, Figure]:
    """Return the training curves, to look into and for print."""
    return plotly_curves(history), draw_curves(history, dpi=params.dpi)


def plot_scored_classes(metrics: dict[str, Any], params: ReportingParams) -> tuple[go.Figure, Figure]:
    """Return how many pixels of the scored scenes have each class, to look into and for print."""
    counts = _scored_classes(metrics)
    return plotly_class_histogram(counts), draw_class_histogram(counts, dpi=params.dpi)


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
    matches: pd.DataFrame,
    probability_counts: pd.DataFrame,
    predictions: Predictions,
    probabilities: Predictions,
    store: Store,
    history: pd.DataFrame,
    class_counts: ClassCounts,
    dataset: DatasetParams,
    params: ReportingParams,
    settings: Mapping[str, object],
    checkpoint: dict[str, Any],
    problems: pd.DataFrame,
    timings: dict[str, dict[str, Any]],
) -> str:
    """Return the report as HTML; draws its figures from data, because a saved matplotlib figure cannot be loaded."""
    flat = flatten(as_trained(settings, checkpoint))
    differing = differences(settings, checkpoint)
    for sentence in differing:
        _log.warning(sentence)
    content = ReportContent(
        title=params.title,
        source=dataset.source,
        metrics=metrics,
        charts=_charts(metrics, history, class_counts),
        calibration={
            _RECALL: draw_precision_recall(probability_counts),
            _RELIABILITY: draw_reliability(probability_counts),
        },
        panels=plot_panels(counts, predictions, probabilities, store, metrics, params),
        buildings=plot_buildings(matches, predictions, probabilities, store, params),
        settings=flat,
        provenance=provenance_of(checkpoint, dataset, params.model_file, fingerprint(counts), flat),
        warnings=[*differing, *warnings_of(metrics, problems, checkpoint, class_counts)],
        timings={name: row for name, row in timings.items() if name != "write_report"},  # which is running
    )
    return render_report(content)


def _charts(metrics: dict[str, Any], history: pd.DataFrame, class_counts: ClassCounts) -> dict[str, Figure]:
    drawn = [draw_matrix(*each) for each in _matrices(metrics)]
    return {
        "Where a building is. Shade and upper number: share of the truth; ↓ share of the predictions.": drawn[0],
        "What happened to it. First column: buildings that were missed.": drawn[1],
        "Damage of whole buildings. First row: false alarms; first column: buildings that were missed.": drawn[2],
        "Pixels of each class in the scored scenes.": draw_class_histogram(_scored_classes(metrics)),
        "Training, epoch by epoch.": draw_curves(history),
        "Pixels of each class in the training split.": draw_class_histogram(class_counts),
    }


def _policy(checkpoint: dict[str, Any]) -> Unclassified:
    """Return what un-classified truth meant to the net, its best epoch and its thresholds; so it is scored."""
    return ClassesParams.model_validate(checkpoint["classes"]).unclassified


def _answers(predictions: Predictions, probabilities: Predictions) -> Answers:
    return lambda name: (predictions[name](), probabilities[name]())


def _matrices(metrics: dict[str, Any]) -> list[tuple[np.ndarray, tuple[str, ...], str, str]]:
    counts = metrics["confusion"]
    return [
        (np.asarray(counts["localization"]), BUILDING_WORDS, "Localisation", "px"),
        (np.asarray(counts["damage"]), DAMAGE_WORDS, "Damage", "px"),
        (
            np.asarray(metrics["buildings"]["confusion"]),
            ("no building", *DAMAGE_WORDS[1:]),
            "Damage, building by building",
            "buildings",
        ),
    ]


def _scored_classes(metrics: dict[str, Any]) -> dict[str, dict[str, int]]:
    matrix = np.asarray(metrics["confusion"]["damage"])
    sums = {"Truth": matrix.sum(axis=1), "Prediction": matrix.sum(axis=0)}
    return {key: dict(zip(DAMAGE_WORDS, values.tolist(), strict=True)) for key, values in sums.items()}
