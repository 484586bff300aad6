"""`kedro experiment new` and `kedro experiment list`."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.table import Table

from xview2_siamese_unet.cli.command import ProjectCommand
from xview2_siamese_unet.cli.configuration import conf_folder, find_path, find_project, open_configuration
from xview2_siamese_unet.cli.score import open_console
from xview2_siamese_unet.config.globals import NAME
from xview2_siamese_unet.environments import known_names, layer_files
from xview2_siamese_unet.errors import ConfigError, DataError, ProjectError, cause_of
from xview2_siamese_unet.runs import list_runs

_FIRST: Final = """\
# What this experiment tries: only the keys that differ from conf/base/parameters*.yml.
"""
_NAME_OF_ANOTHER: Final = re.compile(r"^experiment:.*\n?", re.MULTILINE)


@click.group()
def experiment() -> None:
    """Make an experiment, or list those there are with their scores."""


@experiment.command(cls=ProjectCommand)
@click.argument("name")
@click.option("--from", "model", metavar="EXPERIMENT", help="Start from the settings of this one.")
def new(name: str, model: str | None) -> None:
    """Make the folder conf/experiments/NAME.

    \b
    kedro experiment new bigger-crops --from strong
    """  # noqa: D301  click takes the escaped character
    folder = conf_folder() / "experiments"
    _require(name, model, known_names(str(conf_folder()), "experiments"))
    copied = {} if model is None else dict(copy_files(model))
    fill_folder(folder / name, copied or {Path("parameters.yml"): _FIRST})
    shown, made = ((folder / name / part).relative_to(find_project()) for part in ("", _file_of_settings(name)))
    click.echo(f"Made {shown}. Next: edit {made}, then uv run kedro run --env <user>/{name}")


@experiment.command("list", cls=ProjectCommand)
@click.option("--user", "users", multiple=True, help="Only of this user; may be given again.")
@click.option("--all", "everything", is_flag=True, help="Also what was never scored.")
@click.option("--runs", is_flag=True, help="Each run that is kept, not the newest alone.")
def list_experiments(users: tuple[str, ...], *, everything: bool, runs: bool) -> None:
    """List the experiments that have a report with the scores of their newest finished run, the best first.

    One that cannot be read says why, and the others are shown.

    \b
    kedro experiment list --user lab --all
    kedro experiment list --runs
    """  # noqa: D301  click takes the escaped character
    known_users, known = (known_names(str(conf_folder()), kind) for kind in ("users", "experiments"))
    _require_users(users, known_users)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("experiment", overflow="fold")
    for column in ("score", "95 %", "localisation\nF1", "damage\nF1", "scenes", "scored"):
        table.add_column(column, justify="left" if column == "scored" else "right", no_wrap=True)
    names = [f"{user}/{name}" for user in users or known_users for name in known]
    rows, unreadable = _rows(names, each_run=runs)
    for cells in sorted(rows, key=lambda cells: cells[1], reverse=True):
        if everything or any(cells[1:]):
            table.add_row(*cells)
    if table.row_count:
        open_console().print(table)
    if unscored := len(rows) - table.row_count:
        click.echo(f"{unscored} without a report are shown by --all.", err=True)
    for reason in unreadable:
        click.echo(reason, err=True)


def _rows(names: list[str], *, each_run: bool) -> tuple[list[list[str]], list[str]]:
    """Return the cells of the experiments that can be read, and why the others cannot."""
    rows, unreadable = [], []
    for name in names:
        try:
            rows += [_row(run) for run in (_runs_of(name) if each_run else [name])]
        except (ProjectError, OSError) as error:
            unreadable.append(f"{name} is not shown: {cause_of(error) or error}")
    return rows, unreadable


def _runs_of(name: str) -> list[str]:
    return [f"{name}@{run.name}" for run in list_runs(open_configuration(name).run.folder.parent)]


def _row(name: str) -> list[str]:
    loader = open_configuration(name)
    path = find_path(loader, "metrics")
    if not path.is_file():
        return [name, *[""] * 6]
    try:
        cells = _numbers(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(
            str(path),
            found=f"no numbers of a score ({type(error).__name__}: {error})",
            allowed="what reporting wrote, whole",
            remedy=f"run kedro run --env {name.partition('@')[0]} --pipelines reporting",
        ) from error
    return [name, *cells, f"{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d}" if any(cells) else ""]


def _numbers(metrics: dict[str, Any]) -> list[str]:
    if "intervals" not in metrics:  # by a version before them
        return [""] * 5
    return [
        f"{metrics['score']:.3f}",
        "{:.3f}–{:.3f}".format(*metrics["intervals"]["score"]),
        f"{metrics['localization_f1']:.3f}",
        f"{metrics['damage_f1']:.3f}",
        str(metrics["n_scenes"]),
    ]


def _require(name: str, model: str | None, known: list[str]) -> None:
    require_name(name)
    if name in known:
        raise ConfigError(
            f"experiment {name}", found="it exists", allowed="a new name", remedy=f"edit conf/experiments/{name}"
        )
    if model is not None and model not in known:
        raise ConfigError(f"--from {model}", found="no such experiment", allowed=", ".join(known), remedy="name one")


def _require_users(users: tuple[str, ...], known: list[str]) -> None:
    for user in users:
        if user not in known:
            raise ConfigError(f"--user {user}", found="no such user", allowed=", ".join(known), remedy="name one")


def require_name(name: str) -> None:
    """Refuse a name that is no single part of a path.

    Raises:
        ConfigError: so it is.
    """
    if not re.fullmatch(NAME, name):
        raise ConfigError(
            f"experiment {name!r}",
            found="a name that cannot be a folder",
            allowed="letters, digits, '.', '_' and '-', the first a letter or digit",
            remedy="choose another name",
        )


def _file_of_settings(name: str) -> Path:
    found = layer_files(str(conf_folder()), f"experiments/{name}", "parameters")
    return found[0] if found else Path("parameters.yml")


def copy_files(name: str) -> Iterator[tuple[Path, str]]:
    """Yield the files of an experiment without the name that one may have given itself, which is its folder on disk."""
    for path in layer_files(str(conf_folder()), f"experiments/{name}"):
        text = path.read_text(encoding="utf-8")
        kept = _NAME_OF_ANOTHER.sub("", text) if path.name == "globals.yml" else text
        if any(line.strip() and not line.lstrip().startswith("#") for line in kept.splitlines()):
            yield path.relative_to(conf_folder() / "experiments" / name), kept


def fill_folder(folder: Path, files: dict[Path, str]) -> None:
    """Write a folder with all its files, or nothing."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        made = Path(temporary) / folder.name
        for name, text in files.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(text, encoding="utf-8")
        shutil.move(made, folder)
