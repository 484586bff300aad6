"""Nodes of the pipeline `adaptation`: they connect the catalog with the package `adaptation`."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from xview2_siamese_unet.adaptation.buildings import adapt_buildings, predict_all, with_labels
from xview2_siamese_unet.adaptation.embedding import Embedding
from xview2_siamese_unet.adaptation.head import Head, no_head, read_head, require_encoders
from xview2_siamese_unet.adaptation.sources import embed_with
from xview2_siamese_unet.atomic import sha256
from xview2_siamese_unet.config.adaptation import AdaptationParams, source_names
from xview2_siamese_unet.datasets.assessment import Layers
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.inference.buildings import area_of_interest, read_building_layer, valid_area
from xview2_siamese_unet.inference.footprints import read_zone_layer
from xview2_siamese_unet.inference.pair import HarmonisedPair
from xview2_siamese_unet.inference.products import buildings_style, check_out, outline_style
from xview2_siamese_unet.inference.record import Predicted, newest_input
from xview2_siamese_unet.inference.reopen import ADAPTED, reopen_pair, require_record
from xview2_siamese_unet.inference.vector_formats import split_layer
from xview2_siamese_unet.labelling.labels import read_label_files, require_classes, training_labels
from xview2_siamese_unet.pipelines.inference import nodes as inference
from xview2_siamese_unet.raster.windows import WindowPlan

_log = logging.getLogger(__name__)


def reopen(params: AdaptationParams, folder: Path) -> tuple[Predicted, HarmonisedPair, gpd.GeoDataFrame]:
    """Return the images, the record and the buildings of the assessment; all invalid inputs are refused here."""
    record = require_record(folder)
    if params.labels and params.head is not None:
        raise ConfigError(
            f"adaptation names labels and a head ({params.head}), which was fitted on other labels.",
            hint="Name --labels to fit a head, or --head to apply one.",
        )
    check_out(folder / ADAPTED, None, overwrite=True, inputs=(*params.labels, params.head))
    pair = reopen_pair(folder, {"pre": params.pre, "post": params.post})
    windows = record["settings"]["inference"]["windows"]
    plan = WindowPlan(pair.grid.height, pair.grid.width, windows["size"], windows["overlap"])
    zones = None if params.zones is None else read_zone_layer(params.zones.expanduser(), None)
    if zones is None and record["settings"]["inference"]["zones"] is not None:
        _log.warning("the assessment counted by zones; name them again with --zones to count the adapted ones")
    harmonised = HarmonisedPair(
        pair,
        zones.warnings if zones else (),
        zones=zones.frame if zones else None,
        footprint_sources=tuple(record.get("polygons", {}).get("footprints", {}).get("sources", ())),
    )
    return Predicted(pair, plan, record, newest_input(pair)), harmonised, read_building_layer(folder / "buildings.gpkg")


def read_training_labels(params: AdaptationParams, buildings: gpd.GeoDataFrame, folder: Path) -> pd.DataFrame:
    """Return the labels of all files that can be trained on, each building once."""
    labels = training_labels(read_label_files(params.labels, buildings), folder)
    if params.labels:
        require_classes(labels)
    return labels


def embed_buildings(
    predicted: Predicted, buildings: gpd.GeoDataFrame, params: AdaptationParams, folder: Path
) -> Embedding:
    """Return the features of all buildings, which a repeated command reuses from disk."""
    return embed_with(params.features, buildings.geometry, predicted.pair, folder)


def fit(
    embedding: Embedding, buildings: gpd.GeoDataFrame, labels: pd.DataFrame, params: AdaptationParams
) -> tuple[Head, dict[str, Any]]:
    """Return the head, fitted or read, and its cross-validated scores."""
    # scikit-learn is slow to import
    from xview2_siamese_unet.adaptation import fitting, next_labels, report, scores, suggest  # noqa: PLC0415

    if params.head is not None:
        head = read_head(params.head.expanduser())
        require_encoders(head, embedding, params.head)
        return head, {
            "warnings": [f"the classes rest on {head.facts['labels']} labels of another folder"],
            "paragraphs": [f"The head was fitted on {head.facts['labels']} labels of another folder."],
        }
    if labels.empty:
        return no_head(embedding.blocks), {"warnings": [], "paragraphs": ["No labels: classes of the assessment."]}
    labelled = next_labels.labelled_buildings(embedding, buildings, labels, suggest.feature_space(embedding))
    if hidden := len(labels) - len(labelled.classes):
        _log.warning("%d of %d labels are of buildings that are not visible: they are not used", hidden, len(labels))
    facts = {
        "features": source_names(params.features),
        "encoders": embedding.encoders,
        "embedding": embedding.digest[:12],
    }
    head = fitting.fit_head(embedding, labelled, facts)
    ready = labelled._replace(features=(labelled.features - head.centre) / head.scale)
    scored = scores.cross_validated(ready, head.blocks, head.strength)
    for line in (paragraphs := report.describe_head(head, scored, labelled.classes.tolist())):
        _log.info(line)
    numbers = {} if scored is None else asdict(scored)
    return head, {**numbers, "warnings": report.head_warnings(head, scored), "paragraphs": paragraphs}


def adapt(
    predicted: Predicted, buildings: gpd.GeoDataFrame, embedding: Embedding, labels: pd.DataFrame, head_file: Path
) -> gpd.GeoDataFrame:
    """Return the buildings with the classes of the head."""
    head = read_head(head_file)
    if not head.codes:
        return with_labels(buildings, labels)
    least = predicted.record["settings"]["inference"]["buildings"]["abstain_below"]
    shares = predict_all(head, embedding, buildings)
    return adapt_buildings(buildings, shares, labels, abstain_below=least, head_id=_head_id(head_file, head))


def _head_id(path: Path, head: Head) -> str:
    return f"head {sha256(path)[:12]}, {head.facts['labels']} labels"


def describe_adapted(
    predicted: Predicted, head_file: Path, scores: dict[str, Any], params: AdaptationParams
) -> tuple[Predicted, dict[str, Any]]:
    """Return the record of the adapted assessment so far, and the footprint shift with the warnings of the head."""
    head, record = read_head(head_file), predicted.record
    facts = {"id": _head_id(head_file, head), "strength": head.strength, **head.facts, "scores": scores}
    key = f"{record['run_id']} {sha256(head_file)}"
    adapted = {
        **record,
        "run_id": hashlib.sha256(key.encode()).hexdigest()[:12],
        "adapted_from": record["run_id"],
        "head": facts,
        "labels": [_describe_labels(path.expanduser()) for path in params.labels],
        "sections": {"Adaptation to this event": scores["paragraphs"]},
    }
    shift = record["footprint_shift"]
    return replace(predicted, record=adapted), {**shift, "warnings": [*shift["warnings"], *scores["warnings"]]}


def _describe_labels(path: Path) -> dict[str, str | None]:
    file, layer = split_layer(path)
    return {"name": file.name, "layer": layer, "sha256": sha256(file)}


def layers(adapted: Predicted, frame: gpd.GeoDataFrame, folder: Path) -> Layers:
    """Return the layers of the adapted buildings, as those of an assessment."""
    if adapted.record["head"]["labels"]:
        frame = frame.assign(run_id=adapted.record["run_id"])
    frames = {
        "buildings": frame,
        "aoi": area_of_interest(adapted.pair),
        "valid_area": valid_area(folder / "damage.tif", adapted.pair.grid),
    }
    styles = {"buildings": buildings_style(), "aoi": outline_style(), "valid_area": outline_style()}
    return Layers(frames, styles, adapted.stamp)


def write_record(
    adapted: Predicted, footprint_shift: dict[str, Any], head_file: Path, **made: str | Path
) -> dict[str, Any]:
    """Return the record of the adapted assessment."""
    record = inference.write_record(adapted, footprint_shift, [], **made)
    # The record already holds the warnings of the assessment.
    own = list(dict.fromkeys(record["warnings"]))
    return {**record, "warnings": own, "products": {**record["products"], head_file.name: sha256(head_file)}}
