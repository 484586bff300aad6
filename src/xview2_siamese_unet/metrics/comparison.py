"""Experiments side by side: where their settings differ, how far their scores lie apart, which scenes changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import pandas as pd

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.bootstrap import differences, intervals
from xview2_siamese_unet.metrics.ranking import scene_scores
from xview2_siamese_unet.metrics.summary import scores_of
from xview2_siamese_unet.metrics.table import total

_NAMES: Final = {"reporting.model_file", "reporting.title"}
"""Settings that name things and decide nothing."""


@dataclass(frozen=True, eq=False, slots=True)
class Experiment:
    """What one experiment left behind.

    Attributes:
        name: `<user>/<experiment>`.
        counts: table of counts of pixels, one row a scene.
        policy: what un-classified truth meant when it was scored.
        settings: dotted key → value as text.
    """

    name: str
    counts: pd.DataFrame
    policy: Unclassified
    settings: Mapping[str, str]


class Number(NamedTuple):
    """A score or a difference of scores with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


class Difference(NamedTuple):
    """The second of two experiments minus the first.

    Attributes:
        scenes: how many scenes both were scored on; only these are compared.
        scores: of the first and of the second on these scenes, key → score.
        numbers: key → difference.
        changed: the scenes that changed most; columns before, after, change; index scene.
    """

    scenes: int
    scores: tuple[dict[str, float], dict[str, float]]
    numbers: dict[str, Number]
    changed: pd.DataFrame


def differing_settings(experiments: Sequence[Experiment]) -> dict[str, list[str]]:
    """Return the settings in which the experiments differ: dotted key → value of each, `–` where it has none."""
    keys = dict.fromkeys(key for experiment in experiments for key in experiment.settings)
    values = {key: [experiment.settings.get(key, "–") for experiment in experiments] for key in keys}
    return {key: row for key, row in values.items() if len(set(row)) > 1 and key not in _NAMES}


def scores_with_intervals(experiment: Experiment) -> dict[str, Number]:
    """Return each score of an experiment over all of its scenes."""
    scores = scores_of(total(experiment.counts), experiment.policy)
    bounds = intervals(experiment.counts, experiment.policy)
    return {key: Number(value, *bounds[key]) for key, value in scores.items()}


def difference(first: Experiment, second: Experiment, *, shown: int = 10) -> Difference:
    """Compare two experiments on the scenes that both were scored on.

    Args:
        first: what is compared with.
        second: what may be better.
        shown: how many of the scenes that changed most.

    Raises:
        DataError: they have no scene in common.
    """
    common = sorted(set(first.counts["scene"]) & set(second.counts["scene"]))
    if not common:
        raise DataError(
            f"{first.name} and {second.name}",
            found="no scene that both were scored on",
            allowed="experiments on the same dataset and split",
            remedy="score both with the same dataset.name and reporting.split",
        )
    one, two = (each.counts.set_index("scene").loc[common].reset_index() for each in (first, second))
    scores = scores_of(total(one), first.policy), scores_of(total(two), second.policy)
    bounds = differences(one, two, (first.policy, second.policy))
    numbers = {key: Number(scores[1][key] - scores[0][key], *bounds[key]) for key in bounds}
    changes = pd.DataFrame({"before": scene_scores(one, first.policy), "after": scene_scores(two, second.policy)})
    changes = changes.assign(change=changes["after"] - changes["before"])
    most = changes["change"].abs().sort_values(ascending=False, kind="stable").index[:shown]
    return Difference(len(common), scores, numbers, changes.loc[most].sort_values("change", ascending=False))
