"""What to look at: the best, the median and the worst scenes by a score of each, and the worst buildings."""

from __future__ import annotations

from typing import Final, Literal

import pandas as pd

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.metrics.confusion import Counts
from xview2_siamese_unet.metrics.scores import (
    DAMAGE_SHARE,
    LOCALIZATION_SHARE,
    class_scores,
    scored_damage,
)
from xview2_siamese_unet.metrics.table import each

Rank = Literal["best", "median", "worst"]
_LARGE: Final = 100
"""Pixels below which a confident wrong answer is rather a matter of outlines."""


def scene_scores(table: pd.DataFrame, policy: Unclassified = "ignore") -> pd.Series[float]:
    """Return a score of each scene that has a building, to rank scenes by; ours, not official.

    Official shares, but the plain mean of the F1 of the classes that the scene holds: a harmonic mean is 0 as soon as
    one small class is missed, which ranks nothing. A scene whose buildings are all left out by the policy is ranked by
    localisation alone.

    Args:
        table: counts of each scene, as `count_scenes` returns them.
        policy: what un-classified truth means.
    """
    scores = {
        scene: _scene_score(counts, policy) for scene, counts in each(table).items() if counts.localization[1].any()
    }
    return pd.Series(scores, dtype=float)


def choose_scenes(scores: pd.Series[float], *, best: int, median: int, worst: int) -> dict[str, Rank]:
    """Return scene → rank, best first; no scene twice, and fewer where there are not enough scenes."""
    order = [str(scene) for scene in scores.sort_values(ascending=False, kind="stable").index]
    top, rest = order[:best], order[best:]
    bottom = rest[max(len(rest) - worst, 0) :]
    between = rest[: len(rest) - len(bottom)]
    start = max((len(between) - median + 1) // 2, 0)
    chosen: dict[str, Rank] = dict.fromkeys(top, "best")
    return chosen | dict.fromkeys(between[start : start + median], "median") | dict.fromkeys(bottom, "worst")


def worst_buildings(matches: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return rows of a table of matches: first the most confident wrong answers, then the largest missed buildings.

    Half of each, and more wrong answers where fewer were missed. An answer to an un-classified building, which nobody
    could judge, is not wrong; below 10 × 10 pixels neither.

    Args:
        matches: table of `matching.match_scenes`.
        most: how many rows.
    """
    missed = matches[matches["predicted"] == 0].nlargest(most // 2, "pixels")
    answered = (matches["predicted"] > 0) & (matches["pixels"] >= _LARGE)
    wrong = (matches["predicted"] != matches["truth"]) & (matches["truth"] != Damage.UNCLASSIFIED)
    sure = matches[answered & wrong & matches["confidence"].notna()].nlargest(most - len(missed), "confidence")
    return pd.concat([sure, missed])


def _scene_score(counts: Counts, policy: Unclassified) -> float:
    localization = class_scores(counts.localization)[1].f1
    scores = class_scores(scored_damage(counts.damage, policy))
    present = [scores[code].f1 for code in SCORED if scores[code].support]
    if not present:
        return localization
    return LOCALIZATION_SHARE * localization + DAMAGE_SHARE * sum(present) / len(present)
