"""Logging of runs to MLflow, without training."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
from kedro.framework.context import KedroContext
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet import tracking
from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.config.validation import validate
from xview2_siamese_unet.errors import ConfigError, cause_of
from xview2_siamese_unet.tracking import Tracking

Launch = Callable[[int, int], None]
SCORING = Pipeline([Node(lambda: {}, None, "metrics", name="score")])
TRAINING = Pipeline([Node(lambda: {}, None, "history", name="train")])
RECORD = {"id": "2026-01", "settings": {"training": {"epochs": 3}}, "code": "c", "data": None}
MLFLOW_IN_CI = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "PYTEST_CURRENT_TEST", "MLFLOW_DISABLE_TELEMETRY")
RECORD |= {"version": "1", "commit": "f00"}


def begin(folder: Path, uri: str | None, pipeline: Pipeline = SCORING) -> Tracking:
    named = {"mlflow": uri, "group": "lab", "experiment": "x"}
    hook = Tracking()
    loader = {"globals": named}
    hook.after_context_created(cast("KedroContext", SimpleNamespace(project_path=folder, config_loader=loader)))
    hook.before_pipeline_run(pipeline)
    return hook


def end(hook: Tracking, folder: Path, pipeline: Pipeline, **contents: Any) -> None:  # noqa: ANN401
    (folder / "run.json").write_text(json.dumps(RECORD))
    for name in contents:
        (folder / name).write_text(name)
    paths = {"run": folder / "run.json"} | {name: folder / name for name in contents}
    hook.after_catalog_created({name: {"filepath": str(path)} for name, path in paths.items()})
    hook.after_pipeline_run(
        pipeline, DataCatalog({name: MemoryDataset(value) for name, value in {"run": RECORD, **contents}.items()})
    )


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of modules that the hook has tried to import; all are missing."""
    names: list[str] = []

    def refuse(name: str) -> None:
        names.append(name)
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(tracking, "import_module", refuse)
    return names


def test_mlflow_is_neither_imported_nor_written_to_unless_it_is_named(tmp_path: Path, imports: list[str]) -> None:
    assert Globals(user="lab", experiment="x").mlflow is None
    end(begin(tmp_path, None), tmp_path, SCORING, metrics={})
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "metrics"}
    assert imports == []


def test_pipelines_without_results_open_no_store(tmp_path: Path, imports: list[str]) -> None:
    begin(tmp_path, "tracked", Pipeline([Node(lambda: {}, None, "store", name="pack")]))
    assert imports == []


def test_other_ranks_log_nothing(tmp_path: Path, imports: list[str], launch: Launch) -> None:
    launch(1, 2)
    end(begin(tmp_path, "tracked"), tmp_path, SCORING, metrics={})
    assert imports == []


def test_a_missing_package_is_one_sentence(tmp_path: Path, imports: list[str]) -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        begin(tmp_path, "tracked")
    assert str(cause_of(caught.value)) == (
        "The package mlflow is not installed. It is needed for mlflow in globals.yml. "
        "Install it: uv sync --extra mlflow, or pip install mlflow-skinny."
    )


@pytest.mark.parametrize("uri", ["https://ada:hush@host", "https://hush@host", "postgresql://host/db?password=hush"])
def test_an_address_with_a_password_is_refused_without_quoting_it(uri: str) -> None:
    with pytest.raises(ConfigError, match="without user, password and query") as caught:
        validate({"user": "lab", "experiment": "x", "mlflow": uri}, Globals, "globals of lab/x")
    assert "hush" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"


@pytest.mark.slow
@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "nonsense://host", "taken"])
def test_a_store_that_cannot_be_opened_stops_the_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "taken").touch()
    with pytest.raises(ConfigError, match=f"MLflow cannot open .*{uri}"):
        begin(tmp_path, uri)


@pytest.mark.slow
def test_a_store_that_fails_at_the_end_is_a_warning_and_the_next_session_logs_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = {"splits": {"test": 4}, "score": 0.25, "intervals": {"score": [0.1, 0.3]}}
    hook = begin(tmp_path, "tracked")
    (tmp_path / "tracked").rename(tmp_path / "gone")
    (tmp_path / "tracked").touch()
    end(hook, tmp_path, SCORING, metrics=metrics)
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert warning.startswith(
        f"Run 2026-01 is complete, but not all of it was logged to MLflow at {(tmp_path / 'tracked').as_uri()}: "
    )
    (tmp_path / "tracked").unlink()
    (tmp_path / "gone").rename(tmp_path / "tracked")
    end(begin(tmp_path, "tracked"), tmp_path, SCORING, metrics=metrics)
    (run,) = runs_of(tmp_path / "tracked")
    assert run.data.metrics == {"test/score": 0.25}


@pytest.mark.slow
def test_a_run_that_is_logged_in_parts_is_one_run_and_has_each_epoch_once(tmp_path: Path) -> None:
    history = pd.DataFrame({"epoch": [0, 1], "train_loss": [0.5, 0.25], "share_data": [float("nan"), 0.75]})
    for epochs in (history[:1], history, history):
        end(begin(tmp_path, "tracked", TRAINING), tmp_path, TRAINING, history=epochs)
    end(begin(tmp_path, "tracked"), tmp_path, SCORING, metrics={"splits": {"test": 4}, "score": 0.5})
    (run,) = runs_of(tmp_path / "tracked")
    assert (run.info.run_name, run.info.status) == ("2026-01", "FINISHED")
    assert run.data.params == {"training.epochs": "3"}
    assert {key: run.data.tags[key] for key in ("code", "data", "version", "commit")} == {
        **{"code": "c", "data": "None", "version": "1", "commit": "f00"}
    }
    client = client_of(tmp_path / "tracked")
    kept = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    assert {name: [(each.step, each.value) for each in values] for name, values in kept.items()} == {
        "train_loss": [(0, 0.5), (1, 0.25)],
        "share_data": [(1, 0.75)],
        "test/score": [(0, 0.5)],
    }
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"run.json", "history", "metrics"}


OPENED = """
import sys, threading
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if event in {"socket.connect", "socket.getaddrinfo"} else None)
from xview2_siamese_unet.tracking import Store
store = Store(sys.argv[1], "lab/x")
record = {"id": "2026-01", "settings": {"a": 1}, "code": "c", "data": None, "version": "1", "commit": "f00"}
store.log({"run": record}, [])
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(2)
print(opened)
"""


@pytest.mark.slow
def test_mlflow_sends_no_telemetry(tmp_path: Path) -> None:
    # MLflow sends none in tests and CI, whose variables are removed here, and does not heed DO_NOT_TRACK=1.
    env = {name: value for name, value in os.environ.items() if name not in MLFLOW_IN_CI} | {"DO_NOT_TRACK": "1"}
    command = [sys.executable, "-c", OPENED, str(tmp_path / "tracked")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603
    assert done.stdout.splitlines() == ["[]"]


def client_of(folder: Path) -> Any:  # noqa: ANN401
    from mlflow import MlflowClient  # noqa: PLC0415  slow to import

    return MlflowClient(str(folder))


def runs_of(folder: Path) -> list[Any]:
    client = client_of(folder)
    return list(client.search_runs([client.get_experiment_by_name("lab/x").experiment_id]))
