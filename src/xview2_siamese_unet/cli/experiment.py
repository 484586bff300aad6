"""`kedro experiment new` and `kedro experiment list`."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import click
from rich.table import Table

from xview2_siamese_unet.cli.command import (
    ProjectCommand,
    find_path,
    json_option,
    open_configuration,
    open_console,
    print_json,
)
from xview2_siamese_unet.config.validation import NAME, is_portable
from xview2_siamese_unet.config_loader import known_names, layer_files
from xview2_siamese_unet.errors import ConfigError, DataError, ProjectError, cause_of
from xview2_siamese_unet.project import find_project
from xview2_siamese_unet.runs import list_runs

_FIRST: Final = """\
# What this experiment tries: only the keys that differ from conf/base/parameters*.yml.
"""
_OWN_NAME: Final = re.compile(r"^experiment:.*\n?", re.MULTILINE)
_NUMBERS: Final = ("score", "score_interval", "localization_f1", "damage_f1", "n_scenes", "scored")
_COLUMNS: Final = ("score", "95 %", "localisation\nF1", "damage\nF1", "scenes", "scored")


@click.group()
def experiment() -> None:
    """Create an experiment, or list the experiments with their scores."""


@experiment.command(cls=ProjectCommand)
@click.argument("name")
@click.option("--from", "model", metavar="EXPERIMENT", help="Copy the settings of this experiment.")
def new(name: str, model: str | None) -> None:
    """Create the folder conf/experiments/NAME.

    \b
    kedro experiment new bigger-crops --from strong
    """  # noqa: D301  click takes the escaped character
    project = find_project()
    folder, known = project.conf / "experiments", known_names(str(project.conf), "experiments")
    require_name(name)
    if taken := next((each for each in known if each.casefold() == name.casefold()), None):  # one folder on Windows
        raise ConfigError(
            f"Experiment {taken!r} already exists.", hint=f"Choose another name or edit conf/experiments/{taken}."
        )
    require_known("experiment", [model] if model else [], known)
    copied = {} if model is None else dict(copy_files(model))
    fill_folder(folder / name, copied or {Path("parameters.yml"): _FIRST})
    settings = next(iter(layer_files(str(project.conf), f"experiments/{name}", "parameters")), "parameters.yml")
    shown, made = ((folder / name / part).relative_to(project.folder) for part in ("", settings))
    click.echo(f"Created {shown}. Next: edit {made}, then uv run kedro run --env <user>/{name}")


@experiment.command("list", cls=ProjectCommand)
@click.option("--user", "users", multiple=True, help="Only experiments of this user; repeatable.")
@click.option("--all", "everything", is_flag=True, help="Include experiments without a score.")
@click.option("--runs", is_flag=True, help="List each kept run, not only the newest.")
@json_option
def list_experiments(users: tuple[str, ...], *, everything: bool, runs: bool, as_json: bool) -> None:
    """List the experiments with the scores of their newest finished run, best first.

    An experiment that cannot be read is named below the table with the reason.

    \b
    kedro experiment list --user lab --all
    kedro experiment list --runs
    """  # noqa: D301  click takes the escaped character
    known_users, known = (known_names(str(find_project().conf), kind) for kind in ("users", "experiments"))
    require_known("user", users, known_users)
    rows, unreadable = _rows([f"{user}/{name}" for user in users or known_users for name in known], each_run=runs)
    unscored = [row for row in rows if row["score"] is None]
    scored = [row for row in rows if row["score"] is not None]
    shown = sorted(scored, key=itemgetter("score"), reverse=True) + (unscored if everything else [])
    if as_json:
        print_json(shown)
    elif shown:
        open_console().print(_table(shown))
    if unscored and not everything:
        click.echo(f"{len(unscored)} without a report are shown by --all.", err=True)
    for reason in unreadable:
        click.echo(reason, err=True)


def _rows(names: list[str], *, each_run: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the scores of the readable experiments, and reasons for the others."""
    rows: list[dict[str, Any]] = []
    unreadable = []
    for name in names:
        try:
            folder = open_configuration(name).run.folder.parent if each_run else None
            rows += [_row(f"{name}@{run.name}") for run in list_runs(folder)] if folder else [_row(name)]
        except (ProjectError, OSError) as error:
            unreadable.append(f"{name} is not shown: {cause_of(error) or error}")
    return rows, unreadable


def _row(name: str) -> dict[str, Any]:
    path = find_path(open_configuration(name), "metrics")
    if not path.is_file():
        return {"experiment": name, **dict.fromkeys(_NUMBERS)}
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        low, high = metrics["intervals"]["score"]
        numbers = {
            "score": float(metrics["score"]),
            "score_interval": [float(low), float(high)],
            "localization_f1": float(metrics["localization_f1"]),
            "damage_f1": float(metrics["damage_f1"]),
            "n_scenes": int(metrics["n_scenes"]),
            "scored": f"{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d}",
        }
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path} holds no scores ({type(error).__name__}: {error}).",
            hint=f"Run kedro run --env {name.partition('@')[0]} --pipelines reporting.",
        ) from error
    return {"experiment": name, **numbers}


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("experiment", overflow="fold")
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column == "scored" else "right", no_wrap=True)
    for row in rows:
        table.add_row(row["experiment"], *_cells(row))
    return table


def _cells(row: dict[str, Any]) -> list[str]:
    if row["score"] is None:
        return []
    return [
        f"{row['score']:.3f}",
        "{:.3f}–{:.3f}".format(*row["score_interval"]),
        f"{row['localization_f1']:.3f}",
        f"{row['damage_f1']:.3f}",
        str(row["n_scenes"]),
        row["scored"],
    ]


def require_known(kind: str, names: Sequence[str], known: list[str]) -> None:
    """Require that all names are known.

    Raises:
        ConfigError: a name is unknown.
    """
    for name in names:
        if name not in known:
            raise ConfigError(f"Unknown {kind} {name!r}.", hint=f"Known {kind}s: {', '.join(known)}.")


def require_name(name: str) -> None:
    """Require a name that can be the name of a folder.

    Raises:
        ConfigError: it cannot.
    """
    if not re.fullmatch(NAME, name) or not is_portable(name):
        raise ConfigError(
            f"{name!r} cannot be the name of an experiment.",
            hint="Use letters, digits, '.', '_' and '-', beginning with a letter or digit and not ending in a dot; not "
            "the name of a Windows device, such as con or nul.txt.",
        )


def copy_files(name: str) -> Iterator[tuple[Path, str]]:
    """Yield path and text of the files of an experiment, without its own name."""
    conf = find_project().conf
    for path in layer_files(str(conf), f"experiments/{name}"):
        text = path.read_text(encoding="utf-8")
        kept = _OWN_NAME.sub("", text) if path.name == "globals.yml" else text
        if any(line.strip() and not line.lstrip().startswith("#") for line in kept.splitlines()):
            yield path.relative_to(conf / "experiments" / name), kept


def fill_folder(folder: Path, files: dict[Path, str]) -> None:
    """Write a folder with all its files; after an error there is no folder."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        made = Path(temporary) / folder.name
        for name, text in files.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(text, encoding="utf-8")
        shutil.move(made, folder)
