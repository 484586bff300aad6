"""`kedro experiment new` and `kedro experiment list`."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kedro.framework.startup import bootstrap_project

from kept_runs import RUN, write_run
from xview2_siamese_unet.assessment import _checkpoint_of
from xview2_siamese_unet.cli.command import open_configuration
from xview2_siamese_unet.cli.experiment import experiment
from xview2_siamese_unet.errors import ConfigError


def call(*args: str) -> Result:
    return CliRunner().invoke(experiment, args, catch_exceptions=False)


def test_a_copy_has_the_settings_and_a_new_name(shipped: Path) -> None:
    assert "edit conf/experiments/mine/parameters.yml" in call("new", "mine", "--from", "seed_002").output
    copy, model = open_configuration("default/mine"), open_configuration("default/seed_002")
    for section in ("model", "training", "hardware", "classes"):
        assert copy["parameters"][section] == model["parameters"][section]
    assert (copy["globals"]["experiment"], model["globals"]["experiment"]) == ("mine", "002")
    assert [path.name for path in shipped.glob("conf/experiments/*")].count("mine") == 1
    assert not list(shipped.glob("conf/experiments/.*"))


FILES = ("parameters.yaml", "parameters.json", "parameters/x.yml", "deep/parameters_x.json")


@pytest.mark.parametrize("file", FILES)
def test_a_copy_has_the_settings_of_every_file(shipped: Path, file: str) -> None:
    model = shipped / "conf/experiments/model"
    (model / file).parent.mkdir(parents=True)
    (model / file).write_text('{"training": {"epochs": 3}}')
    (model / "notes.yml").write_text("nobody: reads this")
    assert f"edit conf/experiments/mine/{file}, then" in call("new", "mine", "--from", "model").output
    assert open_configuration("default/model")["parameters"]["training"]["epochs"] == 3
    assert open_configuration("default/mine")["parameters"]["training"]["epochs"] == 3
    assert not (shipped / "conf/experiments/mine/notes.yml").exists()


@pytest.mark.usefixtures("shipped")
def test_a_new_experiment_has_the_settings_of_base() -> None:
    call("new", "empty")
    assert open_configuration("default/empty")["parameters"]["training"]["epochs"] == 40


def test_a_copy_of_an_empty_experiment_is_equal(shipped: Path) -> None:
    call("new", "a")
    assert "edit conf/experiments/b/parameters.yml" in call("new", "b", "--from", "a").output
    texts = [(shipped / "conf/experiments" / name / "parameters.yml").read_text() for name in "ab"]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("strong",), "'strong' already exists"),
        (("Strong",), "'strong' already exists"),
        (("../out",), "cannot be the name"),
        (("mine", "--from", "stronk"), "Unknown experiment 'stronk'.*: laptop, quickstart, seed_002, strong"),
    ],
)
def test_a_refused_name_changes_nothing(shipped: Path, args: tuple[str, ...], sentence: str) -> None:
    before = sorted(shipped.rglob("*"))
    with pytest.raises(ConfigError, match=sentence):
        call("new", *args)
    assert sorted(shipped.rglob("*")) == before


def write_score(project: Path, name: str, score: float, run: str = RUN) -> Path:
    write_run(project / "data", f"default/{name}", run)
    path = project / "data/08_reporting/default" / name / run / "metrics.json"
    path.parent.mkdir(parents=True)
    numbers = {"score": score, "localization_f1": 0.8, "damage_f1": 0.7, "n_scenes": 9}
    path.write_text(json.dumps(numbers | {"intervals": {"score": [score - 0.01, score + 0.01]}}))
    return path


def test_the_list_has_scores_and_begins_with_the_best(shipped: Path) -> None:
    for name, score in {"002": 0.61, "strong": 0.75}.items():
        write_score(shipped, name, score)
    lines = [line.split() for line in call("list", "--user", "default").output.splitlines()]
    assert [line[0] for line in lines] == ["localisation", "experiment", "default/strong", "default/seed_002", "2"]
    everything = [line.split()[0] for line in call("list", "--user", "default", "--all").output.splitlines()]
    assert everything[1:] == [
        "experiment",
        "default/strong",
        "default/seed_002",
        "default/laptop",
        "default/quickstart",
    ]
    assert lines[2][1:6] == ["0.750", "0.740–0.760", "0.800", "0.700", "9"]
    best, second, *unscored = json.loads(call("list", "--user", "default", "--all", "--json").stdout)
    assert (best["experiment"], best["score"], best["score_interval"]) == ("default/strong", 0.75, [0.74, 0.76])
    assert (second["experiment"], second["localization_f1"], second["n_scenes"]) == ("default/seed_002", 0.8, 9)
    assert [row["experiment"] for row in unscored] == ["default/laptop", "default/quickstart"]
    assert all(row.keys() == best.keys() and row["score"] is None for row in unscored)


def test_the_newest_finished_run_is_listed_and_each_on_request(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    newer, unfinished = "2026-02-01T00.00.00.000Z", "2026-03-01T00.00.00.000Z"
    for run, score in ((RUN, 0.75), (newer, 0.61)):
        write_score(shipped, "strong", score, run)
    write_run(shipped / "data", "default/strong", unfinished, finished=False)
    assert [line.split()[:2] for line in call("list", "--user", "default").output.splitlines()[2:3]] == [
        ["default/strong", "0.610"]
    ]
    rows = [line.split()[:2] for line in call("list", "--user", "default", "--runs").output.splitlines()[2:4]]
    assert rows == [[f"default/strong@{RUN}", "0.750"], [f"default/strong@{newer}", "0.610"]]


def test_a_terminal_of_80_columns_shows_every_cell_on_one_line(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write_score(shipped, "strong", 0.75)
    [row] = [line for line in call("list").output.splitlines() if "default/strong" in line]
    assert len(row.split()) == 7


def test_names_are_listed_and_created_for_an_unknown_environment(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEDRO_ENV", "default/mine")
    assert "default/strong" in call("list", "--user", "default", "--all").output
    call("new", "mine")
    assert (shipped / "conf/experiments/mine/parameters.yml").is_file()
    assert "default/mine" in call("list", "--user", "default", "--all").output


@pytest.mark.usefixtures("shipped")
def test_an_unknown_user_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Unknown user 'nobody'.*: default, example_slurm"):
        call("list", "--user", "nobody")


def test_a_long_name_is_not_truncated(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    name = "n" * 100
    call("new", name)
    write_score(shipped, name, 0.7)
    assert f"default/{name}" in call("list", "--user", "default").output
    monkeypatch.setenv("COLUMNS", "100")
    narrow = call("list", "--user", "default").output
    assert narrow.count("n") > 100
    assert "…" not in narrow


def assert_others_are_listed(reason: str) -> None:
    done = call("list", "--user", "default")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.output.splitlines()[1:3]] == ["experiment", "default/strong"]
    assert reason in done.output


@pytest.mark.parametrize("text", ['{"score": 0.6', "[]\udcff", '{"intervals": {}}', '{"intervals": {"score": 1}}', "1"])
def test_damaged_scores_do_not_end_the_list(shipped: Path, text: str) -> None:
    write_score(shipped, "strong", 0.75)
    path = write_score(shipped, "002", 0.61)
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert_others_are_listed(f"default/seed_002 is not shown: {path} holds no scores (")


def test_unreadable_scores_do_not_end_the_list(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_score(shipped, "strong", 0.75)
    closed, read = write_score(shipped, "002", 0.61), Path.read_text

    def refuse(path: Path, encoding: str) -> str:
        if path == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path, encoding=encoding)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert_others_are_listed(f"default/seed_002 is not shown: {closed}: permission denied. Correct the permissions")


def test_a_wrong_configuration_does_not_end_the_list(shipped: Path) -> None:
    write_score(shipped, "strong", 0.75)
    (shipped / "conf/experiments/seed_002/globals.yml").write_text("storrage: elsewhere")
    assert_others_are_listed("default/seed_002 is not shown: globals of default/seed_002: ")


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (RUN, f"quickstart/{RUN}/checkpoints/quickstart"),
        ("default/strong", "strong/2026-02-01T00.00.00.000Z/checkpoints/strong"),
        (f"default/strong@{RUN}", f"strong/{RUN}/checkpoints/strong"),
    ],
)
def test_a_model_is_named_by_its_run(shipped: Path, named: str, expected: str) -> None:
    bootstrap_project(shipped)
    for name, run in (("quickstart", RUN), ("strong", RUN), ("strong", "2026-02-01T00.00.00.000Z")):
        write_run(shipped / "data", f"default/{name}", run)
    path = _checkpoint_of(None, named)
    assert path == shipped / f"data/06_models/default/{expected}_best_siamese_unet_state.pth"
    assert path.is_file()
    with pytest.raises(ConfigError, match="default/quickstart has no run 'other'"):
        _checkpoint_of(None, "other")
