"""Translations between the catalog and the figures and pages."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from PIL import Image

from xview2_siamese_unet.metrics.ranking import choose_scenes, scene_scores
from xview2_siamese_unet.metrics.submission import name_predictions
from xview2_siamese_unet.metrics.summary import summarise
from xview2_siamese_unet.metrics.table import Predictions, Store, fingerprint
from xview2_siamese_unet.params.dataset import DatasetParams
from xview2_siamese_unet.params.modelling import HardwareParams, Unclassified
from xview2_siamese_unet.params.reporting import ReportingParams
from xview2_siamese_unet.plots.curves import draw_curves, plotly_curves
from xview2_siamese_unet.plots.histogram import ClassCounts, draw_class_histogram, plotly_class_histogram
from xview2_siamese_unet.plots.matrices import BUILDING_WORDS, DAMAGE_WORDS, draw_matrix, plotly_matrix
from xview2_siamese_unet.plots.panels import PanelRow, draw_panels
from xview2_siamese_unet.raster.store import Store as StoreFile
from xview2_siamese_unet.report.page import ReportContent, render_report
from xview2_siamese_unet.report.settings import flatten
from xview2_siamese_unet.report.warn import warnings_of
from xview2_siamese_unet.xbd.georeference import Georeference
from xview2_siamese_unet.xbd.ingest import georeferences


def predict(
    *,
    checkpoint: dict[str, Any],
    store: StoreFile,
    scenes: pd.DataFrame,
    splits: pd.DataFrame,
    params: ReportingParams,
    hardware: HardwareParams,
) -> Iterator[dict[str, tuple[np.ndarray, Georeference | None]]]:
    """Yield the damage codes of the split to score with their place, one scene at a time."""
    from xview2_siamese_unet.inference.predict import predict_scenes  # noqa: PLC0415  torch is slow to import

    places = georeferences(scenes)
    wanted = splits.loc[splits["split"] == params.split, "scene"].tolist()
    for answer in predict_scenes(checkpoint, store, wanted, hardware, batch_size=params.batch_size):
        yield {answer.name: (answer.codes, places[answer.name])}


def submit(
    manifest: pd.DataFrame, predictions: Predictions, params: ReportingParams
) -> Iterator[dict[str, Image.Image]]:
    """Yield the files of a submission, if one is asked for."""
    if params.submission is not None:
        for stem, codes in name_predictions(manifest, predictions, params.submission):
            yield {stem: Image.fromarray(codes)}


def score(
    counts: pd.DataFrame, matches: pd.DataFrame, unclassified: Unclassified, params: ReportingParams
) -> dict[str, Any]:
    """Return every score, of pixels and of buildings."""
    return summarise(counts, matches, unclassified, params.intervals)


def plot_confusion(
    metrics: dict[str, Any], params: ReportingParams
) -> tuple[go.Figure, go.Figure, go.Figure, Figure, Figure, Figure]:
    """Return the confusion matrices of localisation, damage and buildings, to look into and for print."""
    localization, damage, buildings = (plotly_matrix(*each) for each in _matrices(metrics))
    printed = [draw_matrix(*each, dpi=params.dpi) for each in _matrices(metrics)]
    return localization, damage, buildings, printed[0], printed[1], printed[2]


def plot_curves(history: pd.DataFrame, params: ReportingParams) -> tuple[go.Figure, Figure]:
    """Return the training curves, to look into and for print."""
    return plotly_curves(history), draw_curves(history, dpi=params.dpi)


def plot_scored_classes(metrics: dict[str, Any], params: ReportingParams) -> tuple[go.Figure, Figure]:
    """Return how many pixels of the scored scenes have each class, to look into and for print."""
    counts = _scored_classes(metrics)
    return plotly_class_histogram(counts), draw_class_histogram(counts, dpi=params.dpi)


def plot_panels(
    counts: pd.DataFrame, predictions: Predictions, store: Store, unclassified: Unclassified, params: ReportingParams
) -> Figure:
    """Return pictures of the best, the median and the worst scenes."""
    rows = _panel_rows(counts, predictions, store, unclassified, params)
    return draw_panels(rows, side=params.panels.side, window=params.panels.window)


def write_report(  # noqa: PLR0913  a report joins everything
    *,
    metrics: dict[str, Any],
    counts: pd.DataFrame,
    predictions: Predictions,
    store: Store,
    history: pd.DataFrame,
    class_counts: ClassCounts,
    dataset: DatasetParams,
    params: ReportingParams,
    settings: Mapping[str, object],
    checkpoint: dict[str, Any],
    problems: pd.DataFrame,
) -> str:
    """Return the report as HTML; draws its figures from data, because a saved matplotlib figure cannot be loaded."""
    drawn = [draw_matrix(*each) for each in _matrices(metrics)]
    charts = {
        "Where a building is. Shade and percentage: share of the truth (row).": drawn[0],
        "What happened to it. First column: buildings that were missed.": drawn[1],
        "Damage of whole buildings. First row: false alarms; first column: buildings that were missed.": drawn[2],
        "Pixels of each class in the scored scenes.": draw_class_histogram(_scored_classes(metrics)),
        "Training, epoch by epoch.": draw_curves(history),
        "Pixels of each class in the training split.": draw_class_histogram(class_counts),
    }
    content = ReportContent(
        title=params.title,
        source=dataset.source,
        metrics=metrics,
        charts=charts,
        panels=plot_panels(counts, predictions, store, metrics["unclassified"], params),
        settings=flatten(settings),
        provenance=_provenance(dataset, params, counts, checkpoint),
        warnings=warnings_of(metrics, problems, checkpoint),
    )
    return render_report(content)


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


def _panel_rows(
    counts: pd.DataFrame, predictions: Predictions, store: Store, unclassified: Unclassified, params: ReportingParams
) -> Iterator[PanelRow]:
    scores, wanted = scene_scores(counts, unclassified), params.panels
    for name, rank in choose_scenes(scores, best=wanted.best, median=wanted.median, worst=wanted.worst).items():
        scene = store.scene(name)
        note = f"{rank} · scene score {scores[name]:.2f}"
        yield PanelRow(name, note, scene.pre, scene.post, scene.damage, predictions[name]())


def _provenance(
    dataset: DatasetParams, params: ReportingParams, counts: pd.DataFrame, checkpoint: dict[str, Any]
) -> dict[str, str]:
    fabricated = "fabricated scenes" if dataset.source == "sample" else "xBD"
    return {
        "code": f"xview2-siamese-unet {version('xview2-siamese-unet')}",
        "data": f"{dataset.name} ({fabricated})",
        "fingerprint of the scored scenes and their truth": fingerprint(counts),
        "model file": params.model_file or "not named (reporting.model_file)",
        "trained by": f"xview2-siamese-unet {checkpoint['version']} on {checkpoint['dataset']}",
        "fingerprint of the training, its scenes and settings": checkpoint["fingerprint"],
        "epoch": f"{checkpoint['epoch']}, the best of {len(checkpoint['history'])}",
        "seeds": f"training {checkpoint['recipe']['training']['seed']}, intervals {params.intervals.seed}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
