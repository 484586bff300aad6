"""`kedro model`: list, export, verify, score and combine trained models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import click
from rich.table import Table

from xview2_siamese_unet.cli.command import (
    CommandTable,
    ProjectCommand,
    as_called,
    find_path,
    json_option,
    open_configuration,
    open_console,
    print_json,
)
from xview2_siamese_unet.cli.experiment import require_known
from xview2_siamese_unet.config_loader import known_names
from xview2_siamese_unet.errors import ProjectError, cause_of
from xview2_siamese_unet.project import find_project
from xview2_siamese_unet.runs import flatten, list_runs

_LIST: Final = "list"
_COMMANDS: Final = {
    "average": "Average the weights of models of one architecture.",
    "ensemble": "Write a card that averages the probabilities of models.",
    "export": "Write a trained net and its card to a folder.",
    _LIST: "List the runs with a finished model.",
    "score": "Score models on a split, and compare them.",
    "show": "Print the card of a model.",
    "verify": "Check the files of a card, and predict a small image.",
}
"""All but one are imported when they are called, because torch is slow to import."""
model = CommandTable(
    "model",
    help="List, export, verify, score and combine trained models.",
    summaries=_COMMANDS,
    lazy_subcommands={name: f"{__package__}.trained_model.{name}" for name in _COMMANDS if name != _LIST},
)


@model.command(_LIST, cls=ProjectCommand)
@click.option("--user", "users", multiple=True, help="Only models of this user; repeatable.")
@json_option
def list_models(users: tuple[str, ...], *, as_json: bool) -> None:
    """List the runs with a finished model, with the names that `--model` accepts.

    \b
    kedro model list --user lab
    """  # noqa: D301  click takes the escaped character
    known_users, experiments = (known_names(str(find_project().conf), kind) for kind in ("users", "experiments"))
    require_known("user", users, known_users)
    rows: list[dict[str, Any]] = []
    for name in (f"{user}/{experiment}" for user in users or known_users for experiment in experiments):
        try:
            rows += _rows(name)
        except (ProjectError, OSError) as error:
            click.echo(f"{name} is not shown: {cause_of(error) or error}", err=True)
    if as_json:
        print_json(rows)
    elif rows:
        table = Table(*rows[0], box=None, header_style="bold", pad_edge=False)
        for row in rows:
            score = f"{row['score']:.3f}" if row["score"] is not None else ""
            table.add_row(row["model"], row["network"], score, row["finished"])
        open_console().print(table)
    else:
        click.echo(as_called("No run has a finished model. Train one with kedro run."), err=True)


def _rows(name: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each finished run of an experiment."""
    for run in list_runs(open_configuration(name).run.folder.parent):
        if not run.is_finished:
            continue
        loader, settings = open_configuration(f"{name}@{run.name}"), flatten(run.record["settings"]["model"])
        checkpoint, metrics = find_path(loader, "checkpoint"), find_path(loader, "metrics")
        score = json.loads(metrics.read_text(encoding="utf-8"))["score"] if metrics.is_file() else None
        yield {
            "model": f"{name}@{run.name}",
            "network": f"{settings['architecture']} {settings['encoder.name']}",
            "score": score,
            "finished": f"{datetime.fromtimestamp(checkpoint.stat().st_mtime):%Y-%m-%d}",
        }
