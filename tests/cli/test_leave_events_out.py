"""`kedro leave-events-out` before it trains: the settings that it writes, and the errors."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from xview2_siamese_unet.cli.command import open_configuration
from xview2_siamese_unet.cli.leave_events_out import leave_events_out
from xview2_siamese_unet.damage import SCORED
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.metrics.confusion import COUNT_COLUMNS
from xview2_siamese_unet.report.comparison import Experiment

events = importlib.import_module("xview2_siamese_unet.cli.leave_events_out")  # a plain import gives the command
FIRES = ("socal-fire", "woolsey-fire")
SPLIT = "data_processing: {split: {train: {tier1: 0.5}}}"


def call(*args: str) -> str:
    return CliRunner().invoke(leave_events_out, args, catch_exceptions=False).output


@pytest.mark.parametrize("text", ["", SPLIT])
@pytest.mark.parametrize("model", ["quickstart", "seed_002"])
def test_the_copy_differs_only_in_the_events_and_its_name(shipped: Path, model: str, text: str) -> None:
    if text:
        (shipped / "conf/experiments" / model / "parameters_split.yml").write_text(text)
    events.create_variant(model, "without", events.LEFT_OUT, list(FIRES))
    one, two = (open_configuration(f"default/{name}") for name in (model, "without"))
    wanted = dict(one["parameters"])
    wanted["data_processing"]["split"]["leave_events_out"] = list(FIRES)
    assert {**two["parameters"], "reporting": None} == {**wanted, "reporting": None}
    assert two["parameters"]["reporting"]["model_file"] == "without_best_siamese_unet_state.pth"
    assert two["globals"] == {**one["globals"], "experiment": "without"}
    before = sorted((shipped / "conf").rglob("*"))
    events.create_variant(model, "without", events.LEFT_OUT, ["another"])
    assert sorted((shipped / "conf").rglob("*")) == before, "an existing copy is unchanged"
    assert open_configuration("default/without")["parameters"] == two["parameters"]


@pytest.mark.parametrize("file", ["parameters.json", "parameters.yaml", "parameters/split.yml"])
def test_the_copy_has_the_settings_of_every_file(shipped: Path, file: str) -> None:
    path = shipped / "conf/experiments/model" / file
    path.parent.mkdir(parents=True)
    path.write_text('{"data_processing": {"split": {"train": {"tier1": 0.5}}}}')
    events.create_variant("model", "without", events.LEFT_OUT, list(FIRES))
    split = open_configuration("default/without")["parameters"]["data_processing"]["split"]
    assert split["train"]["tier1"] == 0.5
    assert split["leave_events_out"] == list(FIRES)
    made = shipped / "conf/experiments/without" / file
    assert file != "parameters.json" or json.loads(made.read_text())


@pytest.mark.parametrize(
    "settings", ["data_processing: {split: {leave_events_out: [joplin-tornado]}}", "reporting: {split: validation}"]
)
def test_an_experiment_that_already_leaves_events_out_is_refused(shipped: Path, settings: str) -> None:
    (shipped / "conf/experiments/quickstart/parameters_more.yml").write_text(settings)
    with pytest.raises(ConfigError, match=r"^default/quickstart has .*leaves no event out"):
        call("socal-fire")


def test_a_folder_of_other_events_is_refused(shipped: Path) -> None:
    events.create_variant("quickstart", "mine", events.LEFT_OUT, ["joplin-tornado"])
    with pytest.raises(ConfigError, match="leaves out joplin-tornado, not socal-fire"):
        call("socal-fire", "--name", "mine")


def test_a_folder_of_other_settings_is_refused(shipped: Path) -> None:
    events.create_variant("quickstart", "quickstart_without_socal-fire", events.LEFT_OUT, ["socal-fire"])
    path = shipped / "conf/experiments/quickstart/parameters.yml"
    path.write_text(path.read_text().replace("epochs: 13", "epochs: 12"))
    with pytest.raises(ConfigError, match=r"quickstart_without_socal-fire' exists and has another training\.epochs"):
        call("socal-fire")


@pytest.mark.usefixtures("shipped")
def test_a_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(ConfigError, match="117 characters, more than 100"):
        call(*["socal-fire"] * 9)


@pytest.mark.parametrize("name", ["../../evil", "my test", "-x", ".", "a\n"])
def test_a_name_that_cannot_be_a_folder_is_refused_before_anything_runs(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ran: list[object] = []
    monkeypatch.setattr(events, "run_pipeline", lambda *run: ran.append(run))
    before = sorted(shipped.parent.rglob("*"))
    with pytest.raises(ConfigError, match=r"cannot be the name.*letters"):
        call("socal-fire", f"--name={name}")
    assert sorted(shipped.parent.rglob("*")) == before
    assert not ran


def test_an_event_without_a_test_scene_stops_before_any_training(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {
        "splits": pd.DataFrame({"scene": ["a", "b"], "split": ["train", "test"]}),
        "scenes": pd.DataFrame({"scene": ["a", "b"], "disaster": ["socal-fire", "joplin-tornado"]}),
    }
    ran: list[tuple[str, str]] = []
    monkeypatch.setattr(events, "open_catalog", lambda _: SimpleNamespace(load=tables.__getitem__))
    monkeypatch.setattr(events, "run_pipeline", lambda *run: ran.append(run))
    with pytest.raises(DataError, match=r"no scene of socal-fire.*joplin-tornado"):
        call("socal-fire")
    assert ran == [("default/quickstart", "data_processing")]
    assert not (shipped / "conf/experiments/quickstart_without_socal-fire").exists()


def test_two_experiments_with_one_folder_are_refused(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shipped / "conf/local").mkdir(exist_ok=True)
    (shipped / "conf/local/globals.yml").write_text(yaml.safe_dump({"experiment": "always"}))
    monkeypatch.setattr(events, "run_pipeline", lambda *_: None)
    monkeypatch.setattr(events, "_require_scenes", lambda *_: None)
    with pytest.raises(ConfigError, match="name both 'always'"):
        call("socal-fire")


def scored(name: str, hits: dict[str, int]) -> Experiment:
    """Ten scenes of each event with a hundred pixels of each class, about `hits` of them correct."""
    table = pd.DataFrame({"disaster": np.repeat(list(hits), 10), "scene": [f"s{n}" for n in range(10 * len(hits))]})
    correct = table["disaster"].map(hits) + np.arange(len(table)) % 10
    columns = dict.fromkeys(COUNT_COLUMNS, 0) | {"localization_1_1": 400}
    columns |= {f"damage_{code}_{code}": correct for code in SCORED} | {
        f"damage_{code}_0": 100 - correct for code in SCORED
    }
    return Experiment(name, table.assign(**columns), "ignore", {})


def test_the_drop_is_reported_for_each_event_and_for_all() -> None:
    both = scored("a/mixed", {"fire": 60, "flood": 70, "wind": 80}), scored("a/held", {"fire": 40, "flood": 69})
    fire, flood, together = events._drops(both, ("fire", "flood"))
    assert fire.startswith("Score on 10 scenes of fire: ")
    assert flood.startswith("Score on 10 scenes of flood: ")
    assert together.startswith("Score on 20 scenes of fire and flood: ")
    seen, unseen, drop, low, high = (float(word) for word in re.findall(r"[+-]?\d\.\d{3}", fire))
    assert drop == pytest.approx(unseen - seen, abs=0.0015)
    assert low <= drop <= high < -0.1
    assert len(list(events._drops(both, ("fire",)))) == 1
