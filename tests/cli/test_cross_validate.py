"""`kedro cross-validate` before it trains: the experiments that it writes, and the errors."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from click.testing import CliRunner
from rich.console import Console

from xview2_siamese_unet.cli import cross_validate as module
from xview2_siamese_unet.cli.command import open_configuration
from xview2_siamese_unet.errors import ConfigError, DataError


@pytest.fixture
def ran(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the pipelines in a project with scenes of three events; return the experiments that would run."""
    experiments: list[str] = []
    scenes = pd.DataFrame({"scene": ["a", "b", "c"], "disaster": ["fire", "flood", "wind"]})

    def run(env: str, pipeline: str) -> str:
        experiments.extend([env] if pipeline == "__default__" else [])
        return env

    monkeypatch.setattr(module, "run_pipeline", run)
    monkeypatch.setattr(module, "open_catalog", lambda _: SimpleNamespace(load={"scenes": scenes}.__getitem__))
    monkeypatch.setattr(module, "_pool", lambda _by, names, runs: (dict.fromkeys(names), runs))
    monkeypatch.setattr(module, "_table", str)
    assert shipped.is_dir()
    return experiments


def call(*args: str) -> None:
    CliRunner().invoke(module.cross_validate, args, catch_exceptions=False)


def left_out(env: str) -> list[str]:
    return list(open_configuration(env)["parameters"]["data_processing"]["split"]["leave_events_out"])


def test_each_event_is_left_out_once(ran: list[str]) -> None:
    call()
    assert [left_out(env) for env in ran] == [["fire"], ["flood"], ["wind"]]
    ran.clear()
    call("--folds", "2")
    assert [left_out(env) for env in ran] == [["fire", "wind"], ["flood"]]
    with pytest.raises(DataError, match="3 events cannot be divided into 4 folds"):
        call("--folds", "4")


def test_folds_of_scenes_differ_only_in_their_fold(ran: list[str]) -> None:
    call("--by", "scene", "--folds", "3")
    call("--by", "scene", "--folds", "3")
    splits = [open_configuration(env)["parameters"]["data_processing"]["split"] for env in ran]
    assert [list(split["fold"]) for split in splits] == [[1, 3], [2, 3], [3, 3]] * 2


def test_a_copy_with_other_settings_is_refused(ran: list[str], shipped: Path) -> None:
    call("--by", "scene", "--folds", "2")
    path = shipped / "conf/experiments/quickstart/parameters.yml"
    path.write_text(path.read_text().replace("epochs: 13", "epochs: 12"))
    ran.clear()
    with pytest.raises(ConfigError, match=r"quickstart_fold_1_of_2' exists and has another training\.epochs"):
        call("--by", "scene", "--folds", "2")
    assert ran == []


def test_the_table_has_a_row_for_each_fold_and_one_for_all() -> None:
    scores = {"score": 0.5, "localization_f1": 0.25, "damage_f1": 0.75}
    intervals = {name: [value - 0.125, value + 0.125] for name, value in scores.items()}
    numbers = {**scores, "intervals": intervals, "n_scenes": 7, "buildings": {"f1": 0.6, "f1_interval": [0.4, 0.7]}}
    console = Console(file=StringIO(), width=200)
    console.print(module._table({"fold 1": numbers, "all scenes": numbers | {"n_scenes": 9}}))
    *_, first, last, _ = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert first.split()[1:5] == ["fold", "1", "│", "7"]
    assert " 9 " in last
    for row in (first, last):
        assert re.findall(r"[\d.]+ +[\d.]+ to [\d.]+", row) == [
            *(f"{value:.3f}  {value - 0.125:.3f} to {value + 0.125:.3f}" for value in scores.values()),
            "0.600  0.400 to 0.700",
        ]
