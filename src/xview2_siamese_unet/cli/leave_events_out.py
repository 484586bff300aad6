"""`kedro leave-events-out EVENT...`: measure generalisation to unseen events."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from omegaconf import OmegaConf

from xview2_siamese_unet.atomic import write_atomically
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
from xview2_siamese_unet.cli.compare import open_experiment
from xview2_siamese_unet.cli.experiment import copy_files, fill_folder, require_name
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.project import find_project, open_session
from xview2_siamese_unet.report import comparison
from xview2_siamese_unet.report.comparison import Experiment, difference
from xview2_siamese_unet.runs import flatten

_LONGEST: Final = 100
"""Characters in the name of an experiment, which is a folder."""
_OWN: Final = "reporting.model_file"
LEFT_OUT: Final = "data_processing.split.leave_events_out"
_NOTE: Final = (
    "{held} is trained without {events} and tested on all of their scenes. Both are scored here on the {scenes} scenes "
    "of {events} in the test split of {mixed}, which is trained on other scenes of {events}. {held} is also trained "
    "on fewer scenes, {few} instead of {many}, and each is trained once: the drop includes both effects."
)


@click.command("leave-events-out", cls=ProjectCommand)
@click.argument("events", metavar="EVENT...", nargs=-1, required=True)
@click.option("--name", help="Name of the new experiment. Default: <experiment>_without_<event>.")
@out_option("HTML file of the comparison. Default: next to the report.")
@json_option
@env_option
def leave_events_out(
    events: tuple[str, ...], name: str | None, out: Path | None, *, as_json: bool, env: str | None
) -> None:
    """Train without some events, and report the drop of the score on them.

    Runs the experiment of --env; copies it in conf/experiments with every EVENT, such as socal-fire, left out; trains
    and scores the copy; and compares both on the test scenes that they share. Finished results are reused, so the same
    command resumes after an interruption.

    \b
    kedro leave-events-out socal-fire palu-tsunami --env lab/strong
    """  # noqa: D301  click takes the escaped character
    mixed = open_configuration(env)
    require_mixed(mixed)
    user, experiment = mixed.user_and_experiment
    held = name or "_".join([experiment, "without", *events])
    _require_folder(mixed, held, events)
    _require_scenes(run_pipeline(f"{user}/{experiment}", "data_processing"), events)
    first = run_pipeline(f"{user}/{experiment}", "__default__")
    create_variant(experiment, held, LEFT_OUT, list(events))
    require_own_folders(mixed, open_configuration(f"{user}/{held}"))
    both = open_experiment(first), open_experiment(run_pipeline(f"{user}/{held}", "__default__"))
    drops = list(_drops(both, events))
    compared = comparison.compare(both, " ".join([_note(both, events), *drops]))
    out = out or find_path(open_configuration(both[1].name), "report").with_name("leave_events_out.html")
    write_atomically(out, comparison.render_comparison(compared))
    if as_json:
        print_json({**comparison.comparison_numbers(compared), "sentences": drops, "page": str(out)})
        return
    open_console().print(comparison.comparison_tables(compared))
    click.echo("\n".join([*drops, f"Page: {out}"]))


def _note(both: tuple[Experiment, Experiment], events: tuple[str, ...]) -> str:
    mixed, held = (each.name for each in both)
    many, few = (int((open_catalog(name).load("splits")["split"] == "train").sum()) for name in (mixed, held))
    scenes = len(set(both[0].counts["scene"]) & set(both[1].counts["scene"]))
    return _NOTE.format(mixed=mixed, held=held, events=" and ".join(events), scenes=scenes, few=few, many=many)


def _drops(both: tuple[Experiment, Experiment], events: tuple[str, ...]) -> Iterator[str]:
    """Yield a sentence for each event, and one for several together."""
    for group in (*((event,) for event in events), *([events] if len(events) > 1 else [])):
        parts = (replace(each, counts=each.counts[each.counts["disaster"].isin(group)]) for each in both)
        result = difference(*parts)
        drop, (seen, unseen) = result.numbers["score"], (scores["score"] for scores in result.scores)
        yield (
            f"Score on {result.scenes} scenes of {' and '.join(group)}: {seen:.3f} seen, {unseen:.3f} unseen, "
            f"{drop.value:+.3f} (95 %: {drop.low:+.3f} to {drop.high:+.3f})."
        )


def run_pipeline(env: str, pipeline: str) -> str:
    """Run a pipeline; return the name of the run for `kedro compare`."""
    click.secho(f"kedro run --env {env} --pipelines {pipeline}", bold=True, err=True)
    session = open_session(env)
    # The printed score and report are not results of this command.
    with session, redirect_stdout(sys.stderr):
        session.run(pipeline_names=[pipeline])
    return f"{env}@{session.worked_on.name}"


def create_variant(experiment: str, variant: str, key: str, value: object) -> None:
    """Write an experiment that differs in one key from another one, unless it already exists.

    Args:
        experiment: name of the other one.
        variant: name of the new one.
        key: dotted.
        value: of a type that JSON has.
    """
    folder = find_project().conf / "experiments"
    if (folder / variant).exists():
        return
    files = dict(copy_files(experiment))
    section = key.partition(".")[0]
    # Kedro refuses a section in two files of one layer, so the key goes where its section is.
    target = next((path for path, text in files.items() if section in OmegaConf.create(text)), Path("parameters.yml"))
    settings = OmegaConf.create(files.get(target, "{}"))
    OmegaConf.update(settings, key, value)
    if target.suffix == ".json":
        files[target] = json.dumps(OmegaConf.to_container(settings), indent=2)
    else:
        files[target] = f"# As {experiment}, with another {key}.\n{OmegaConf.to_yaml(settings)}"
    fill_folder(folder / variant, files)


def require_mixed(loader: UserExperimentConfigLoader) -> None:
    """Require that an experiment is scored on the test split, which holds scenes of all events.

    Raises:
        ConfigError: it is scored on another split, or leaves events out.
    """
    parameters = loader["parameters"]
    left_out, split = parameters["data_processing"]["split"]["leave_events_out"], parameters["reporting"]["split"]
    if left_out or split != "test":
        raise ConfigError(
            f"{'/'.join(loader.user_and_experiment)} has {LEFT_OUT} {left_out} and reporting.split {split}.",
            hint="Name an experiment that leaves no event out and is scored on the test split.",
        )


def _require_folder(loader: UserExperimentConfigLoader, held: str, events: tuple[str, ...]) -> None:
    require_name(held)
    if len(held) > _LONGEST:
        raise ConfigError(
            f"The name of the new experiment has {len(held)} characters, more than {_LONGEST}.",
            hint="Choose a shorter one with --name.",
        )
    if held in loader.known("experiments"):
        copy = open_configuration(f"{loader.user_and_experiment[0]}/{held}")
        left_out = copy["parameters"]["data_processing"]["split"]["leave_events_out"]
        if set(left_out) != set(events):
            raise ConfigError(
                f"Experiment {held!r} exists and leaves out {', '.join(left_out) or 'no event'}, not "
                f"{', '.join(events)}.",
                hint="Choose another name with --name.",
            )
        require_same_settings(loader, copy, LEFT_OUT, left_out)


def require_same_settings(
    whole: UserExperimentConfigLoader, copy: UserExperimentConfigLoader, key: str, value: object
) -> None:
    """Require that the copy of an earlier call differs only in one key.

    Raises:
        ConfigError: the copy has other settings.
    """
    wanted, actual = flatten(whole["parameters"]), flatten(copy["parameters"])
    wanted |= flatten(dict.fromkeys([key], value)) | {_OWN: actual[_OWN]}
    if other := sorted(key for key in {**wanted, **actual} if wanted.get(key) != actual.get(key)):
        held = copy.user_and_experiment[1]
        raise ConfigError(
            f"Experiment {held!r} exists and has another {', '.join(other[:3])}.",
            hint=f"Remove conf/experiments/{held}, or restore its settings.",
        )


def require_own_folders(mixed: UserExperimentConfigLoader, held: UserExperimentConfigLoader) -> None:
    """Require that two experiments write to different folders.

    Raises:
        ConfigError: they write to the same folders.
    """
    if mixed["globals"]["experiment"] == (name := held["globals"]["experiment"]):
        raise ConfigError(
            f"{'/'.join(held.user_and_experiment)} would write to the folders of the other experiment, because "
            f"globals of the user or of conf/local name both {name!r}.",
            hint="Remove the key experiment from them.",
        )


def _require_scenes(env: str, events: tuple[str, ...]) -> None:
    catalog = open_catalog(env)
    scenes = catalog.load("splits").merge(catalog.load("scenes")[["scene", "disaster"]], on="scene")
    tested = set(scenes.loc[scenes["split"] == "test", "disaster"])
    if absent := [event for event in events if event not in tested]:
        raise DataError(
            f"The test split of {env} has no scene of {', '.join(absent)}.",
            hint=f"Name events of the test split: {', '.join(sorted(tested))}.",
        )
