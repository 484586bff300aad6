"""Predictions, scores, figures and the report."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from xview2_siamese_unet.config.modelling import ClassesParams, HardwareParams, Unclassified
from xview2_siamese_unet.config.reporting import ReportingParams
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.prediction import predict_scenes
from xview2_siamese_unet.metrics import buildings as building_metrics
from xview2_siamese_unet.metrics import calibration
from xview2_siamese_unet.metrics.confusion import Predictions
from xview2_siamese_unet.metrics.summary import scene_scores, scenes_fingerprint, summarise_scores
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.report import figures as charts
from xview2_siamese_unet.report.page import provenance_of, render_report, warnings_of
from xview2_siamese_unet.report.panels import building_row, choose_scenes, draw_panels, scene_row, worst_buildings
from xview2_siamese_unet.runs import flatten
from xview2_siamese_unet.stats import ClassCounts
from xview2_siamese_unet.xbd.georeference import Georeference
from xview2_siamese_unet.xbd.ingest import georeferences

Georeferenced = dict[str, tuple[np.ndarray, Georeference | None]]


def predict(
    *,
    checkpoint: dict[str, Any],
    store: Store,
    scenes: pd.DataFrame,
    splits: pd.DataFrame,
    params: ReportingParams,
    hardware: HardwareParams,
) -> Iterator[tuple[Georeferenced, Georeferenced]]:
    """Yield georeferenced damage codes and probabilities, one scene at a time.

    Raises:
        DataError: a scene of the split is missing in the table of scenes.
    """
    georeference = georeferences(scenes)
    wanted = splits.loc[splits["split"] == params.split, "scene"].tolist()
    if absent := [name for name in wanted if name not in georeference]:
        raise DataError(
            f"{len(absent)} scenes of split {params.split} are not in the table of scenes; the first: {absent[0]}.",
            hint="Run kedro run --pipelines data_processing with the same environment, or restore the scenes.",
        )
    for scene in predict_scenes(checkpoint, store, wanted, hardware, batch_size=params.batch_size):
        position = georeference[scene.name]
        yield {scene.name: (scene.codes, position)}, {scene.name: (scene.probabilities, position)}


def count_predicted_probabilities(
    probabilities: Predictions, store: Store, counts: pd.DataFrame, checkpoint: dict[str, Any]
) -> pd.DataFrame:
    """Return histograms of predicted probabilities and their observed frequency."""
    return calibration.count_probabilities(probabilities, store, counts, _unclassified(checkpoint))


def match_predicted_buildings(
    predictions: Predictions,
    probabilities: Predictions,
    counts: pd.DataFrame,
    buildings: pq.ParquetFile,
    run: dict[str, Any],
) -> pd.DataFrame:
    """Return one row for each building, rasterised by the rule of the run's masks."""
    rule = run["settings"]["data_processing"]["masks"]["rule"]
    return building_metrics.match_scenes(predictions, probabilities, counts, buildings, rule)


def score_predictions(
    counts: pd.DataFrame,
    matches: pd.DataFrame,
    probabilities: pd.DataFrame,
    checkpoint: dict[str, Any],
    params: ReportingParams,
) -> dict[str, Any]:
    """Return all scores of pixels, buildings and probabilities."""
    unclassified, seen = _unclassified(checkpoint), checkpoint.get("events")
    return summarise_scores(counts, matches, probabilities, unclassified, params.intervals, seen)


def plot_confusion(metrics: dict[str, Any]) -> tuple[Figure, Figure, Figure]:
    """Return the confusion matrices of localisation, damage and buildings."""
    counts, damage = metrics["confusion"], charts.DAMAGE_WORDS
    buildings = np.asarray(metrics["buildings"]["confusion"])
    return (
        charts.draw_matrix(np.asarray(counts["localization"]), charts.BUILDING_WORDS, "Localisation", "px"),
        charts.draw_matrix(np.asarray(counts["damage"]), damage, "Damage", "px"),
        charts.draw_matrix(buildings, ("no building", *damage[1:]), "Damage of buildings", "buildings"),
    )


def plot_probabilities(counts: pd.DataFrame) -> tuple[Figure, Figure]:
    """Return precision-recall curves and reliability diagrams."""
    return charts.draw_precision_recall(counts), charts.draw_reliability(counts)


def plot_scored_classes(metrics: dict[str, Any]) -> Figure:
    """Return a chart of the pixels of each class in the scored scenes, true and predicted."""
    matrix = np.asarray(metrics["confusion"]["damage"])
    sums = {"Truth": matrix.sum(axis=1), "Prediction": matrix.sum(axis=0)}
    return charts.draw_class_histogram(
        {key: dict(zip(charts.DAMAGE_WORDS, values.tolist(), strict=True)) for key, values in sums.items()}
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
    scores, wanted = scene_scores(counts, metrics["unclassified"]), params.panels
    chosen = choose_scenes(scores, best=wanted.best, median=wanted.median, worst=wanted.worst)
    rows = (
        scene_row(
            name,
            f"{rank} · scene score {scores[name]:.2f}",
            store.scene(name),
            (predictions[name](), probabilities[name]()),
            wanted.window,
        )
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
    """Return pictures of the worst buildings."""
    wanted = params.panels
    rows = (
        building_row(
            row,
            store.scene(row["scene"]),
            (predictions[row["scene"]](), probabilities[row["scene"]]()),
        )
        for row in worst_buildings(matches, wanted.buildings).to_dict("records")
    )
    return draw_panels(rows, side=wanted.side, empty="No building was missed or wrongly classified.")


def write_report(  # noqa: PLR0913  the report joins all results
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
    """Return the report as HTML; `figures` are the files of its charts and pictures."""
    settings = flatten({**run["settings"], "reporting": params})
    return render_report(
        title=params.title,
        metrics=metrics,
        figures=figures,
        settings=settings,
        provenance=provenance_of(checkpoint, run, params.model_file, scenes_fingerprint(counts), settings),
        warnings=warnings_of(metrics, problems, checkpoint, class_counts),
    )


def _unclassified(checkpoint: dict[str, Any]) -> Unclassified:
    """Return the parameter `unclassified` of the training, which scoring uses, too."""
    return ClassesParams.model_validate(checkpoint["classes"]).unclassified
