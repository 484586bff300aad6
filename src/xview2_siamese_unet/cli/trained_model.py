"""`kedro model show`, `export`, `verify`, `ensemble`, `score` and `average`: the commands that load models."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from xview2_siamese_unet.atomic import sha256, whole_file, write_atomically
from xview2_siamese_unet.cli.command import (
    ProjectCommand,
    env_option,
    find_path,
    json_option,
    open_catalog,
    open_configuration,
    open_console,
    out_option,
    print_json,
)
from xview2_siamese_unet.config.modelling import HardwareParams, Unclassified
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.inference.prediction import predict_scenes
from xview2_siamese_unet.metrics.confusion import COUNT_COLUMNS, count_scene
from xview2_siamese_unet.models.card import (
    MODEL_SUFFIXES,
    ONNX,
    SUFFIXES,
    Card,
    Member,
    find_card,
    parse_card,
    write_card,
)
from xview2_siamese_unet.models.checkpoint_file import format_of, read_checkpoint
from xview2_siamese_unet.models.combine import average_checkpoints, write_ensemble
from xview2_siamese_unet.models.export import card_of, write_model
from xview2_siamese_unet.models.trained import check_model, members_of, read_model
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.report.comparison import (
    Experiment,
    Number,
    compare,
    comparison_numbers,
    difference,
    scores_with_intervals,
)
from xview2_siamese_unet.training.tuning import tune_model

_BUNDLE: Final = ".safetensors"
_NOT_TUNED: Final = "Thresholds and vote weights are the means of those of the members; they were not tuned again."
_out_folder: Final = click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")


class Source(NamedTuple):
    """A model: the name for its export, its file, and the metrics of its report."""

    name: str
    path: Path
    metrics: dict[str, Any] | None = None


@click.command(cls=ProjectCommand)
@click.argument("name", metavar="CARD|RUN")
@json_option
@env_option
def show(name: str, *, as_json: bool, env: str | None) -> None:
    """Print a card, or the card of a run or a checkpoint.

    \b
    kedro model show default/quickstart
    """  # noqa: D301  click takes the escaped character
    source = _find(name, env)
    if source.path.suffix in (ONNX, *SUFFIXES):
        card = parse_card(find_card(source.path) if source.path.suffix == ONNX else source.path)
    else:
        checkpoint = read_checkpoint(source.path)
        member = Member(file=source.path.name, sha256=sha256(source.path))
        card = card_of(source.name, checkpoint, source.metrics, member)
    if as_json:
        print_json(card.model_dump(mode="json", exclude_defaults=True))
    else:
        click.echo(write_card(card), nl=False)


@click.command(cls=ProjectCommand)
@click.argument("name", metavar="RUN|FILE")
@click.option("--format", "kind", type=click.Choice(["onnx", "bundle"]), required=True, help="Format of the net.")
@_out_folder
@env_option
def export(name: str, kind: str, out: Path, env: str | None) -> None:
    """Write a trained net and its card to a folder.

    `onnx` is a network for ONNX Runtime with dynamic batch, height and width; `bundle` a .safetensors checkpoint.

    \b
    kedro model export default/quickstart --format onnx --out exported
    """  # noqa: D301  click takes the escaped character
    source = _find(name, env)
    path = out / f"{source.name}{ONNX if kind == 'onnx' else _BUNDLE}"
    click.echo(write_model(source.name, read_checkpoint(source.path), source.metrics, path))


@click.command(cls=ProjectCommand)
@click.argument("card", type=click.Path(path_type=Path))
@json_option
def verify(card: Path, *, as_json: bool) -> None:
    """Check the files of a CARD against their SHA-256, load each net, and predict a small image.

    \b
    kedro model verify exported/quickstart.yml
    """  # noqa: D301  click takes the escaped character
    content = read_model(card)
    if "card" not in content:
        raise ConfigError(f"{card} is a checkpoint, not a card.", hint="Write one with kedro model export.")
    means = check_model(content)
    if as_json:
        print_json({"name": content["name"], "mean_probabilities_of_noise": [*means]})
        return
    click.echo(f"{content['name']}: every file has the SHA-256 of the card, and its nets predict.")
    shown = ", ".join(f"{mean:.3f}" for mean in means)
    click.echo(f"Mean probabilities of background and the damage classes for noise: {shown}.")


@click.command(cls=ProjectCommand)
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@_out_folder
@click.option("--name", default="ensemble", show_default=True, help="Name of the ensemble.")
@click.option("--tune", is_flag=True, help="Tune its decision rule on the validation scenes of --env.")
@env_option
def ensemble(names: tuple[str, ...], out: Path, name: str, *, tune: bool, env: str | None) -> None:
    """Copy models (runs, checkpoints or cards), and write a card that averages their probabilities.

    \b
    kedro model ensemble lab/seed-0 lab/seed-1 lab/seed-2 --out ensemble
    kedro model ensemble lab/seed-0 lab/seed-1 --out ensemble --tune --env lab/seed-0
    """  # noqa: D301  click takes the escaped character
    scenes = _scenes(env, "validation") if tune else None  # before anything is written
    card = write_ensemble(name, [_find(each, env).path for each in names], out)
    if scenes is None:
        click.echo(_NOT_TUNED, err=True)
    else:
        plain = parse_card(card).model_dump(exclude_defaults=True)
        tuned = tune_model(read_model(card), *scenes, folder=card.parent)
        write_atomically(card, write_card(Card.model_validate(plain | tuned)))
    click.echo(card)


@click.command(cls=ProjectCommand)
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@json_option
@env_option
def score(names: tuple[str, ...], split: str, *, as_json: bool, env: str | None) -> None:
    """Score models (runs, checkpoints or cards) on a split of --env, and compare them with the first.

    Each member of an ensemble is scored, too.

    \b
    kedro model score ensemble/ensemble.yml --env lab/seed-0
    """  # noqa: D301  click takes the escaped character
    store, scenes, hardware, unclassified = _scenes(env, split)
    scored: list[Experiment] = []
    for name in names:
        content = read_model(_find(name, env).path)
        for label, each in {name: content, **members_of(content)}.items():
            counts = _count(each, store, scenes, hardware)
            scored.append(Experiment(label if label == name else f"  {label}", counts, unclassified, {}))
    if as_json:
        print_json(comparison_numbers(compare(scored)))
        return
    table = Table(title=f"{len(scenes)} scenes of split {split}, 95 % interval over scenes", title_justify="left")
    table.add_column("model", overflow="fold")
    for column in ("score", "localisation F1", "damage F1", "score minus the first"):
        table.add_column(column, justify="right")
    for model in scored:
        numbers = scores_with_intervals(model)
        cells = [_cell(numbers[key]) for key in ("score", "localization_f1", "damage_f1")]
        change = "" if model is scored[0] else _cell(difference(scored[0], model).numbers["score"], "+")
        table.add_row(Text(model.name), *cells, change)
    open_console().print(table)


@click.command(cls=ProjectCommand)
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@out_option("Checkpoint to write, .pth or .safetensors.")
@env_option
def average(names: tuple[str, ...], out: Path | None, env: str | None) -> None:
    """Average the weights of runs or checkpoints of one architecture into one checkpoint, a soup.

    \b
    kedro model average lab/seed-0 lab/seed-1 lab/seed-2 --out soup.safetensors
    """  # noqa: D301  click takes the escaped character
    if out is None:
        raise click.UsageError("Missing option '--out'.")
    if out.exists():
        raise ConfigError(f"{out} already exists.", hint="Choose another file with --out, or remove it.")
    soup = average_checkpoints([_find(each, env).path for each in names])
    with whole_file(out) as part:
        format_of(out).write(soup, part)
    click.echo(out)
    click.echo(_NOT_TUNED, err=True)


def _cell(number: Number, sign: str = "") -> str:
    return f"{number.value:{sign}.3f}  {number.low:{sign}.3f} to {number.high:{sign}.3f}"


def _scenes(env: str | None, split: str) -> tuple[Store, list[str], HardwareParams, Unclassified]:
    """Return the store of an environment, the scenes of a split, `hardware`, and `unclassified`."""
    catalog, parameters = open_catalog(env or ""), Parameters.model_validate(open_configuration(env)["parameters"])
    if absent := [name for name in ("store", "splits") if not catalog.exists(name)]:
        raise DataError(
            f"The environment has no {' and no '.join(absent)}.",
            hint="Run kedro run --pipelines data_processing with the same --env.",
        )
    splits = catalog.load("splits")
    names = sorted(splits.loc[splits["split"] == split, "scene"])
    if not names:
        raise DataError(f"Split {split} has no scene.", hint="Change data_processing.split.")
    return catalog.load("store"), names, parameters.hardware, parameters.classes.unclassified


def _count(content: Mapping[str, Any], store: Store, names: list[str], hardware: HardwareParams) -> pd.DataFrame:
    """Return the confusion counts of a model, one row a scene; only one scene is in memory."""
    rows = []
    for scene in predict_scenes(content, store, names, hardware, batch_size=1):
        truth = store.scene(scene.name)
        rows.append(count_scene(truth.building, truth.damage, scene.codes, scene=scene.name).row())
    return pd.DataFrame({"scene": names}).join(pd.DataFrame(np.array(rows), columns=COUNT_COLUMNS))


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
