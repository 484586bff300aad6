"""Files of predictions for the xView2 challenge; this pipeline runs only by name."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from kedro.pipeline import Node, Pipeline
from PIL import Image

from xview2_siamese_unet.metrics.challenge import number_scenes, submission_masks
from xview2_siamese_unet.metrics.confusion import Predictions


def submit(manifest: pd.DataFrame, predictions: Predictions, part: str) -> Iterator[dict[str, Image.Image]]:
    """Yield the files of a submission, one scene in memory at a time."""
    for stem, codes in submission_masks(manifest, predictions, part):
        yield {stem: Image.fromarray(codes)}


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline from `predictions` to `submission`."""
    return Pipeline(
        [
            Node(number_scenes, "scene_counts", "submission_manifest", name="number_scenes"),
            Node(submit, ["submission_manifest", "predictions", "params:submission.part"], "submission", name="submit"),
        ]
    )
