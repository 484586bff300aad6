"""Hooks around a run: writing on rank 0, log lines and timings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner
from kedro_datasets.partitions import PartitionedDataset

from xview2_siamese_unet.hooks import QUIET, RankZeroWrites, RunEnding, Steps

Launch = Callable[[int, int], None]


def score() -> dict[str, Any]:
    return {"score": 0.71239, "constant_prediction_score": 0.0609, "localization_f1": 0.8, "damage_f1": 0.5}


def write(metrics: dict[str, Any]) -> str:
    return f"<p>{metrics['score']}</p>"


REPORTING = Pipeline([Node(score, None, "metrics", name="score"), Node(write, "metrics", "report", name="write")])


@pytest.fixture(autouse=True)
def kedro_levels() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in QUIET]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def conf_catalog(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        "metrics": {"type": "json.JSONDataset", "filepath": f"{folder}/metrics.json"},
        "report": {"type": "text.TextDataset", "filepath": f"{folder}/report.html"},
        "in_memory": {"type": "MemoryDataset"},
    }


def run(folder: Path, pipeline: Pipeline = REPORTING) -> DataCatalog:
    """Run as a session does, with our hooks."""
    hooks = _create_hook_manager()
    for hook in (RankZeroWrites(), Steps(), RunEnding()):
        hooks.register(hook)
    conf = conf_catalog(folder)
    catalog = DataCatalog.from_config(conf)
    catalog["parts"] = PartitionedDataset(path=str(folder / "parts"), dataset="text.TextDataset")
    shared: dict[str, Any] = {"run_params": {}, "pipeline": pipeline, "catalog": catalog}
    hooks.hook.after_catalog_created(
        catalog=catalog, conf_catalog=conf, conf_creds={}, parameters={}, save_version=None, load_versions=None
    )
    hooks.hook.before_pipeline_run(**shared)
    try:
        result = SequentialRunner().run(pipeline, catalog, hooks)
    except Exception as error:
        hooks.hook.on_pipeline_error(error=error, **shared)
        raise
    hooks.hook.after_pipeline_run(run_result=result, **shared)
    return catalog


@pytest.mark.parametrize("launched", [False, True])
def test_rank_zero_writes_and_prints_score_and_report(
    tmp_path: Path, launch: Launch, capsys: pytest.CaptureFixture[str], launched: bool
) -> None:
    if launched:
        launch(0, 1)
    run(tmp_path)
    assert (tmp_path / "metrics.json").is_file()
    score_line, report_line = capsys.readouterr().out.splitlines()[-2:]
    assert score_line == "Score: 0.712 (best constant prediction 0.061), localisation F1 0.800, damage F1 0.500"
    assert report_line == f"Report: {tmp_path}/report.html"


def test_each_step_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"):
        run(tmp_path)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("xview2")]
    assert ours == ["1 of 2: score", "2 of 2: write"]


def test_other_ranks_write_and_log_nothing(
    tmp_path: Path, launch: Launch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    launch(3, 4)
    with caplog.at_level(logging.INFO):
        catalog = run(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert isinstance(catalog["report"], MemoryDataset)
    assert not [record for record in caplog.records if record.name.startswith(("kedro", "xview2"))]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("variables", [("RANK", "WORLD_SIZE"), ("LOCAL_RANK",), ("SLURM_PROCID", "SLURM_NTASKS")])
def test_rank_variables_not_set_by_torchrun_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variables: tuple[str, ...]
) -> None:
    for name in variables:
        monkeypatch.setenv(name, "1" if name.endswith(("RANK", "PROCID")) else "2")
    run(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "report.html"}
    assert "Score: 0.712" in capsys.readouterr().out


def test_every_node_is_tagged_with_its_pipeline(registered: dict[str, Pipeline]) -> None:
    assert all(node.tags == {name} for name in registered if name != "__default__" for node in registered[name].nodes)


def slow_parts() -> Iterator[dict[str, str]]:
    for number in range(3):
        time.sleep(0.05)
        yield {f"part{number}": "text"}


def test_the_time_of_a_generator_runs_until_its_last_part_is_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    timed = Pipeline([Node(slow_parts, None, "parts", name="generate")], tags=["data_processing"])
    timed += Pipeline([Node(lambda parts: score(), "parts", "metrics", name="score")], tags=["reporting"])
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"):
        run(tmp_path, timed)
    took = dict(record.getMessage().split(" took ") for record in caplog.records if " took " in record.getMessage())
    seconds = {name: float(text.removesuffix(" s")) for name, text in took.items()}
    assert seconds["data_processing"] >= 0.1
    assert seconds["reporting"] < seconds["data_processing"]


def test_pipelines_that_end_before_a_failure_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(metrics: dict[str, Any]) -> None:
        raise RuntimeError("no")

    broken = Pipeline([Node(score, None, "metrics", name="score")], tags=["reporting"])
    broken += Pipeline([Node(fail, "metrics", "x", name="fail")], tags=["submission"])
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"), pytest.raises(RuntimeError, match="no"):
        run(tmp_path, broken)
    assert [record.getMessage() for record in caplog.records if " took " in record.getMessage()] == [
        "reporting took 0.0 s"
    ]


def test_a_run_without_score_and_report_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)
    capsys.readouterr()
    run(tmp_path, Pipeline([Node(write, "metrics", "text", name="write")]))
    output = capsys.readouterr().out
    assert "Score" not in output
    assert "Report" not in output
