"""Compare experiments: settings, paired differences of scores, changed scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.bootstrap import intervals, score_differences
from xview2_siamese_unet.metrics.confusion import total
from xview2_siamese_unet.metrics.scores import official_score
from xview2_siamese_unet.metrics.summary import scene_scores
from xview2_siamese_unet.report.page import NAMES, page_environment

_LABELS: Final = {"reporting.model_file", "reporting.title"}
"""Settings that only label a report."""


@dataclass(frozen=True, eq=False, slots=True)
class Experiment:
    """A scored experiment.

    Attributes:
        name: `<user>/<experiment>`.
        counts: table of counts of pixels, one row a scene.
        unclassified: what un-classified truth meant when it was scored.
        settings: dotted key → value as text.
    """

    name: str
    counts: pd.DataFrame
    unclassified: Unclassified
    settings: Mapping[str, str]


class Number(NamedTuple):
    """A score or a difference of scores with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """Some experiments; each but the first is compared with the first.

    Attributes:
        names: of the experiments.
        scenes: how many each was scored on.
        settings: dotted key → value of each, only where they differ.
        scores: of each, key → number.
        differences: name → difference, of each but the first.
        note: shown before the tables.
    """

    names: list[str]
    scenes: list[int]
    settings: dict[str, list[str | None]]
    scores: list[dict[str, Number]]
    differences: dict[str, Difference]
    note: str = ""


def compare(experiments: Sequence[Experiment], note: str = "") -> Comparison:
    """Compare experiments with the first of them.

    Raises:
        DataError: there are none, or one has no scene in common with the first.
    """
    if not experiments:
        raise DataError("There is no experiment to compare.", hint="Run kedro run --env <user>/<experiment> first.")
    first, *others = experiments
    return Comparison(
        names=[each.name for each in experiments],
        scenes=[len(each.counts) for each in experiments],
        settings=differing_settings(experiments),
        scores=[scores_with_intervals(each) for each in experiments],
        differences={each.name: difference(first, each) for each in others},
        note=note,
    )


def differing_settings(experiments: Sequence[Experiment]) -> dict[str, list[str | None]]:
    """Return settings that differ: dotted key → value of each, `None` where unset."""
    keys = dict.fromkeys(key for experiment in experiments for key in experiment.settings)
    values = {key: [experiment.settings.get(key) for experiment in experiments] for key in keys}
    return {key: row for key, row in values.items() if len(set(row)) > 1 and key not in _LABELS}


def scores_with_intervals(experiment: Experiment) -> dict[str, Number]:
    """Return each score of an experiment over all of its scenes."""
    scores = official_score(total(experiment.counts), experiment.unclassified)
    bounds = intervals(experiment.counts, experiment.unclassified)
    return {key: Number(value, *bounds[key]) for key, value in scores.items()}


def difference(first: Experiment, second: Experiment, *, shown: int = 10) -> Difference:
    """Compare two experiments on the scenes that both were scored on.

    Args:
        first: the baseline.
        second: the other one.
        shown: number of scenes in `changed`.

    Raises:
        DataError: they have no scene in common.
    """
    common = sorted(set(first.counts["scene"]) & set(second.counts["scene"]))
    if not common:
        raise DataError(
            f"{first.name} and {second.name} have no scored scene in common.",
            hint="Score both with the same dataset.name and reporting.split.",
        )
    one, two = (each.counts.set_index("scene").loc[common].reset_index() for each in (first, second))
    meanings = first.unclassified, second.unclassified
    scores = official_score(total(one), meanings[0]), official_score(total(two), meanings[1])
    bounds = score_differences(one, two, meanings)
    numbers = {key: Number(scores[1][key] - scores[0][key], *bounds[key]) for key in bounds}
    changes = pd.DataFrame({"before": scene_scores(one, meanings[0]), "after": scene_scores(two, meanings[1])})
    changes = changes.assign(change=changes["after"] - changes["before"])
    most = changes["change"].abs().sort_values(ascending=False, kind="stable").index[:shown]
    return Difference(len(common), scores, numbers, changes.loc[most].sort_values("change", ascending=False))


def render_comparison(comparison: Comparison) -> str:
    """Return the page, a single file that loads nothing."""
    return page_environment().get_template("compare.html.j2").render(comparison=comparison, names=NAMES)


def comparison_tables(comparison: Comparison) -> Group:
    """Return tables for a terminal; names and values are text, never markup."""
    settings = _table("Settings that differ", "setting", *comparison.names)
    for key, values in comparison.settings.items():
        settings.add_row(Text(key), *(Text("–" if value is None else value) for value in values))
    heads = (f"{name} ({n} scenes)" for name, n in zip(comparison.names, comparison.scenes, strict=True))
    scores = _table("Scores, 95 % interval over scenes", "number", *heads)
    for key, words in NAMES.items():
        scores.add_row(
            words, *(f"{s[key].value:.3f}  {s[key].low:.3f} to {s[key].high:.3f}" for s in comparison.scores)
        )
    tables = [settings, scores]
    tables += [_differences(comparison.names[0], *item) for item in comparison.differences.items()]
    tables += [_changed(*item) for item in comparison.differences.items()]
    return Group(*tables)


def comparison_numbers(comparison: Comparison) -> dict[str, Any]:
    """Return the content of the tables as values for JSON; keys of numbers are those of `metrics.json`."""
    rows = zip(comparison.names, comparison.scenes, comparison.scores, strict=True)
    return {
        "experiments": [{"name": name, "n_scenes": n, **_plain(scores)} for name, n, scores in rows],
        "settings": comparison.settings,
        "differences": {
            name: {
                "n_scenes": result.scenes,
                **_plain(result.numbers),
                "changed_scenes": result.changed.to_dict("index"),
            }
            for name, result in comparison.differences.items()
        },
    }


def _plain(numbers: Mapping[str, Number]) -> dict[str, Any]:
    return {
        **{key: number.value for key, number in numbers.items()},
        "intervals": {key: [number.low, number.high] for key, number in numbers.items()},
    }


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left")
    table.add_column(Text(first))
    for column in columns:
        table.add_column(Text(column), justify="right")
    return table


def _differences(first: str, name: str, result: Difference) -> Table:
    title = f"{name} minus {first}, paired over the same {result.scenes} scenes"
    table = _table(title, "number", "first → second", "difference, 95 % interval", "significant")
    for key, words in NAMES.items():
        number, before, after = result.numbers[key], result.scores[0][key], result.scores[1][key]
        bounds = f"{number.value:+.3f}  {number.low:+.3f} to {number.high:+.3f}"
        table.add_row(words, f"{before:.3f} → {after:.3f}", bounds, "yes" if number.significant else "no")
    return table


def _changed(name: str, result: Difference) -> Table:
    table = _table(f"Scenes that changed most in {name}", "scene", "before", "after", "change")
    for scene, row in result.changed.iterrows():
        table.add_row(Text(str(scene)), f"{row['before']:.3f}", f"{row['after']:.3f}", f"{row['change']:+.3f}")
    return table
