from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from PIL import Image
from rich.table import Table

from kept_runs import RUN, write_run
from xview2_siamese_unet.cli import cli
from xview2_siamese_unet.cli.command import open_console
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.metrics.confusion import COUNT_COLUMNS


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    for kind in ("localization", "damage"):
        for end in ("prediction", "target"):
            (tmp_path / end).mkdir(exist_ok=True)
            for number in range(3):
                mask = np.zeros((1024, 1024), np.uint8)
                mask[::8, ::8] = rng.integers(0, 5, (128, 128))
                Image.fromarray(mask).save(tmp_path / end / f"test_{kind}_{number:05d}_{end}.png")
    return [str(tmp_path / "prediction"), str(tmp_path / "target")]


def test_score_prints_and_writes_the_official_keys(folders: list[str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.json"
    done = CliRunner().invoke(cli, ["score", *folders, "--out", str(out)], catch_exceptions=False)
    numbers = json.loads(out.read_text())
    assert list(numbers)[:7] == [
        "score",
        "damage_f1",
        "localization_f1",
        "damage_f1_no_damage",
        "damage_f1_minor_damage",
        "damage_f1_major_damage",
        "damage_f1_destroyed",
    ]
    assert f"{numbers['score']:.6f}" in done.output
    assert done.output.startswith("3 scenes\n")
    assert json.loads(CliRunner().invoke(cli, ["score", *folders, "--json"]).stdout) == numbers


def test_another_size_is_refused_without_any_size(folders: list[str]) -> None:
    for folder, end in zip(folders, ("prediction", "target"), strict=True):
        for kind in ("localization", "damage"):
            Image.new("L", (64, 64)).save(Path(folder) / f"test_{kind}_00001_{end}.png")
    refused = CliRunner().invoke(cli, ["score", *folders])
    assert isinstance(refused.exception, DataError)
    assert "64 × 64 pixels" in str(refused.exception)
    assert CliRunner().invoke(cli, ["score", *folders, "--any-size"]).exit_code == 0


@pytest.mark.parametrize("names", [["a/1"], ["a/1", "a/1"]])
def test_compare_requires_two_experiments(names: list[str]) -> None:
    done = CliRunner().invoke(cli, ["compare", *names])
    assert done.exit_code == 2
    assert "Name two experiments or more, each once." in done.output


COUNTS = "_run: ${globals:group}/${globals:experiment}/${globals:run}\n" + "".join(
    f"{name}: {{type: {kind}, filepath: '${{globals:storage}}/{layer}/${{_run}}/{name}.{end}'}}\n"
    for name, kind, layer, end in (
        ("scene_counts", "pandas.ParquetDataset", "08_reporting", "parquet"),
        ("metrics", "json.JSONDataset", "08_reporting", "json"),
        ("run", "json.JSONDataset", "06_models", "json"),
    )
)


def write_scores(project: Path, name: str, run: str = RUN, **settings: object) -> None:
    write_run(project / "data", f"default/{name}", run, **settings)
    folder = project / "data/08_reporting/default" / name / run
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text('{"unclassified": "ignore"}')
    pd.DataFrame(1, index=range(2), columns=COUNT_COLUMNS).assign(scene=["a", "b"]).to_parquet(
        folder / "scene_counts.parquet"
    )


def test_compare_reads_two_experiments_and_names_what_is_missing(
    write_project: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write_project(
        {
            "base/catalog.yml": COUNTS,
            "experiments/one/parameters.yml": "training: {learning_rate: 0.9}",  # edited since the run
            "experiments/two/globals.yml": "",
            "experiments/three/globals.yml": "",
        }
    )
    monkeypatch.chdir(project)
    bootstrap_project(project)
    write_scores(project, "one", training={"learning_rate": 0.5})
    write_scores(project, "two")
    command = ["compare", "default/one", "default/two", "--out", "page.html"]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert "training.learning_rate" in done.output
    assert "default/two minus default/one, paired over the same 2 scenes" in done.output
    assert "0.5</td>" in (project / "page.html").read_text()
    assert "0.9" not in (project / "page.html").read_text()
    numbers = json.loads(CliRunner().invoke(cli, [*command, "--json"], catch_exceptions=False).stdout)
    assert numbers["settings"]["training.learning_rate"][0] == "0.5"
    one, two = numbers["experiments"]
    assert (one["name"], one["n_scenes"], one["score"]) == ("default/one", 2, two["score"])
    assert numbers["differences"]["default/two"]["score"] == 0
    assert set(numbers["differences"]["default/two"]["changed_scenes"]) == {"a", "b"}
    missing = CliRunner().invoke(cli, ["compare", "default/one", "default/three"])
    assert isinstance(missing.exception, DataError)
    assert "default/three has no run, scene_counts, metrics" in str(missing.exception)


def test_compare_reads_two_runs_of_one_experiment(
    write_project: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write_project({"base/catalog.yml": COUNTS, "experiments/one/globals.yml": ""})
    monkeypatch.chdir(project)
    bootstrap_project(project)
    write_scores(project, "one", training={"learning_rate": 0.25})
    write_scores(project, "one", "2026-02-01T00.00.00.000Z", training={"learning_rate": 0.75})
    done = CliRunner().invoke(cli, ["compare", f"default/one@{RUN}", "default/one"], catch_exceptions=False)
    [row] = [line for line in done.output.splitlines() if "training.learning_rate" in line]
    assert row.index("0.25") < row.index("0.75")
    missing = CliRunner().invoke(cli, ["compare", "default/one", "default/one@2025"])
    assert isinstance(missing.exception, ConfigError)
    assert f"default/one has no run '2025'. Name one of its runs: 2026-02-01T00.00.00.000Z, {RUN}" in str(
        missing.exception
    )


def test_without_a_terminal_no_name_is_cut(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table("experiment", *["x" * 90] * 2)
    open_console().print(table)
    assert capsys.readouterr().out.count("x" * 90) == 2
    monkeypatch.setenv("COLUMNS", "60")
    open_console().print(table)
    assert max(map(len, capsys.readouterr().out.splitlines())) == 60
