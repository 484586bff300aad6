"""`kedro leave-events-out EVENT...`: how much worse a model is on disasters that it has never seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from kedro.framework.cli.utils import env_option

from xview2_siamese_unet.cli.command import ProjectCommand
from xview2_siamese_unet.cli.configuration import conf_folder, find_path, find_project, open_configuration
from xview2_siamese_unet.cli.experiment import copy_files, fill_folder, require_name
from xview2_siamese_unet.cli.out import out_option
from xview2_siamese_unet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from xview2_siamese_unet.environments import UserExperimentConfigLoader
    from xview2_siamese_unet.report.comparison import Experiment

_LONGEST: Final = 100
"""Of the name of an experiment, which is a folder."""
_KEY: Final = "data_processing.split.leave_events_out"
_NOTE: Final = (
    "{held} has never seen {events}: all of their scenes are its test. Both are scored here on the {scenes} scenes of "
    "{events} in the test split of {mixed}, which has learnt from other scenes of {events}. {held} has also learnt "
    "from fewer scenes, {few} instead of {many}, and each was trained once: the drop holds all of this."
)


@click.command("leave-events-out", cls=ProjectCommand)
@click.argument("events", metavar="EVENT...", nargs=-1, required=True)
@click.option("--name", help="Of the experiment without the events; without it <experiment>_without_<event>.")
@out_option("Page; without it beside the report.")
@env_option
def leave_events_out(events: tuple[str, ...], name: str | None, out: Path | None, env: str | None) -> None:
    """Train without some events, and report what that costs on them.

    Runs the experiment of --env as it is; makes a copy of it in conf/experiments that holds out every EVENT, such as
    socal-fire; trains and scores that one too; and compares both on the test scenes that they share. What is finished
    is taken over, so the same command goes on where it was stopped.

    \b
    kedro leave-events-out socal-fire palu-tsunami --env lab/strong
    """  # noqa: D301  click takes the escaped character
    # A command that compares nothing does not wait for these.
    from xview2_siamese_unet.atomic import write_atomically  # noqa: PLC0415
    from xview2_siamese_unet.cli.score import open_console, open_experiment  # noqa: PLC0415
    from xview2_siamese_unet.report import comparison  # noqa: PLC0415

    mixed = open_configuration(env)
    _require_mixed(mixed)
    user, experiment = mixed.user_and_experiment
    held = name or "_".join([experiment, "without", *events])
    _require_folder(mixed, held, events)
    _require_scenes(_run(f"{user}/{experiment}", "data_processing"), events)
    first = _run(f"{user}/{experiment}", "__default__")
    _make(experiment, held, events)
    _require_apart(mixed, open_configuration(f"{user}/{held}"))
    both = open_experiment(first), open_experiment(_run(f"{user}/{held}", "__default__"))
    drops = list(_drops(both, events))
    compared = comparison.compare(both, " ".join([_note(both, events), *drops]))
    out = out or find_path(open_configuration(both[1].name), "report").with_name("leave_events_out.html")
    write_atomically(out, comparison.render_comparison(compared))
    open_console().print(comparison.comparison_tables(compared))
    click.echo("\n".join([*drops, f"Page: {out}"]))


def _note(both: tuple[Experiment, Experiment], events: tuple[str, ...]) -> str:
    mixed, held = (each.name for each in both)
    many, few = (int((_load(name, "splits")["split"] == "train").sum()) for name in (mixed, held))
    scenes = len(set(both[0].counts["scene"]) & set(both[1].counts["scene"]))
    return _NOTE.format(mixed=mixed, held=held, events=" and ".join(events), scenes=scenes, few=few, many=many)


def _drops(both: tuple[Experiment, Experiment], events: tuple[str, ...]) -> Iterator[str]:
    """Yield a sentence for each event, and one for all where there are more."""
    from xview2_siamese_unet.report.comparison import difference  # noqa: PLC0415

    for group in (*((event,) for event in events), *([events] if len(events) > 1 else [])):
        parts = (replace(each, counts=each.counts[each.counts["disaster"].isin(group)]) for each in both)
        found = difference(*parts)
        drop, (seen, unseen) = found.numbers["score"], (scores["score"] for scores in found.scores)
        yield (
            f"Score on {found.scenes} scenes of {' and '.join(group)}: {seen:.3f} seen, {unseen:.3f} unseen, "
            f"{drop.value:+.3f} (95 %: {drop.low:+.3f} to {drop.high:+.3f})."
        )


def _run(env: str, pipeline: str) -> str:
    """Run a pipeline; return what `kedro compare` calls the run."""
    from xview2_siamese_unet.session import ProjectSession  # noqa: PLC0415

    click.secho(f"kedro run --env {env} --pipelines {pipeline}", bold=True, err=True)
    session: Any = ProjectSession.create(find_project(), env=env)
    with session:
        session.run(pipeline_names=[pipeline])
    return f"{env}@{session.worked_on.name}"


def _load(run: str, dataset: str) -> Any:  # noqa: ANN401
    from xview2_siamese_unet.cli.score import open_catalog  # noqa: PLC0415

    return open_catalog(run).load(dataset)


def _make(experiment: str, held: str, events: tuple[str, ...]) -> None:
    """Write the settings of the experiment without the events, unless an earlier call has."""
    from omegaconf import OmegaConf  # noqa: PLC0415

    folder = conf_folder() / "experiments"
    if (folder / held).exists():
        return
    files = dict(copy_files(experiment))
    section = _KEY.partition(".")[0]
    # Kedro refuses a section in two files of one layer, so the key goes where its section is.
    place = next((path for path, text in files.items() if section in OmegaConf.create(text)), Path("parameters.yml"))
    settings = OmegaConf.create(files.get(place, "{}"))
    OmegaConf.update(settings, _KEY, list(events))
    if place.suffix == ".json":
        files[place] = json.dumps(OmegaConf.to_container(settings), indent=2)
    else:
        files[place] = f"# As {experiment}, without some events.\n{OmegaConf.to_yaml(settings)}"
    fill_folder(folder / held, files)


def _require_mixed(loader: UserExperimentConfigLoader) -> None:
    """Only the test split holds scenes of an event that both have not learnt from."""
    found = {_KEY: loader["parameters"]["data_processing"]["split"]["leave_events_out"]}
    found["reporting.split"] = loader["parameters"]["reporting"]["split"]
    if found != {_KEY: [], "reporting.split": "test"}:
        raise ConfigError(
            f"experiment {'/'.join(loader.user_and_experiment)}",
            found=", ".join(f"{key}: {value}" for key, value in found.items()),
            allowed=f"{_KEY}: [], reporting.split: test",
            remedy="name an experiment that mixes all events and is scored on the test split",
        )


def _require_folder(loader: UserExperimentConfigLoader, held: str, events: tuple[str, ...]) -> None:
    require_name(held)
    if len(held) > _LONGEST:
        raise ConfigError(
            "name of the experiment",
            found=f"{len(held)} characters",
            allowed=f"{_LONGEST} at most",
            remedy="choose a shorter one with --name",
        )
    if held in loader.known("experiments"):
        found = open_configuration(f"{loader.user_and_experiment[0]}/{held}")["parameters"]
        left_out = found["data_processing"]["split"]["leave_events_out"]
        if set(left_out) != set(events):
            raise ConfigError(
                f"experiment {held}",
                found=f"one that leaves out {', '.join(left_out) or 'nothing'}",
                allowed=f"one that leaves out {', '.join(events)}",
                remedy="choose another name with --name",
            )


def _require_apart(mixed: UserExperimentConfigLoader, held: UserExperimentConfigLoader) -> None:
    names = {loader["globals"]["experiment"] for loader in (mixed, held)}
    if len(names) == 1:
        raise ConfigError(
            f"experiment {'/'.join(held.user_and_experiment)}",
            found=f"the name {names.pop()!r} from a layer above it, so that both would write to the same folders",
            allowed="a name of its own",
            remedy="remove experiment from globals.yml of the user or of conf/local",
        )


def _require_scenes(env: str, events: tuple[str, ...]) -> None:
    scenes = _load(env, "splits").merge(_load(env, "scenes")[["scene", "disaster"]], on="scene")
    tested = set(scenes.loc[scenes["split"] == "test", "disaster"])
    for event in events:
        if event not in tested:
            raise DataError(
                f"event {event}",
                found=f"no scene of it in the test split of {env}",
                allowed=", ".join(sorted(tested)),
                remedy="name events of the test split",
            )
