"""Adapted buildings: classes of the head in place of those of the assessment."""

from __future__ import annotations

import logging
from typing import Final

import geopandas as gpd
import numpy as np
import pandas as pd

from xview2_siamese_unet.adaptation.embedding import Embedding
from xview2_siamese_unet.adaptation.head import Head
from xview2_siamese_unet.inference.buildings import (
    ABSTAINED,
    ASSESSED,
    CEMS,
    NO_MODEL,
    NOT_ASSESSED,
    SHARES,
    with_classes,
)
from xview2_siamese_unet.types import BoolArray, Float64Array

NO_FEATURES: Final = "no features: its centre is not visible"
"""Reason of a building of which enough is visible, but not the part that features are computed from."""
_log = logging.getLogger(__name__)


def zero_shot_of(buildings: gpd.GeoDataFrame) -> Float64Array | None:
    """Return the probabilities of the assessment (n, 4), NaN for buildings without any; `None` without a model."""
    shares: Float64Array = buildings[list(SHARES)].to_numpy(float)
    return shares if np.isfinite(shares).any() else None


def can_be_assessed(buildings: gpd.GeoDataFrame) -> BoolArray:
    """Return which buildings are visible enough, whatever a model predicted."""
    visible: BoolArray = ((buildings["status"] != NOT_ASSESSED) | (buildings["reason"] == NO_MODEL)).to_numpy()
    return visible


def predict_all(head: Head, embedding: Embedding, buildings: gpd.GeoDataFrame) -> Float64Array:
    """Return the probabilities of the four damage classes for all buildings (n, 4); NaN for those without features."""
    zero_shot = zero_shot_of(buildings)
    shares = np.full((len(buildings), len(SHARES)), np.nan)
    for numbers, features in embedding.chunks():
        visible = np.isfinite(features[:, 0])
        rows = numbers[visible]
        prior = zero_shot[rows] if zero_shot is not None else None
        shares[rows] = head.probabilities(features[visible], prior)
    return shares


def adapt_buildings(
    buildings: gpd.GeoDataFrame, shares: Float64Array, labels: pd.DataFrame, *, abstain_below: float, head_id: str
) -> gpd.GeoDataFrame:
    """Return the buildings with the classes of the head, in the same order.

    Args:
        buildings: of the assessment.
        shares: of `predict_all`.
        labels: `building_id` and `damage`; labelled buildings get their label in the column `label` and keep the class
            of the head, so that counts treat all buildings alike.
        abstain_below: confidence below which a building gets no class.
        head_id: for the column `model_id`.
    """
    frame, visible = buildings.copy(), can_be_assessed(buildings)
    assessed = visible & np.isfinite(shares).all(axis=1)
    bare = visible & ~assessed
    if bare.any():
        _log.warning("%d of %d visible buildings have no features and are not assessed", bare.sum(), visible.sum())
    frame.loc[bare, "status"], frame.loc[bare, "reason"] = NOT_ASSESSED, NO_FEATURES
    confidence = np.nan_to_num(shares).max(axis=1)
    uncertain = assessed & (confidence < abstain_below)
    frame.loc[assessed, "status"], frame.loc[assessed, "reason"] = ASSESSED, None
    frame.loc[uncertain, "status"], frame.loc[uncertain, "reason"] = ABSTAINED, f"confidence below {abstain_below:g}"
    frame = with_classes(frame, shares)
    frame["cems_grade"] = frame["damage"].map(CEMS).fillna("Not analysed")
    frame["model_id"] = head_id
    return with_labels(frame, labels)


def with_labels(buildings: gpd.GeoDataFrame, labels: pd.DataFrame) -> gpd.GeoDataFrame:
    """Return the buildings with a column `label`, missing for those without a label; geometry stays last."""
    known = labels.set_index("building_id")["damage"]
    frame = buildings.assign(label=pd.array(buildings["building_id"].map(known), dtype="Int8"))
    return frame[[*frame.columns.drop(frame.geometry.name), frame.geometry.name]]
