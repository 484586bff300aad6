"""Matching and scores of buildings, each counted once; not official.

Buildings of truth and prediction are matched one to one where their intersection over union is above one half; above
one half a building has at most one partner (Kirillov et al. 2019, Panoptic Segmentation, arXiv 1801.00868). A true
building is a polygon of the pre-disaster label, so touching neighbours stay two; a predicted one is a connected
component of the map (pixels that share a side) with the class of most of its pixels, on a tie the worse one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import shapely
from rasterio.features import rasterize
from scipy import ndimage

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.config.reporting import IntervalParams
from xview2_siamese_unet.damage import N_CODES, SCORED, SUBTYPES, Damage
from xview2_siamese_unet.metrics.bootstrap import bounds, draw_weights
from xview2_siamese_unet.metrics.confusion import Predictions
from xview2_siamese_unet.metrics.scores import class_scores, scored_damage
from xview2_siamese_unet.raster.io import LEVELS
from xview2_siamese_unet.raster.rasterize import Rule
from xview2_siamese_unet.types import (
    Boxes,
    Components,
    DamageCounts,
    Float64Array,
    Int64Array,
    Integers,
    LocalizationCounts,
    Mask,
    Numbers,
    Probabilities,
    UInt8Array,
)
from xview2_siamese_unet.xbd.labels import parse_polygons

_log = logging.getLogger(__name__)
MATCHED: Final = 0.5
MATCH_COLUMNS: Final = {
    "scene": "str", "disaster": "str", "disaster_type": "str", "uid": "str",
    "truth": "int64", "predicted": "int64", "pixels": "int64", "iou": "float64", "confidence": "float64",
    "top": "int64", "left": "int64", "bottom": "int64", "right": "int64",
}  # fmt: skip
"""One row a building, columns as in `Matches`; a false alarm has no uid."""
PIXEL_SIZES: Final = {
    "below 10 × 10 px": (0, 100),
    "10 × 10 to 20 × 20 px": (100, 400),
    "20 × 20 to 40 × 40 px": (400, 1600),
    "40 × 40 px and more": (1600, np.iinfo(np.int64).max),
}
"""Name → pixels from, below; a pixel of xBD is about half a metre wide."""


class Matches(NamedTuple):
    """All buildings of one scene: the true ones, then the false alarms.

    Attributes:
        truth: code of each, 0 for a false alarm.
        predicted: code of each, 0 for a missed one.
        pixels: size of the true building, or of the false alarm; 0 if another polygon hides all of it.
        iou: of the match, 0 without one.
        confidence: mean probability of the predicted class over the predicted building, of background over a missed
            one; NaN for a class without a probability.
        top, left, bottom, right: bounding box in pixels, the last two outside of it; 0 without a pixel.
    """

    truth: Integers
    predicted: Integers
    pixels: Integers
    iou: Numbers
    confidence: Numbers
    top: Integers
    left: Integers
    bottom: Integers
    right: Integers


def burn_instances(wkt: Sequence[str], shape: tuple[int, int], rule: Rule, *, scene: str) -> Components:
    """Return the number of the polygon at each pixel, from 1, else 0.

    Where polygons overlap, the smaller one stays, because it could vanish otherwise.

    Raises:
        LabelError: a text that is no polygon.
    """
    polygons = parse_polygons(wkt, scene)
    order = np.argsort(-shapely.area(polygons), kind="stable").tolist()
    if not order:
        return np.zeros(shape, np.int32)
    shapes = [(polygons[index], index + 1) for index in order]
    instances: Components = rasterize(shapes, out_shape=shape, dtype="int32", all_touched=rule == "outline")
    return instances


def match_buildings(
    instances: Components, codes: Sequence[int], predicted: Mask, probabilities: Probabilities
) -> Matches:
    """Match the buildings of one scene.

    Args:
        instances: number of the true building at each pixel, from 1; 0 elsewhere.
        codes: damage code of each true building.
        predicted: predicted damage codes.
        probabilities: of background and the four classes in steps of 1/254.
    """
    components, n_components = ndimage.label(predicted)
    built = np.flatnonzero((instances > 0) | (components > 0))
    true, part = instances.ravel()[built].astype(np.int64), components.ravel()[built].astype(np.int64)
    sizes, part_sizes = np.bincount(true, minlength=len(codes) + 1), np.bincount(part, minlength=n_components + 1)
    pairs, shared = np.unique(true * len(part_sizes) + part, return_counts=True)
    pair_true, pair_part = np.divmod(pairs, len(part_sizes))
    iou = shared / (sizes[pair_true] + part_sizes[pair_part] - shared)
    hit = (pair_true > 0) & (pair_part > 0) & (iou > MATCHED)
    alarms = np.setdiff1d(np.arange(1, n_components + 1), pair_part[hit])
    pair_true, pair_part = pair_true[hit], pair_part[hit]
    votes = np.bincount(part * N_CODES + predicted.ravel()[built], minlength=(n_components + 1) * N_CODES)
    part_codes = N_CODES - 1 - votes.reshape(-1, N_CODES)[:, ::-1].argmax(axis=1)
    shares = probabilities.reshape(len(probabilities), -1)[:, built]
    part_confidence = _mean_probability(part, part_codes, shares)
    code, best = np.zeros_like(sizes), np.zeros(len(sizes))
    confidence = _mean_probability(true, np.zeros_like(sizes), shares)
    code[pair_true], best[pair_true], confidence[pair_true] = (
        part_codes[pair_part],
        iou[hit],
        part_confidence[pair_part],
    )
    boxes = np.concatenate([_boxes(instances, len(codes)), _boxes(components, n_components)[alarms - 1]])
    zeros = np.zeros(len(alarms), np.int64)
    return Matches(
        np.concatenate([np.asarray(codes, np.int64), zeros]),
        np.concatenate([code[1:], part_codes[alarms]]),
        np.concatenate([sizes[1:], part_sizes[alarms]]),
        np.concatenate([best[1:], zeros]),
        np.concatenate([confidence[1:], part_confidence[alarms]]),
        *boxes.T,
    )


def _mean_probability(labels: Int64Array, codes: Int64Array, probabilities: UInt8Array) -> Float64Array:
    """Return the mean probability of the code of each label over its pixels.

    Labels (k,), codes (n,), probabilities (5, k) → (n,).
    """
    of_pixel = codes[labels]
    known = of_pixel < len(probabilities)
    values = np.where(known, probabilities[of_pixel * known, np.arange(len(labels))] / LEVELS, np.nan)
    sums, sizes = np.bincount(labels, values, len(codes)), np.bincount(labels, minlength=len(codes))
    return sums / np.maximum(sizes, 1)


def _boxes(labels: npt.NDArray[np.integer], n: int) -> Boxes:
    """Return the boxes of labels 1 to n; 0 if absent."""
    slices = ndimage.find_objects(labels, n)
    boxes = [(0, 0, 0, 0) if at is None else (at[0].start, at[1].start, at[0].stop, at[1].stop) for at in slices]
    return np.array(boxes, np.int64).reshape(-1, 4)


def match_scenes(
    predictions: Predictions, probabilities: Predictions, counts: pd.DataFrame, buildings: pq.ParquetFile, rule: Rule
) -> pd.DataFrame:
    """Return the table of matched and missed buildings and of false alarms.

    Holds one scene in memory at a time. True buildings without a pixel, because they are outside the image or hidden
    under others, are left out and counted in a warning.

    Args:
        predictions: scene name → loader of its predicted damage map.
        probabilities: scene name → loader of its probabilities, uint8 (5, h, w), see `match_buildings`.
        counts: the scenes to score; columns scene, disaster, disaster_type.
        buildings: columns uid, scene, damage (its word), pre_polygon (WKT in pixels).
        rule: how masks are burnt, see `MaskParams.rule`.
    """
    labels = buildings.read(columns=["uid", "scene", "damage", "pre_polygon"]).to_pandas()
    of_scene = dict(iter(labels.groupby("scene")))
    tables = []
    for facts in counts[["scene", "disaster", "disaster_type"]].to_dict("records"):
        name = facts["scene"]
        prediction = predictions[name](), probabilities[name]()
        tables.append(_scene_table(facts, of_scene.get(name, labels.iloc[:0]), prediction, rule))
    table = pd.concat(tables, ignore_index=True)
    labelled = int(labels["scene"].isin(counts["scene"]).sum())
    if hidden := labelled - int((table["truth"] > 0).sum()):
        _log.warning(
            "%d of %d labelled buildings are not matched: they are hidden or outside",
            hidden,
            labelled,
        )
    return table


def _scene_table(
    facts: Mapping[Any, Any], buildings: pd.DataFrame, prediction: tuple[Mask, Probabilities], rule: Rule
) -> pd.DataFrame:
    height, width = prediction[0].shape
    instances = burn_instances(list(buildings["pre_polygon"]), (height, width), rule, scene=facts["scene"])
    matches = match_buildings(instances, [SUBTYPES[word] for word in buildings["damage"]], *prediction)
    uids = [*buildings["uid"], *[""] * (len(matches.truth) - len(buildings))]
    table = pd.DataFrame({**matches._asdict(), "uid": uids}).assign(**facts)
    return table.loc[table["pixels"] > 0, list(MATCH_COLUMNS)].astype(MATCH_COLUMNS)


def building_confusion(matches: pd.DataFrame) -> DamageCounts:
    """Return one matrix of buildings, rows truth; row 0 false alarms, column 0 missed buildings."""
    joint = matches["truth"].to_numpy(np.int64) * N_CODES + matches["predicted"].to_numpy(np.int64)
    return np.bincount(joint, minlength=N_CODES**2).astype(np.int64).reshape(N_CODES, N_CODES)


def building_scores(
    matches: pd.DataFrame, scenes: int, unclassified: Unclassified, params: IntervalParams
) -> dict[str, Any]:
    """Return the section `buildings` of `metrics.json`.

    Keys: `precision`, `recall`, `f1`, `support` of detection; `f1_interval` (95 %, over scenes); `damage` (scores of
    each class by the rules of the official score, a building in place of a pixel); `sizes` (as the first four, false
    alarms by their own size); `confusion` (counts of all codes).

    Args:
        matches: table of `match_scenes`.
        scenes: how many scenes were scored, with or without buildings.
        unclassified: meaning of un-classified truth.
        params: of the interval.
    """
    confusion = building_confusion(matches)
    damage = class_scores(scored_damage(confusion, unclassified))
    # A scene without buildings adds nothing to a resample, but may be part of it.
    each = np.zeros((scenes, 2, 2), np.int64)
    for row, (_, buildings) in enumerate(matches.groupby("scene", sort=True)):
        each[row] = _detection(building_confusion(buildings))
    sums = draw_weights(scenes, draws=params.draws, seed=params.seed) @ each.reshape(scenes, 4)
    sizes = {name: matches["pixels"].between(*limits, inclusive="left") for name, limits in PIXEL_SIZES.items()}
    return {
        **_detection_scores(confusion),
        "f1_interval": bounds({"f1": class_scores(sums.reshape(-1, 2, 2)).f1[:, 1]})["f1"],
        "damage": {code.word: damage.of(code) for code in SCORED},
        "sizes": {name: _detection_scores(building_confusion(matches[rows])) for name, rows in sizes.items()},
        "confusion": confusion.tolist(),
    }


def _detection(confusion: DamageCounts) -> LocalizationCounts:
    """Reduce counts of codes to background and building."""
    first = [Damage.BACKGROUND, Damage.NO_DAMAGE]
    return np.add.reduceat(np.add.reduceat(confusion, first, axis=0), first, axis=1)


def _detection_scores(confusion: DamageCounts) -> dict[str, float]:
    scores = class_scores(_detection(confusion)).of(1)
    return {key: scores[key] for key in ("precision", "recall", "f1", "support")}
