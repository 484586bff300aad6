"""What a run of the main job logs to MLflow, read back by MLflow's client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from closed_sockets import refused_sockets
from xview2_siamese_unet.runs import flatten

RunKedro = Callable[..., None]


@pytest.fixture
def offline() -> Iterator[None]:
    """Refuse every socket."""
    with refused_sockets():
        yield


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_without_mlflow_a_run_opens_no_socket_and_leaves_no_store(main_run: Path) -> None:
    """The main job ran with refused sockets."""
    assert len([*main_run.glob("08_reporting/default/quickstart/*/report.html")]) == 1
    assert not [path for path in main_run.parent.rglob("*") if path.name in ("mlruns", "mlflow.db", "tracked")]


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_a_store_holds_parameters_epochs_scores_report_and_model_of_a_run(main_run: Path, run_kedro: RunKedro) -> None:
    from mlflow import MlflowClient  # noqa: PLC0415  slow to import

    user = main_run.parent / "conf" / "users" / "grace"
    user.mkdir()
    (user / "globals.yml").write_text("group: default\nmlflow: tracked\n")  # reuses the finished run
    for pipelines in ((), ("reporting",)):
        run_kedro(*pipelines, env="grace/quickstart")
    client = MlflowClient(str(main_run.parent / "tracked"))
    experiment = client.get_experiment_by_name("default/quickstart")
    (run,) = client.search_runs([experiment.experiment_id])
    models, reporting = (
        main_run / layer / "default/quickstart" / run.info.run_name for layer in ("06_models", "08_reporting")
    )
    record: dict[str, Any] = json.loads((models / "run.json").read_text())
    assert run.info.status == "FINISHED"
    assert (run.data.tags["code"], run.data.tags["data"]) == (record["code"], record["data"])
    assert run.data.params == flatten(record["settings"])
    assert run.data.params["training.epochs"] == str(record["settings"]["training"]["epochs"])
    history = pd.read_csv(models / "logfiles/history.csv")
    for name in history.columns.drop("epoch"):
        kept = client.get_metric_history(run.info.run_id, name)
        assert [(each.step, each.value) for each in kept] == list(zip(history["epoch"], history[name], strict=True))
    metrics = json.loads((reporting / "metrics.json").read_text())
    for name in ("score", "localization_f1", "damage_f1", "damage_f1_destroyed", "n_scenes"):
        assert run.data.metrics[f"test/{name}"] == metrics[name]
    files = [
        models / "run.json",
        models / "logfiles/history.csv",
        reporting / "metrics.json",
        reporting / "report.html",
    ]
    files += models.glob("checkpoints/*.pth")
    logged = Path(run.info.artifact_uri.removeprefix("file://"))
    assert {path.name: digest(path) for path in logged.iterdir()} == {path.name: digest(path) for path in files}
