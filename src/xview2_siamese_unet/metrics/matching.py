"""Buildings of truth and prediction, matched one to one where their intersection over union is above one half.

Above one half a building has at most one partner, so there is nothing to choose (Kirillov et al. 2019, Panoptic
Segmentation, arXiv 1801.00868). A true building is a polygon of the pre-disaster label, so neighbours that touch stay
two; a predicted one is a connected part of the map (pixels that share a side), and has the damage of most of its
pixels, the worse where two classes tie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from rasterio.features import rasterize
from scipy import ndimage

from xview2_siamese_unet.damage import N_CODES, SUBTYPES
from xview2_siamese_unet.metrics.confusion import IntArray, UInt8Array
from xview2_siamese_unet.metrics.table import Predictions
from xview2_siamese_unet.xbd.polygons import parse_polygons

MATCHED: Final = 0.5
MATCH_COLUMNS: Final = {
    "scene": "str", "disaster": "str", "disaster_type": "str", "uid": "str",
    "truth": "int64", "predicted": "int64", "pixels": "int64", "iou": "float64",
}  # fmt: skip
"""One row a building. `truth` 0: a false alarm, without uid; `predicted` 0: missed; `pixels` of the truth, or of a
false alarm; `iou` 0 where there is no match."""
InstanceArray = npt.NDArray[np.int32]


class Matches(NamedTuple):
    """All buildings of one scene: n true ones in their order, then the false alarms.

    Attributes:
        truth: code of each, 0 for a false alarm.
        predicted: code of each, 0 for a missed one.
        pixels: size of the true building, or of the false alarm; 0 where another polygon hides all of it.
        iou: of the match, 0 without one.
    """

    truth: IntArray
    predicted: IntArray
    pixels: IntArray
    iou: npt.NDArray[np.float64]


def burn_instances(
    wkt: Sequence[str], shape: tuple[int, int], rule: Literal["centre", "outline"], *, scene: str
) -> InstanceArray:
    """Return the number of the polygon at each pixel, from 1, 0 where there is none: int32 (h, w).

    Where polygons overlap, the smaller one stays, for it would vanish otherwise.

    Raises:
        LabelError: a text that is no polygon.
    """
    polygons = parse_polygons(wkt, scene)
    order = np.argsort(-shapely.area(polygons), kind="stable").tolist()
    if not order:
        return np.zeros(shape, np.int32)
    shapes = [(polygons[place], place + 1) for place in order]
    instances: InstanceArray = rasterize(shapes, out_shape=shape, dtype="int32", all_touched=rule == "outline")
    return instances


def match_buildings(instances: InstanceArray, codes: Sequence[int], predicted: UInt8Array) -> Matches:
    """Match the buildings of one scene.

    Args:
        instances: int32 (h, w), number of the true building at each pixel, from 1; 0 elsewhere.
        codes: damage code of each true building, n of them.
        predicted: uint8 (h, w), predicted damage codes.
    """
    parts, n_parts = ndimage.label(predicted)
    there = np.flatnonzero((instances > 0) | (parts > 0))
    true, part = instances.ravel()[there].astype(np.int64), parts.ravel()[there].astype(np.int64)
    sizes, part_sizes = np.bincount(true, minlength=len(codes) + 1), np.bincount(part, minlength=n_parts + 1)
    pairs, shared = np.unique(true * (n_parts + 1) + part, return_counts=True)
    pair_true, pair_part = np.divmod(pairs, n_parts + 1)
    iou = shared / (sizes[pair_true] + part_sizes[pair_part] - shared)
    hit = (pair_true > 0) & (pair_part > 0) & (iou > MATCHED)
    votes = np.bincount(part * N_CODES + predicted.ravel()[there], minlength=(n_parts + 1) * N_CODES)
    part_codes = N_CODES - 1 - votes.reshape(-1, N_CODES)[:, ::-1].argmax(axis=1)
    found, best = np.zeros(len(codes) + 1, np.int64), np.zeros(len(codes) + 1)
    found[pair_true[hit]], best[pair_true[hit]] = part_codes[pair_part[hit]], iou[hit]
    alarms = np.setdiff1d(np.arange(1, n_parts + 1), pair_part[hit])
    none = np.zeros(len(alarms), np.int64)
    return Matches(
        np.concatenate([np.asarray(codes, np.int64), none]),
        np.concatenate([found[1:], part_codes[alarms]]),
        np.concatenate([sizes[1:], part_sizes[alarms]]),
        np.concatenate([best[1:], none]),
    )


def match_scenes(
    predictions: Predictions, counts: pd.DataFrame, buildings: pd.DataFrame, rule: Literal["centre", "outline"]
) -> pd.DataFrame:
    """Return the table of matched, missed and falsely found buildings; holds one scene in memory at a time.

    True buildings without a pixel of their own, outside the image or hidden under others, are left out.

    Args:
        predictions: scene name → loader of its predicted damage map.
        counts: the scenes to score; columns scene, disaster, disaster_type.
        buildings: columns uid, scene, damage (its word), pre_polygon (WKT in pixels).
        rule: how masks are burnt, see `MaskParams.rule`.
    """
    of_scene = dict(iter(buildings.groupby("scene")))
    facts = counts[["scene", "disaster", "disaster_type"]].to_dict("records")
    none = buildings.iloc[:0]
    tables = [_scene_table(row, of_scene.get(row["scene"], none), predictions[row["scene"]](), rule) for row in facts]
    return pd.concat(tables, ignore_index=True)


def _scene_table(
    facts: Mapping[Any, Any], buildings: pd.DataFrame, predicted: UInt8Array, rule: Literal["centre", "outline"]
) -> pd.DataFrame:
    height, width = predicted.shape
    instances = burn_instances(list(buildings["pre_polygon"]), (height, width), rule, scene=facts["scene"])
    matches = match_buildings(instances, [SUBTYPES[word] for word in buildings["damage"]], predicted)
    uids = [*buildings["uid"], *[""] * (len(matches.truth) - len(buildings))]
    table = pd.DataFrame({**matches._asdict(), "uid": uids}).assign(**facts)
    return table.loc[table["pixels"] > 0, list(MATCH_COLUMNS)].astype(MATCH_COLUMNS)
