"""Writes the files of an assessment that later commands read."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import pyogrio

from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.inference.record import describe_pair
from xview2_siamese_unet.inference.reopen import INPUTS, describe_inputs
from xview2_siamese_unet.inference.vector_formats import plain_path
from xview2_siamese_unet.raster.reader import Pair


def write_assessment(
    folder: Path, pair: Pair, params: InferenceParams | None = None, buildings: gpd.GeoDataFrame | None = None
) -> Path:
    """Write the record, the paths of the images and, if given, the buildings."""
    folder.mkdir(exist_ok=True)
    settings = {"inference": (params or InferenceParams()).model_dump(mode="json")}
    record = {"run_id": "f" * 12, "products": {}, "settings": settings, **describe_pair(pair)}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / INPUTS).write_text(json.dumps(describe_inputs(pair)))
    if buildings is not None:
        with plain_path(folder / "buildings.gpkg") as path:
            pyogrio.write_dataframe(buildings, path, layer="buildings")
    return folder
