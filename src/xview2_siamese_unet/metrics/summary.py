"""Counts of each scene as a table, and the contents of `metrics.json`.

Columns of the table: `scene`, `split`, `disaster`, `disaster_type`, then 4 + 36 int64 counts of pixels. Any grouping or
resampling of scenes is a sum of rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import pandas as pd

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.config.reporting import IntervalParams
from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.bootstrap import intervals
from xview2_siamese_unet.metrics.buildings import building_scores
from xview2_siamese_unet.metrics.calibration import summarise_probabilities
from xview2_siamese_unet.metrics.confusion import COUNT_COLUMNS, Counts, Predictions, count_scene, rows_of, total
from xview2_siamese_unet.metrics.scores import (
    class_scores,
    constant_scores,
    mean_scores,
    official_score,
    scored_damage,
)
from xview2_siamese_unet.raster.store import Store

_DEFAULT: Final = IntervalParams()


def count_scenes(
    predictions: Predictions, store: Store, scenes: pd.DataFrame, splits: pd.DataFrame, split: str
) -> pd.DataFrame:
    """Return the table of counts of all scenes of a split, sorted by scene.

    Holds one scene in memory at a time. Predictions of scenes outside the split are not read.

    Args:
        predictions: scene name → loader of its predicted damage map.
        store: truth of the scenes.
        scenes: columns scene, disaster, disaster_type.
        splits: columns scene, split.
        split: the split to score.

    Raises:
        DataError: the split is empty, or has a scene that is not predicted or not listed exactly once.
    """
    wanted = splits.loc[splits["split"] == split, ["scene", "split"]]
    table = wanted.merge(scenes[["scene", "disaster", "disaster_type"]], on="scene", how="left")
    table = table.sort_values("scene", ignore_index=True)
    _check(table, split, predictions)
    rows = []
    for name in table["scene"]:
        truth = store.scene(name)
        rows.append(count_scene(truth.building, truth.damage, predictions[name](), scene=name).row())
    return table.join(pd.DataFrame(np.array(rows), columns=COUNT_COLUMNS))


def scenes_fingerprint(table: pd.DataFrame) -> str:
    """Return a digest of the scenes of a table and their truth, not of predictions."""
    counts = Counts.from_rows(rows_of(table.sort_values("scene")))
    truth = np.hstack([counts.localization.sum(axis=2), counts.damage.sum(axis=2)])
    names = "\n".join(sorted(table["scene"]))
    return blake2b(names.encode() + truth.astype("<i8").tobytes(), digest_size=16).hexdigest()


def scene_scores(table: pd.DataFrame, unclassified: Unclassified = "ignore") -> pd.Series[float]:
    """Return the `mean_scores` of the scenes with buildings, to rank them."""
    counts = Counts.from_rows(rows_of(table))
    built = counts.localization[:, 1].any(axis=1)
    values = mean_scores(counts, unclassified)["score"][built]
    return pd.Series(values, index=table["scene"].astype(str).to_numpy()[built], dtype=float)


def summarise_scores(
    table: pd.DataFrame,
    matches: pd.DataFrame,
    probabilities: pd.DataFrame,
    unclassified: Unclassified = "ignore",
    params: IntervalParams = _DEFAULT,
    training_events: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return everything in `metrics.json`.

    Keys: the seven official ones; ours: `present_class_damage_f1`, `intervals` (95 %, of each score),
    `constant_prediction` and its `_score`, `localization` and `damage` (scores of each class), `events` and
    `disaster_types` (official scores of each, with `score_interval`, null for one scene), `macro_over_events` (their
    plain mean), `unseen_events` (`names` of the events that the model was not trained on, `n_scenes` and their
    official scores, with `intervals` of two scenes or more; null if its training events are unknown), `n_scenes`,
    `splits` (scenes of each split), `unclassified`, `confusion` (counts of all codes), `buildings` (see
    `building_scores`), `probabilities` (see `summarise_probabilities`).

    Args:
        table: counts of pixels, one row a scene.
        matches: one row a building, of the same scenes.
        probabilities: histograms, of the same scenes.
        unclassified: meaning of un-classified truth.
        params: of the intervals.
        training_events: events that the model was trained on; `None` if unknown.
    """
    counts = total(table)
    constant = constant_scores(counts, unclassified)
    best = max(constant, key=constant.__getitem__)
    events = _groups(table, "disaster", unclassified, params)
    localization = class_scores(counts.localization)
    damage = class_scores(scored_damage(counts.damage, unclassified))
    return {
        **summarise_folders(table, unclassified, params),
        "constant_prediction": best.word,
        "constant_prediction_score": constant[best],
        "localization": {"background": localization.of(0), "building": localization.of(1)},
        "damage": {code.word: damage.of(code) for code in SCORED},
        "events": events,
        "macro_over_events": _macro(events),
        "unseen_events": _unseen_events(table, training_events, unclassified, params),
        "disaster_types": _groups(table, "disaster_type", unclassified, params),
        "splits": {str(split): int(n) for split, n in table["split"].value_counts().items()},
        "unclassified": unclassified,
        "buildings": building_scores(matches, len(table), unclassified, params),
        "probabilities": summarise_probabilities(probabilities),
    }


