"""Scenes as 8-bit PNGs in the layout of the challenge, for other tools."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.pipelines.png_export import nodes


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline `png_export`, which runs only on request."""
    return Pipeline(
        [
            Node(
                nodes.convert_scenes,
                ["raw_scenes", "scene_files", "store", "params:executor"],
                "png_scenes",
                name="convert_scenes",
            )
        ]
    )
