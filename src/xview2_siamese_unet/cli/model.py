"""`kedro model`: list, export, verify and combine trained models."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from rich.table import Table

from xview2_siamese_unet.atomic import sha256, whole_file
from xview2_siamese_unet.cli.command import (
    ProjectCommand,
    conf_folder,
    env_option,
    find_path,
    open_configuration,
    open_console,
    out_option,
)
from xview2_siamese_unet.cli.experiment import require_known
from xview2_siamese_unet.config_loader import known_names
from xview2_siamese_unet.errors import ConfigError, ProjectError, cause_of
from xview2_siamese_unet.models.card import MODEL_SUFFIXES, ONNX, SUFFIXES, Member, find_card, parse_card, write_card
from xview2_siamese_unet.runs import flatten, list_runs

_BUNDLE: Final = ".safetensors"
_NOT_TUNED: Final = "Thresholds and vote weights are the means of those of the members; they were not tuned again."
_out_folder: Final = click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")


class Source(NamedTuple):
    """A model by its file, the name for its export, and the metrics of its report."""

    name: str
    path: Path
    metrics: dict[str, Any] | None = None


@click.group()
def model() -> None:
    """List, export, verify and combine trained models."""


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
    known_users, experiments = (known_names(str(conf_folder()), kind) for kind in ("users", "experiments"))
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


@model.command(cls=ProjectCommand)
@click.argument("name", metavar="CARD|RUN")
@env_option
def show(name: str, env: str | None) -> None:
    """Print a card, or the card of a run or a checkpoint.

    \b
    kedro model show default/quickstart
    """  # noqa: D301  click takes the escaped character
    source = _find(name, env)
    if source.path.suffix in (ONNX, *SUFFIXES):
        card = parse_card(find_card(source.path) if source.path.suffix == ONNX else source.path)
    else:
        # torch is slow to import
        from xview2_siamese_unet.models.checkpoint import read_checkpoint  # noqa: PLC0415
        from xview2_siamese_unet.models.export import card_of  # noqa: PLC0415

        checkpoint = read_checkpoint(source.path)
        member = Member(file=source.path.name, sha256=sha256(source.path))
        card = card_of(source.name, checkpoint, source.metrics, member)
    click.echo(write_card(card), nl=False)


@model.command(cls=ProjectCommand)
@click.argument("name", metavar="RUN|FILE")
@click.option("--format", "kind", type=click.Choice(["onnx", "bundle"]), required=True, help="Of the net.")
@_out_folder
@env_option
def export(name: str, kind: str, out: Path, env: str | None) -> None:
    """Write a trained net and its card to a folder.

    `onnx` is a network for ONNX Runtime with dynamic batch, height and width; `bundle` a .safetensors checkpoint.

    \b
    kedro model export default/quickstart --format onnx --out exported
    """  # noqa: D301  click takes the escaped character
    # torch is slow to import
    from xview2_siamese_unet.models.checkpoint import read_checkpoint  # noqa: PLC0415
    from xview2_siamese_unet.models.export import write_model  # noqa: PLC0415

    source = _find(name, env)
    path = out / f"{source.name}{ONNX if kind == 'onnx' else _BUNDLE}"
    click.echo(write_model(source.name, read_checkpoint(source.path), source.metrics, path))


@model.command(cls=ProjectCommand)
@click.argument("card", type=click.Path(path_type=Path))
def verify(card: Path) -> None:
    """Check the files of a CARD against their SHA-256, load each net, and predict a small image.

    \b
    kedro model verify exported/quickstart.yml
    """  # noqa: D301  click takes the escaped character
    # torch is slow to import
    from xview2_siamese_unet.models.trained import check_model, read_model  # noqa: PLC0415

    content = read_model(card)
    if "card" not in content:
        raise ConfigError(f"{card} is a checkpoint, not a card.", hint="Write one with kedro model export.")
    means = ", ".join(f"{mean:.3f}" for mean in check_model(content))
    click.echo(f"{content['name']}: every file has the SHA-256 of the card, and its nets predict.")
    click.echo(f"Mean probabilities of background and the damage classes for noise: {means}.")


@model.command(cls=ProjectCommand)
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@_out_folder
@click.option("--name", default="ensemble", show_default=True, help="Of the ensemble.")
@env_option
def ensemble(names: tuple[str, ...], out: Path, name: str, env: str | None) -> None:
    """Copy models, which are runs, checkpoints or cards, and write a card that averages their probabilities.

    \b
    kedro model ensemble lab/seed-0 lab/seed-1 lab/seed-2 --out ensemble
    """  # noqa: D301  click takes the escaped character
    from xview2_siamese_unet.models.combine import write_ensemble  # noqa: PLC0415  torch is slow to import

    click.echo(write_ensemble(name, [_find(each, env).path for each in names], out))
    click.echo(_NOT_TUNED, err=True)


@model.command(cls=ProjectCommand)
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@out_option("Checkpoint to write, .pth or .safetensors.")
@env_option
def average(names: tuple[str, ...], out: Path | None, env: str | None) -> None:
    """Average the weights of runs or checkpoints of one architecture into one checkpoint, a soup.

    \b
    kedro model average lab/seed-0 lab/seed-1 lab/seed-2 --out soup.safetensors
    """  # noqa: D301  click takes the escaped character
    # torch is slow to import
    from xview2_siamese_unet.models.checkpoint import format_of  # noqa: PLC0415
    from xview2_siamese_unet.models.combine import average_checkpoints  # noqa: PLC0415

    if out is None:
        raise click.UsageError("Missing option '--out'.")
    if out.exists():
        raise ConfigError(f"{out} already exists.", hint="Choose another file with --out, or remove it.")
    soup = average_checkpoints([_find(each, env).path for each in names])
    with whole_file(out) as part:
        format_of(out).write(soup, part)
    click.echo(out)
    click.echo(_NOT_TUNED, err=True)


def _find(name: str, env: str | None) -> Source:
    """Return a model by its file, `RUN` of --env, `USER/EXPERIMENT` or `USER/EXPERIMENT@RUN`.

    Raises:
        ConfigError: no such user, experiment or run.
    """
    path = Path(name).expanduser()
    if path.exists() or path.suffix in MODEL_SUFFIXES:
        return Source(
            path.stem.removesuffix("_best_siamese_unet_state").removesuffix("_best_siamese_unet_weights"), path
        )
    loader = open_configuration(name if "/" in name else f"{env or os.environ.get('KEDRO_ENV', '')}@{name}")
    checkpoint, metrics = find_path(loader, "checkpoint"), find_path(loader, "metrics")
    if not checkpoint.is_file():
        raise ConfigError(f"{name} has no finished model.", hint="Train it with kedro run, or name another run.")
    scores = json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else None
    return Source(loader.user_and_experiment[1], checkpoint, scores)


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
