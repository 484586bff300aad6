"""The buildings of an assessment that a person labels next, from its images and the labels so far."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import geopandas as gpd
import numpy as np
import pandas as pd

from xview2_siamese_unet.adaptation.buildings import predict_all, zero_shot_of
from xview2_siamese_unet.adaptation.embedding import Embedding
from xview2_siamese_unet.adaptation.fitting import Labelled, fit_head, spatial_blocks
from xview2_siamese_unet.adaptation.head import Head
from xview2_siamese_unet.adaptation.sources import embed_with
from xview2_siamese_unet.adaptation.suggest import FIRST, resemblance, space, suggest
from xview2_siamese_unet.raster.reader import Pair
from xview2_siamese_unet.types import Float32Array, Float64Array, Int64Array

ADAPTED: Final = "adapted"
"""Folder of the adapted products, below that of the assessment."""
EMBEDDING: Final = ".embedding"
"""Folder of features below it; `kedro label` and `kedro adapt` share it."""


def next_labels(
    folder: Path,
    pair: Pair,
    buildings: gpd.GeoDataFrame,
    candidates: Sequence[str],
    count: int,
    labels: pd.DataFrame | None = None,
) -> list[str]:
    """Return the ids of the buildings to label next, the most useful first.

    The first labels represent all buildings in features and on the map. From `FIRST` labels of two classes on, they are
    those that a head fitted on the labels so far is least sure about, again spread over the features.

    Args:
        folder: of the assessment; features are kept below it.
        pair: its images.
        buildings: all of them.
        candidates: ids that may be asked for; leave out those of the validation sample.
        count: number of ids.
        labels: `building_id` and `damage` so far.
    """
    embedding = embed_with(("package",), buildings.geometry, pair, folder / ADAPTED / EMBEDDING)
    middles = buildings.geometry.centroid
    places = space(embedding, np.column_stack([middles.x, middles.y]))
    head = margins = None
    known = None if labels is None else labels.dropna().drop_duplicates("building_id")
    if known is not None and len(known) >= FIRST and known["damage"].nunique() > 1:
        labelled = labelled_buildings(embedding, buildings, known, space(embedding))
        head = fit_head(embedding, labelled)
        margins = _margins(head, embedding, buildings)
    numbers = pd.Index(buildings["building_id"]).get_indexer(pd.Index(candidates))
    chosen = suggest(places, numbers[numbers >= 0], count, head, margins)
    return [str(name) for name in buildings["building_id"].iloc[chosen]]


def labelled_buildings(
    embedding: Embedding, buildings: gpd.GeoDataFrame, labels: pd.DataFrame, places: Float32Array
) -> Labelled:
    """Return the labelled buildings that have features.

    Args:
        embedding: features of all buildings.
        buildings: all of them.
        labels: `building_id` and `damage`, which is never missing.
        places: of all buildings, from `space` without positions.
    """
    numbers: Int64Array = pd.Index(buildings["building_id"]).get_indexer(pd.Index(labels["building_id"]))
    classes, rows = labels["damage"].to_numpy(np.int64), embedding.rows(numbers)
    seen = np.isfinite(rows[:, 0])
    numbers = numbers[seen]
    middles, zero_shot = buildings.geometry.iloc[numbers].centroid, zero_shot_of(buildings)
    return Labelled(
        rows[seen],
        classes[seen],
        spatial_blocks(np.column_stack([middles.x, middles.y])),
        resemblance(places, numbers),
        None if zero_shot is None else zero_shot[numbers],
    )


def _margins(head: Head, embedding: Embedding, buildings: gpd.GeoDataFrame) -> Float64Array:
    """Return the difference of the two largest probabilities of each building."""
    ranked = np.sort(predict_all(head, embedding, buildings), axis=1)
    margins: Float64Array = ranked[:, -1] - ranked[:, -2]
    return margins
