"""Wiring of the validation pipeline: `kedro validate` runs the nodes of the sample, `kedro estimate` the others."""

from __future__ import annotations

from typing import Final

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.pipelines.validation import nodes

_BUILDINGS: Final = "assessed_buildings"
_INFERENCE: Final = "params:inference"
_VALIDATION: Final = "params:validation"
_SAMPLE: Final = "validation_sample"
_POPULATION: Final = "validation_population"


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline `validation`, which a plain run leaves out."""
    drawn = [
        Node(
            nodes.draw_sample,
            [_BUILDINGS, "validation_folder", _VALIDATION, _INFERENCE],
            [_POPULATION, _SAMPLE],
            name="draw_sample",
        ),
        Node(
            nodes.write_page,
            [_SAMPLE, _BUILDINGS, "assessment", "validation_folder", _INFERENCE],
            "validation_page",
            name="write_labelling_page",
        ),
        Node(
            nodes.write_shapes,
            [_SAMPLE, _BUILDINGS, "validation_folder", "assessment"],
            "validation_shapes",
            name="write_shapes",
        ),
    ]
    estimated = [
        Node(
            nodes.estimate,
            [_POPULATION, _SAMPLE, _BUILDINGS, "assessment", _VALIDATION, _INFERENCE],
            ["estimates_table", "estimates"],
            name="estimate",
        ),
        Node(nodes.write_estimates, ["estimates", "assessment"], "estimates_page", name="write_estimates"),
    ]
    return Pipeline([*drawn, *estimated])
