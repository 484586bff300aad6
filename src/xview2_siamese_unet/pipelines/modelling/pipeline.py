"""Store, weights and parameters → checkpoint and history."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.pipelines.modelling import nodes

_SECTIONS = ("model", "classes", "training", "prediction", "loss_weights", "focal_loss", "dataloader", "hardware")


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline `modelling`."""
    return Pipeline(
        [
            Node(nodes.collect_recipe, {name: f"params:{name}" for name in _SECTIONS}, "recipe", name="collect_recipe"),
            Node(
                nodes.train,
                {
                    "recipe": "recipe",
                    "store": "store",
                    "scenes": "scenes",
                    "splits": "splits",
                    "class_weights": "class_weights",
                    "sample_weights": "sample_weights",
                    "channel_statistics": "channel_statistics",
                    "dataset": "params:dataset",
                    "folders": "training_folders",
                },
                ["checkpoint", "weights", "history"],
                name="train",
            ),
        ]
    )
