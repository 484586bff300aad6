"""Tables of counts → what `metrics.json` says, in plain Python numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import pandas as pd

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.config.reporting import IntervalParams
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.metrics import table as counted
from xview2_siamese_unet.metrics.bootstrap import intervals
from xview2_siamese_unet.metrics.buildings import summarise_buildings
from xview2_siamese_unet.metrics.confusion import Counts, IntArray
from xview2_siamese_unet.metrics.probabilities import summarise_probabilities
from xview2_siamese_unet.metrics.scores import (
    class_scores,
    constant_scores,
    official_score,
    present_class_damage_f1,
    scored_damage,
)

_DEFAULT: Final = IntervalParams()


def summarise(
    table: pd.DataFrame,
    matches: pd.DataFrame,
    probabilities: pd.DataFrame,
    policy: Unclassified = "ignore",
    params: IntervalParams = _DEFAULT,
) -> dict[str, Any]:
    """Return everything that `metrics.json` says.

    Keys: the seven official ones; ours: `intervals` (95 %, of each score), `constant_prediction` and its `_score`,
    `present_class_damage_f1`, `localization` and `damage` (scores of each class), `events` and `disaster_types`
    (official scores of each, with `score_interval`, null for one scene), `macro_over_events` (their plain mean),
    `n_scenes`, `splits` (scenes of each split), `unclassified` (the policy), `confusion` (counts before the policy),
    `buildings` (see `summarise_buildings`), `probabilities` (see `summarise_probabilities`).

    Args:
        table: counts of pixels, one row a scene.
        matches: one row a building, of the same scenes.
        probabilities: histograms, of the same scenes.
        policy: what un-classified truth means.
        params: of the intervals.
    """
    counts = counted.total(table)
    answer, constant = max(constant_scores(counts, policy).items(), key=lambda item: item[1])
    events = _groups(table, "disaster", policy, params)
    return {
        **scores_of(counts, policy),
        "intervals": intervals(table, policy, draws=params.draws, seed=params.seed),
        "constant_prediction": answer.word,
        "constant_prediction_score": constant,
        "localization": by_word(counts.localization, ("background", "building"), range(2)),
        "damage": by_word(scored_damage(counts.damage, policy), [code.word for code in Damage], SCORED),
        "events": events,
        "macro_over_events": _macro(events),
        "disaster_types": _groups(table, "disaster_type", policy, params),
        "n_scenes": len(table),
        "splits": {str(split): int(n) for split, n in table["split"].value_counts().items()},
        "unclassified": policy,
        "confusion": _confusion(counts),
        "buildings": summarise_buildings(matches, len(table), policy, params),
        "probabilities": summarise_probabilities(probabilities),
    }


def summarise_folders(
    table: pd.DataFrame, policy: Unclassified = "ignore", params: IntervalParams = _DEFAULT
) -> dict[str, Any]:
    """Return the official numbers and some of ours, for scenes of which nothing but masks is known."""
    counts = counted.total(table)
    return {
        **scores_of(counts, policy),
        "intervals": intervals(table, policy, draws=params.draws, seed=params.seed),
        "n_scenes": len(table),
        "confusion": _confusion(counts),
    }


def by_word(matrix: IntArray, words: Sequence[str], codes: Iterable[int]) -> dict[str, dict[str, float]]:
    """Return the scores of some classes of a matrix of counts: word → scores."""
    scores = class_scores(matrix)
    return {words[code]: asdict(scores[code]) for code in codes}


def scores_of(counts: Counts, policy: Unclassified) -> dict[str, float]:
    """Return the seven official numbers and `present_class_damage_f1`."""
    return official_score(counts, policy) | {"present_class_damage_f1": present_class_damage_f1(counts, policy)}


def _macro(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the plain mean over groups, so that an event with many scenes weighs no more than one with few."""
    means = pd.DataFrame(groups).drop(index=["n_scenes", "score_interval"]).mean(axis=1)
    return {str(key): float(value) for key, value in means.items()}


def _groups(
    table: pd.DataFrame, column: str, policy: Unclassified, params: IntervalParams
) -> dict[str, dict[str, Any]]:
    rows = dict(iter(table.groupby(table[column].astype(str))))
    return {
        name: {
            **scores_of(counts, policy),
            "score_interval": _interval(rows[name], policy, params),
            "n_scenes": len(rows[name]),
        }
        for name, counts in counted.total_by(table, column).items()
    }


def _interval(rows: pd.DataFrame, policy: Unclassified, params: IntervalParams) -> list[float] | None:
    """Return the 95 % interval of the score; a single scene tells nothing of others."""
    return intervals(rows, policy, draws=params.draws, seed=params.seed)["score"] if len(rows) > 1 else None


def _confusion(counts: Counts) -> dict[str, Any]:
    return {"localization": counts.localization.tolist(), "damage": counts.damage.tolist()}
