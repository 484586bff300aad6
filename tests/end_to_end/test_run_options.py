"""Options of `kedro run` on the command line work or are refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess

import pytest

from run_command import run_python

pytestmark = pytest.mark.slow


def metrics(storage: Path) -> Path:
    """Return the file of scores of the only run."""
    (path,) = (storage / "08_reporting/default/quickstart").glob("*/metrics.json")
    return path


def kedro(project: Path, *options: str, module: str = "kedro") -> CompletedProcess[str]:
    return run_python(project, "-m", module, *(["run"] if module == "kedro" else []), *options)


def files(storage: Path) -> dict[Path, int]:
    kept = (path for path in storage.rglob("*") if path.is_file() and ".locks" not in path.parts)
    return {path: path.stat().st_mtime_ns for path in kept}


def test_a_second_run_reuses_what_is_valid_and_gives_the_same_score(project: Path, main_run: Path) -> None:
    before = metrics(main_run).read_bytes()
    done = kedro(project)
    assert done.returncode == 0, done.stderr
    assert "epoch 0:" not in done.stderr
    assert metrics(main_run).read_bytes() == before


def test_only_missing_outputs_runs_only_what_is_missing(project: Path, main_run: Path) -> None:
    score = metrics(main_run)
    before = score.read_bytes()
    score.unlink()
    done = kedro(project, "--only-missing-outputs", "--pipelines", "reporting")
    assert done.returncode == 0, done.stderr
    assert "count_confusion" not in done.stderr
    assert score.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "nodes"),
    [
        (
            ["--from-nodes", "score"],
            {"score", "plot_confusion", "plot_panels", "plot_scored_classes", "write_report"},
        ),
        (["--tags", "feature_statistics"], {"count_classes", "weigh_samples", "plot_balance"}),
        (
            ["--pipelines", "feature_statistics", "--runner", "ThreadRunner"],
            {"count_classes", "measure_channels"},
        ),
    ],
)
def test_a_part_of_the_pipelines_is_run(project: Path, main_run: Path, options: list[str], nodes: set[str]) -> None:
    assert main_run.is_dir()
    done = kedro(project, *options)
    assert done.returncode == 0, done.stderr
    started = {line.split(": ")[1].strip() for line in done.stderr.splitlines() if " of " in line and ": " in line}
    assert nodes <= started
    assert "train" not in started


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--from-nodes", "trainn"], "Pipeline does not contain nodes named ['trainn']"),
        (["--pipelines", "modeling"], "Did you mean one of these instead? modelling"),
        (["--runner", "Nope"], "Nope"),
        (["--async"], "--async does not work with generator nodes"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_writes_nothing(
    project: Path, storage: Path, options: list[str], sentence: str
) -> None:
    before = files(storage)
    done = kedro(project, *options)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert sentence in done.stderr.splitlines()[-1]  # a line before it may name the run
    assert files(storage) == before


def test_a_run_without_its_inputs_names_the_pipeline_that_makes_them(project: Path) -> None:
    (project / "conf/users/eve").mkdir(exist_ok=True)
    (project / "conf/users/eve/globals.yml").write_text("storage: nothing")
    done = kedro(project, "--env", "eve/quickstart", "--pipelines", "reporting", "--quiet")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "history.csv does not exist. Run kedro run --pipelines modelling first, or together with this."
    )
    assert "Traceback" not in done.stderr


def test_the_package_runs_as_a_command(project: Path, main_run: Path) -> None:
    conf = ["--conf-source", str(project / "conf")]
    done = kedro(project, *conf, "--pipelines", "feature_statistics", module="xview2_siamese_unet")
    assert done.returncode == 0, done.stderr
    assert list((main_run / "04_feature/default/quickstart").glob("*/class_histogram.svg"))
    done = kedro(project, *conf, "--from-nodes", "trainn", module="xview2_siamese_unet")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Pipeline does not contain nodes named ['trainn']."
