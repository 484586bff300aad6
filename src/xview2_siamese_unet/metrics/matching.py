"""Buildings of truth and prediction, matched one to one where their intersection over union is above one half.

Above one half a building has at most one partner, so there is nothing to choose (Kirillov et al. 2019, Panoptic
Segmentation, arXiv 1801.00868). A true building is a polygon of the pre-disaster label, so neighbours that touch stay
two; a predicted one is a connected part of the map (pixels that share a side), and has the damage of most of its
pixels, the worse where two classes tie.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import shapely
from rasterio.features import rasterize
from scipy import ndimage

from xview2_siamese_unet.damage import N_CODES, SUBTYPES
from xview2_siamese_unet.metrics.confusion import IntArray, UInt8Array
from xview2_siamese_unet.metrics.table import Predictions
from xview2_siamese_unet.raster.io import LEVELS
from xview2_siamese_unet.xbd.labels import parse_polygons

logger = logging.getLogger(__name__)
MATCHED: Final = 0.5
MATCH_COLUMNS: Final = {
    "scene": "str", "disaster": "str", "disaster_type": "str", "uid": "str",
    "truth": "int64", "predicted": "int64", "pixels": "int64", "iou": "float64", "confidence": "float64",
    "top": "int64", "left": "int64", "bottom": "int64", "right": "int64",
}  # fmt: skip
"""One row a building. `truth` 0: a false alarm, without uid; `predicted` 0: missed; `pixels` and the frame `top` to
`right` of the truth, or of a false alarm; `iou` 0 where there is no match; `confidence` as in `Matches`."""
InstanceArray = npt.NDArray[np.int32]


class Matches(NamedTuple):
    """All buildings of one scene: n true ones in their order, then the false alarms.

    Attributes:
        truth: code of each, 0 for a false alarm.
        predicted: code of each, 0 for a missed one.
        pixels: size of the true building, or of the false alarm; 0 where another polygon hides all of it.
        iou: of the match, 0 without one.
        confidence: mean probability of the answer over the found building, or of background over a missed one; NaN for
            an answer that has no probability.
        top, left, bottom, right: the frame in pixels, the last two outside of it; 0 without a pixel.
    """

    truth: IntArray
    predicted: IntArray
    pixels: IntArray
    iou: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    top: IntArray
    left: IntArray
    bottom: IntArray
    right: IntArray


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


def match_buildings(
    instances: InstanceArray, codes: Sequence[int], predicted: UInt8Array, shares: UInt8Array
) -> Matches:
    """Match the buildings of one scene.

    Args:
        instances: int32 (h, w), number of the true building at each pixel, from 1; 0 elsewhere.
        codes: damage code of each true building, n of them.
        predicted: uint8 (h, w), predicted damage codes.
        shares: uint8 (5, h, w), probabilities of background and the four classes in steps of 1/254.
    """
    parts, n_parts = ndimage.label(predicted)
    there = np.flatnonzero((instances > 0) | (parts > 0))
    true, part = instances.ravel()[there].astype(np.int64), parts.ravel()[there].astype(np.int64)
    sizes, part_sizes = np.bincount(true, minlength=len(codes) + 1), np.bincount(part, minlength=n_parts + 1)
    pair_true, pair_part, iou = _overlaps(true, part, sizes, part_sizes)
    hit = (pair_true > 0) & (pair_part > 0) & (iou > MATCHED)
    alarms = np.setdiff1d(np.arange(1, n_parts + 1), pair_part[hit])
    pair_true, pair_part = pair_true[hit], pair_part[hit]
    part_codes = _most_common(part, predicted.ravel()[there], n_parts)
    seen = shares.reshape(len(shares), -1)[:, there]
    part_sure = _mean_share(part, part_codes, seen)
    found, best, sure = np.zeros_like(sizes), np.zeros(len(sizes)), _mean_share(true, np.zeros_like(sizes), seen)
    found[pair_true], best[pair_true], sure[pair_true] = part_codes[pair_part], iou[hit], part_sure[pair_part]
    frames = np.concatenate([_frames(instances, len(codes)), _frames(parts, n_parts)[alarms - 1]])
    none = np.zeros(len(alarms), np.int64)
    return Matches(
        np.concatenate([np.asarray(codes, np.int64), none]),
        np.concatenate([found[1:], part_codes[alarms]]),
        np.concatenate([sizes[1:], part_sizes[alarms]]),
        np.concatenate([best[1:], none]),
        np.concatenate([sure[1:], part_sure[alarms]]),
        *frames.T,
    )


def _overlaps(
    true: IntArray, part: IntArray, sizes: IntArray, part_sizes: IntArray
) -> tuple[IntArray, IntArray, npt.NDArray[np.float64]]:
    """Return which true building meets which part, and their intersection over union; each (pairs,)."""
    pairs, shared = np.unique(true * len(part_sizes) + part, return_counts=True)
    pair_true, pair_part = np.divmod(pairs, len(part_sizes))
    return pair_true, pair_part, shared / (sizes[pair_true] + part_sizes[pair_part] - shared)


def _most_common(part: IntArray, codes: UInt8Array, n_parts: int) -> IntArray:
    """Return the code of most pixels of each part, the worse where two tie; (n_parts + 1,)."""
    votes = np.bincount(part * N_CODES + codes, minlength=(n_parts + 1) * N_CODES)
    return np.asarray(N_CODES - 1 - votes.reshape(-1, N_CODES)[:, ::-1].argmax(axis=1))


def _mean_share(labels: IntArray, codes: IntArray, shares: UInt8Array) -> npt.NDArray[np.float64]:
    """Return the mean probability of the code of each label over its pixels; labels (k,), codes (n,), shares (5, k)."""
    of_pixel = codes[labels]
    known = of_pixel < len(shares)
    values = np.where(known, shares[of_pixel * known, np.arange(len(labels))] / LEVELS, np.nan)
    sums, sizes = np.bincount(labels, values, len(codes)), np.bincount(labels, minlength=len(codes))
    return sums / np.maximum(sizes, 1)


def _frames(labels: npt.NDArray[np.integer], n: int) -> IntArray:
    """Return top, left, bottom and right of each label from 1 to n, int64 (n, 4); zeros where it has no pixel."""
    found = ndimage.find_objects(labels, n)
    frames = [(0, 0, 0, 0) if at is None else (at[0].start, at[1].start, at[0].stop, at[1].stop) for at in found]
    return np.array(frames, np.int64).reshape(-1, 4)


def match_scenes(
    predictions: Predictions,
    probabilities: Predictions,
    counts: pd.DataFrame,
    buildings: pq.ParquetFile,
    rule: Literal["centre", "outline"],
) -> pd.DataFrame:
    """Return the table of matched, missed and falsely found buildings; holds one scene in memory at a time.

    True buildings without a pixel of their own, outside the image or hidden under others, are left out and counted in a
    warning.

    Args:
        predictions: scene name → loader of its predicted damage map.
        probabilities: scene name → loader of its probabilities, uint8 (5, h, w), see `match_buildings`.
        counts: the scenes to score; columns scene, disaster, disaster_type.
        buildings: columns uid, scene, damage (its word), pre_polygon (WKT in pixels).
        rule: how masks are burnt, see `MaskParams.rule`.
    """
    labels = buildings.read(columns=["uid", "scene", "damage", "pre_polygon"]).to_pandas()
    of_scene = dict(iter(labels.groupby("scene")))
    none = labels.iloc[:0]
    tables = [
        _scene_table(
            facts,
            of_scene.get(facts["scene"], none),
            (predictions[facts["scene"]](), probabilities[facts["scene"]]()),
            rule,
        )
        for facts in counts[["scene", "disaster", "disaster_type"]].to_dict("records")
    ]
    table = pd.concat(tables, ignore_index=True)
    labelled = int(labels["scene"].isin(counts["scene"]).sum())
    if hidden := labelled - int((table["truth"] > 0).sum()):
        logger.warning("%d of %d labelled buildings have no pixel of their own and are not matched", hidden, labelled)
    return table


def _scene_table(
    facts: Mapping[Any, Any],
    buildings: pd.DataFrame,
    answer: tuple[UInt8Array, UInt8Array],
    rule: Literal["centre", "outline"],
) -> pd.DataFrame:
    height, width = answer[0].shape
    instances = burn_instances(list(buildings["pre_polygon"]), (height, width), rule, scene=facts["scene"])
    matches = match_buildings(instances, [SUBTYPES[word] for word in buildings["damage"]], *answer)
    uids = [*buildings["uid"], *[""] * (len(matches.truth) - len(buildings))]
    table = pd.DataFrame({**matches._asdict(), "uid": uids}).assign(**facts)
    return table.loc[table["pixels"] > 0, list(MATCH_COLUMNS)].astype(MATCH_COLUMNS)
