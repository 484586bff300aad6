"""Wiring of the adaptation pipeline."""

from __future__ import annotations

from typing import Final

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.pipelines.adaptation import nodes
from xview2_siamese_unet.pipelines.inference import nodes as inference
from xview2_siamese_unet.pipelines.inference import pages

_PARAMS: Final = "params:adaptation"
_FOLDER: Final = "assessment"
_RECORD: Final = {
    "adapted": "adapted",
    "footprint_shift": "adapted_footprint_shift",
    "head_file": "head",
    "buildings.gpkg": "adapted_buildings",
    "summary.json": "adapted_summary",
    "summary.csv": "adapted_table",
    "map.html": "adapted_map",
    "report.html": "adapted_report",
}


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline `adaptation`, which a plain run leaves out."""
    reopened = ["reopened", "reopened_images", "zero_shot_buildings"]
    buildings, summary = "adapted_buildings", "adapted_summary"
    return Pipeline(
        [
            Node(nodes.reopen, [_PARAMS, _FOLDER], reopened, name="reopen_assessment"),
            Node(
                nodes.read_training_labels,
                [_PARAMS, "zero_shot_buildings", _FOLDER],
                "training_labels",
                name="read_labels",
            ),
            Node(
                nodes.embed_buildings,
                ["reopened", "zero_shot_buildings", _PARAMS, _FOLDER],
                "embedding",
                name="embed_buildings",
            ),
            Node(
                nodes.fit,
                ["embedding", "zero_shot_buildings", "training_labels", _PARAMS],
                ["head", "head_scores"],
                name="fit_head",
            ),
            Node(
                nodes.adapt,
                ["reopened", "zero_shot_buildings", "embedding", "training_labels", "head"],
                "adapted_frame",
                name="adapt_buildings",
            ),
            Node(
                nodes.describe_adapted,
                ["reopened", "head", "head_scores", _PARAMS],
                ["adapted", "adapted_footprint_shift"],
                name="describe_adapted",
            ),
            Node(nodes.layers, ["adapted", "adapted_frame", _FOLDER], buildings, name="adapted_layers"),
            Node(
                inference.summarise_assessment,
                [buildings, "reopened_images", "adapted_footprint_shift"],
                [summary, "adapted_table"],
                name="summarise_adapted",
            ),
            Node(pages.write_map, ["adapted", buildings, summary], "adapted_map", name="write_adapted_map"),
            Node(pages.write_assessment, ["adapted", summary], "adapted_report", name="write_adapted_report"),
            Node(nodes.write_record, _RECORD, "adapted_record", name="write_adapted_record"),
        ]
    )
