"""Experiments side by side, as a page and as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.comparison import (
    Difference,
    Experiment,
    Number,
    difference,
    differing_settings,
    scores_with_intervals,
)
from xview2_siamese_unet.report.page import NAMES, page_environment


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is said about some experiments; each but the first is compared with the first.

    Attributes:
        names: of the experiments.
        scenes: how many each was scored on.
        settings: dotted key → value of each, only where they differ.
        scores: of each, key → number.
        differences: of each but the first.
        note: what a reader must know before.
    """

    names: list[str]
    scenes: list[int]
    settings: dict[str, list[str]]
    scores: list[dict[str, Number]]
    differences: dict[str, Difference]
    note: str = ""


def compare(experiments: Sequence[Experiment], note: str = "") -> Comparison:
    """Compare experiments with the first of them.

    Args:
        experiments: what they left behind.
        note: what a reader must know before.

    Raises:
        DataError: there are none, or one has no scene in common with the first.
    """
    if not experiments:
        raise DataError(
            "experiments to compare",
            found="none",
            allowed="one or more that were scored",
            remedy="run kedro run --env <user>/<experiment> first",
        )
    first, *others = experiments
    return Comparison(
        names=[each.name for each in experiments],
        scenes=[len(each.counts) for each in experiments],
        settings=differing_settings(experiments),
        scores=[scores_with_intervals(each) for each in experiments],
        differences={each.name: difference(first, each) for each in others},
        note=note,
    )


def render_comparison(comparison: Comparison) -> str:
    """Return the page, one file that loads nothing."""
    return page_environment().get_template("compare.html.j2").render(comparison=comparison, names=NAMES)


def comparison_tables(comparison: Comparison) -> Group:
    """Return what a terminal shows; names and values are text, never markup."""
    tables = [_settings(comparison), _scores(comparison)]
    tables += [_differences(comparison.names[0], *item) for item in comparison.differences.items()]
    tables += [_changed(*item) for item in comparison.differences.items()]
    return Group(*tables)


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left")
    table.add_column(Text(first))
    for column in columns:
        table.add_column(Text(column), justify="right")
    return table


def _settings(comparison: Comparison) -> Table:
    table = _table("Settings that differ", "setting", *comparison.names)
    for key, values in comparison.settings.items():
        table.add_row(Text(key), *map(Text, values))
    return table


def _scores(comparison: Comparison) -> Table:
    heads = (f"{name} ({n} scenes)" for name, n in zip(comparison.names, comparison.scenes, strict=True))
    table = _table("Scores, 95 % interval over scenes", "number", *heads)
    for key, words in NAMES.items():
        cells = (f"{s[key].value:.3f}  {s[key].low:.3f} to {s[key].high:.3f}" for s in comparison.scores)
        table.add_row(words, *cells)
    return table


def _differences(first: str, name: str, found: Difference) -> Table:
    title = f"{name} minus {first}, the same {found.scenes} scenes drawn for both"
    table = _table(title, "number", "first → second", "difference, 95 % interval", "sure")
    for key, words in NAMES.items():
        number, before, after = found.numbers[key], found.scores[0][key], found.scores[1][key]
        bounds = f"{number.value:+.3f}  {number.low:+.3f} to {number.high:+.3f}"
        table.add_row(words, f"{before:.3f} → {after:.3f}", bounds, "yes" if number.sure else "no")
    return table


def _changed(name: str, found: Difference) -> Table:
    table = _table(f"Scenes that changed most in {name}", "scene", "before", "after", "change")
    for scene, row in found.changed.iterrows():
        table.add_row(Text(str(scene)), f"{row['before']:.3f}", f"{row['after']:.3f}", f"{row['change']:+.3f}")
    return table
