"""Wiring of the inference pipeline."""

from __future__ import annotations

from typing import Final

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.pipelines.inference import nodes, pages

_PARAMS: Final = "params:inference"
_RASTERS: Final = ["damage_raster", "probability_raster"]
_PREDICT: Final = {
    "harmonised": "harmonised",
    "checkpoint": "assessing_model",
    "params": _PARAMS,
    "hardware": "params:hardware",
    "folder": "assessment",
}
_RECORD: Final = {
    "predicted": "predicted",
    "footprint_shift": "footprint_shift",
    "formats": "buildings_in_other_formats",
    "damage.tif": "damage_raster",
    "damage.qml": "damage_style",
    "probability.tif": "probability_raster",
    "buildings.gpkg": "assessed_buildings",
    "summary.json": "assessment_summary",
    "summary.csv": "assessment_table",
    "map.html": "assessment_map",
    "report.html": "assessment_report",
}


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline `inference`, which a plain run leaves out."""
    buildings, summary = "assessed_buildings", "assessment_summary"
    return Pipeline(
        [
            Node(nodes.harmonise_pair, [_PARAMS, "assessment"], "harmonised", name="harmonise"),
            # Kedro runs nodes without dependencies by name: a missing model is reported before images are read.
            Node(nodes.take_model, [_PARAMS, "checkpoint"], "assessing_model", name="choose_model"),
            Node(nodes.predict_raster, _PREDICT, ["assessed_blocks", "predicted"], name="predict_raster"),
            Node(
                nodes.write_rasters,
                ["predicted", "assessed_blocks"],
                [*_RASTERS, "damage_style"],
                name="write_rasters",
            ),
            Node(
                nodes.outline_buildings,
                ["harmonised", _PARAMS, *_RASTERS],
                ["outlines", "footprint_shift"],
                name="outline_buildings",
            ),
            Node(
                nodes.vote_buildings,
                ["outlines", "harmonised", "predicted", *_RASTERS, _PARAMS],
                buildings,
                name="vote",
            ),
            Node(
                nodes.summarise_assessment,
                [buildings, "harmonised", "footprint_shift"],
                [summary, "assessment_table"],
                name="summarise_buildings",
            ),
            Node(nodes.in_formats, [buildings, _PARAMS], "buildings_in_other_formats", name="in_formats"),
            Node(pages.write_map, ["predicted", buildings, summary], "assessment_map", name="write_map"),
            Node(pages.write_assessment, ["predicted", summary], "assessment_report", name="write_assessment"),
            Node(nodes.write_record, _RECORD, "assessment_record", name="write_record"),
            Node(nodes.note_inputs, ["predicted", "assessment_record"], "assessment_inputs", name="note_inputs"),
        ]
    )
