"""Store, weights and parameters → checkpoint and history."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.pipelines.modelling.nodes import train


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline `modelling`."""
    return Pipeline(
        [
            Node(
                train,
                {
                    "store": "store",
                    "scenes": "scenes",
                    "splits": "splits",
                    "class_weights": "class_weights",
                    "sample_weights": "sample_weights",
                    "channel_statistics": "channel_statistics",
                    "dataset": "params:dataset",
                    "folders": "training_folders",
                    **{name: f"params:{name}" for name in Recipe.model_fields},
                },
                ["checkpoint", "weights", "history"],
                name="train",
            ),
        ]
    )