def summarise_folders(
    table: pd.DataFrame, unclassified: Unclassified = "ignore", params: IntervalParams = _DEFAULT
) -> dict[str, Any]:
    """Return the scores of scenes of which only masks are known."""
    counts = total(table)
    return {
        **official_score(counts, unclassified),
        "intervals": intervals(table, unclassified, draws=params.draws, seed=params.seed),
        "n_scenes": len(table),
        "confusion": {"localization": counts.localization.tolist(), "damage": counts.damage.tolist()},
    }


def _unseen_events(
    table: pd.DataFrame, training_events: Collection[str] | None, unclassified: Unclassified, params: IntervalParams
) -> dict[str, Any] | None:
    if training_events is None:
        return None
    rows = table[~table["disaster"].isin(list(training_events))]
    facts = {"names": sorted(set(rows["disaster"].astype(str))), "n_scenes": len(rows)}
    if rows.empty:
        return facts
    bounds = intervals(rows, unclassified, draws=params.draws, seed=params.seed) if len(rows) > 1 else None
    return {**facts, **official_score(total(rows), unclassified), "intervals": bounds}


def _macro(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the plain mean over groups, which weights each equally."""
    means = pd.DataFrame(groups).drop(index=["n_scenes", "score_interval"]).mean(axis=1)
    return {str(key): float(value) for key, value in means.items()}


def _groups(
    table: pd.DataFrame, column: str, unclassified: Unclassified, params: IntervalParams
) -> dict[str, dict[str, Any]]:
    groups = {}
    for name, rows in table.groupby(table[column].astype(str)):
        bounds = intervals(rows, unclassified, draws=params.draws, seed=params.seed) if len(rows) > 1 else {}
        scores: dict[str, Any] = official_score(total(rows), unclassified)
        groups[str(name)] = scores | {"score_interval": bounds.get("score"), "n_scenes": len(rows)}
    return groups


def _check(table: pd.DataFrame, split: str, predictions: Predictions) -> None:
    if table.empty:
        raise DataError(
            f"Split {split} has no scene.",
            hint="Change data_processing.split, or score another split (reporting.split).",
        )
    for problem, rows in (
        ("is listed more than once in the tables of scenes and splits", table["scene"].duplicated()),
        ("is not in the table of scenes", table["disaster"].isna()),
        ("has no prediction", ~table["scene"].isin(list(predictions))),
    ):
        if rows.any():
            raise DataError(
                f"Scene {table.loc[rows, 'scene'].iloc[0]} {problem} ({rows.sum()} of {len(table)} scenes of split "
                f"{split}).",
                hint="Run data_processing and reporting again with the same environment.",
            )
