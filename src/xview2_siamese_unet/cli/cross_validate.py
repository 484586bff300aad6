"""`kedro cross-validate`: score every scene with a model that was trained without it, or without its event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import click
import pandas as pd
from rich.table import Table
from rich.text import Text

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.cli.command import (
    ProjectCommand,
    env_option,
    json_option,
    open_catalog,
    open_configuration,
    open_console,
    out_option,
    print_json,
)
from xview2_siamese_unet.cli.leave_events_out import (
    LEFT_OUT,
    create_variant,
    require_mixed,
    require_own_folders,
    require_same_settings,
    run_pipeline,
)
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.summary import summarise_scores

_PARTS: Final = 5
_TABLES: Final = ("scene_counts", "building_matches", "probability_counts")
_COLUMNS: Final = {"score": "score", "localization_f1": "localisation F1", "damage_f1": "damage F1"}


class Fold(NamedTuple):
    """One part of a cross-validation.

    Attributes:
        name: of its row in the table.
        experiment: copy that leaves out this part.
        key: setting in which the copy differs.
        value: of that setting in the copy.
    """

    name: str
    experiment: str
    key: str
    value: Any


@click.command("cross-validate", cls=ProjectCommand)
@click.option(
    "--by",
    type=click.Choice(["event", "scene"]),
    default="event",
    show_default=True,
    help="Leave out whole events, or scenes of every event.",
)
@click.option(
    "--folds", type=click.IntRange(2), help=f"Models to train. Default: one for each event; {_PARTS} by scene."
)
@out_option("Also write the numbers to this JSON file, in the form of metrics.json.")
@json_option
@env_option
def cross_validate(
    by: Literal["event", "scene"], folds: int | None, out: Path | None, *, as_json: bool, env: str | None
) -> None:
    """Score every scene with a model that was trained without it.

    Copies the experiment of --env in conf/experiments once for each fold; trains each copy without the scenes of its
    fold, on all other scenes of the dataset; and scores all scenes together, each with the model that was trained
    without it. By event, no model was trained on any scene of the events that it is scored on, as for a new disaster.
    Finished folds are reused, so the same command resumes after an interruption.

    \b
    kedro cross-validate --env lab/laptop
    kedro cross-validate --env lab/laptop --by scene --folds 3 --out scores.json
    """  # noqa: D301  click takes the escaped character
    whole = open_configuration(env)
    require_mixed(whole)
    user, experiment = whole.user_and_experiment
    scenes = open_catalog(run_pipeline(f"{user}/{experiment}", "data_processing")).load("scenes")
    parts = _events(experiment, scenes, folds) if by == "event" else _scenes(experiment, folds or _PARTS)
    for fold in parts:
        create_variant(experiment, fold.experiment, fold.key, fold.value)
        copy = open_configuration(f"{user}/{fold.experiment}")
        require_own_folders(whole, copy)
        require_same_settings(whole, copy, fold.key, fold.value)
    runs = [run_pipeline(f"{user}/{fold.experiment}", "__default__") for fold in parts]
    rows, numbers = _pool(by, [fold.name for fold in parts], runs)
    if out is not None:
        write_atomically(out, json.dumps(numbers, indent=2, allow_nan=False))
    if as_json:
        print_json(numbers)
    else:
        open_console().print(_table(rows | {"all scenes": numbers}))


def _events(experiment: str, scenes: pd.DataFrame, folds: int | None) -> list[Fold]:
    events = sorted(set(scenes["disaster"]))
    if len(events) < 2:
        raise DataError(f"All scenes are of one event, {events[0]}.", hint="Cross-validate with --by scene.")
    if folds is not None and folds > len(events):
        raise DataError(
            f"{len(events)} events cannot be divided into {folds} folds.",
            hint=f"Set --folds to {len(events)} or fewer.",
        )
    if folds is None or folds == len(events):  # with the names of `kedro leave-events-out`
        return [Fold(event, f"{experiment}_without_{event}", LEFT_OUT, [event]) for event in events]
    groups = [events[first::folds] for first in range(folds)]
    names = [f"{experiment}_without_events_{number}_of_{folds}" for number in range(1, folds + 1)]
    return [Fold(", ".join(group), name, LEFT_OUT, group) for group, name in zip(groups, names, strict=True)]


def _scenes(experiment: str, folds: int) -> list[Fold]:
    key = "data_processing.split.fold"
    numbers = range(1, folds + 1)
    return [Fold(f"fold {n}", f"{experiment}_fold_{n}_of_{folds}", key, [n, folds]) for n in numbers]


def _pool(by: str, names: list[str], runs: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metrics of each fold, and those of all scenes together."""
    catalogs = [open_catalog(run) for run in runs]
    rows = {name: catalog.load("metrics") for name, catalog in zip(names, catalogs, strict=True)}
    counts, matches, histograms = (
        pd.concat([catalog.load(table) for catalog in catalogs], ignore_index=True) for table in _TABLES
    )
    histogram = histograms.groupby(["curve", "step"], sort=False, as_index=False).sum()
    unclassified = catalogs[0].load("metrics")["unclassified"]
    seen: list[str] | None = None if by == "scene" else []
    return rows, summarise_scores(counts, matches, histogram, unclassified, training_events=seen)


def _table(rows: dict[str, Any]) -> Table:
    table = Table(title="Scored by models that have not seen them, 95 % interval over scenes", title_justify="left")
    table.add_column("left out")
    for column in ("scenes", *_COLUMNS.values(), "building F1"):
        table.add_column(column, justify="right")
    for name, numbers in rows.items():
        cells = [f"{numbers[key]:.3f}  {_interval(numbers['intervals'][key])}" for key in _COLUMNS]
        buildings = numbers["buildings"]
        cells.append(f"{buildings['f1']:.3f}  {_interval(buildings['f1_interval'])}")
        table.add_row(Text(name), str(numbers["n_scenes"]), *cells)
    return table


def _interval(bounds: list[float]) -> str:
    return "{:.3f} to {:.3f}".format(*bounds)
