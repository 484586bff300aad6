"""The pipeline `png_export`: scenes as 8-bit PNGs in the layout of the challenge, for other tools."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.datasets.partitions import Partitions
from xview2_siamese_unet.parallel import Lazy
from xview2_siamese_unet.raster.export import export_scene, last_source_change, png_name
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.xbd.scenes import pairs_of


def convert_scenes(folder: Path, files: pd.DataFrame, store: Store, executor: ExecutorParams) -> Partitions:
    """Convert the images of each packed scene to PNG and copy its labels, lazily."""
    used = set(store.scenes) - {scene for scene, *_ in store.problems}
    converted = {
        png_name(pair): Lazy(partial(export_scene, folder, pair), made_from=partial(last_source_change, folder, pair))
        for pair in pairs_of(files)
        if str(pair.scene) in used
    }
    return Partitions(converted, what="PNG scenes", executor=executor)


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline, which runs only on request."""
    inputs = ["raw_scenes", "scene_files", "store", "params:executor"]
    return Pipeline([Node(convert_scenes, inputs, "png_scenes", name="convert_scenes")])
