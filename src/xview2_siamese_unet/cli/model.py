"""`kedro model`: list, export, verify, score and combine trained models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import click
from kedro.framework.cli.utils import LazyGroup
from rich.table import Table

from xview2_siamese_unet.cli.command import ProjectCommand, find_path, open_configuration, open_console
from xview2_siamese_unet.cli.experiment import require_known
from xview2_siamese_unet.config_loader import known_names
from xview2_siamese_unet.errors import ProjectError, cause_of
from xview2_siamese_unet.project import find_project
from xview2_siamese_unet.runs import flatten, list_runs

_LOADING: Final = ("average", "ensemble", "export", "score", "show", "verify")
"""Commands that are imported when they are called, because torch is slow to import."""
model = LazyGroup(
    "model",
    help="List, export, verify, score and combine trained models.",
    lazy_subcommands={name: f"{__package__}.trained_model.{name}" for name in _LOADING},
)


@model.command("list", cls=ProjectCommand)
@click.option("--user", "users", multiple=True, help="Only models of this user; repeatable.")
def list_models(users: tuple[str, ...]) -> None:
    """List the runs with a finished model, by the names that `--model` takes.

    \b
    kedro model list --user lab
    """  # noqa: D301  click takes the escaped character
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("model", "network", "score", "finished"):
        table.add_column(column, overflow="fold")
    known_users, experiments = (known_names(str(find_project().conf), kind) for kind in ("users", "experiments"))
    require_known("user", users, known_users)
    for name in (f"{user}/{experiment}" for user in users or known_users for experiment in experiments):
        try:
            for cells in _rows(name):
                table.add_row(*cells)
        except (ProjectError, OSError) as error:
            click.echo(f"{name} is not shown: {cause_of(error) or error}", err=True)
    if table.row_count:
        open_console().print(table)
    else:
        click.echo("No run has a finished model. Train one with kedro run.", err=True)


def _rows(name: str) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each finished run of an experiment."""
    for run in list_runs(open_configuration(name).run.folder.parent):
        if not run.is_finished:
            continue
        loader, settings = open_configuration(f"{name}@{run.name}"), flatten(run.record["settings"]["model"])
        checkpoint, metrics = find_path(loader, "checkpoint"), find_path(loader, "metrics")
        score = json.loads(metrics.read_text(encoding="utf-8"))["score"] if metrics.is_file() else None
        yield (
            f"{name}@{run.name}",
            f"{settings['architecture']} {settings['encoder.name']}",
            "" if score is None else f"{score:.3f}",
            f"{datetime.fromtimestamp(checkpoint.stat().st_mtime):%Y-%m-%d}",
        )
