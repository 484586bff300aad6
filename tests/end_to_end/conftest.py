"""One run of the main job on a small sample, shared by the tests that look at what it left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

PROJECT = Path(__file__).parents[2]

SMALL: dict[str, Any] = {
    "dataset": {"sample": {"size": 64, "scenes": {"tier1": 6, "tier3": 4, "hold": 3, "test": 4}}},
    "model": {"encoder": {"name": "resnet18"}, "decoder_channels": [16, 8, 8, 8, 8]},
    "training": {"epochs": 2, "batch_size": 4, "crop": 64, "crops_per_scene": 1},
    "reporting": {"panels": {"best": 1, "median": 1, "worst": 1, "side": 64}},
}
"""Seconds on one core; every branch of the main job is still taken."""

RunKedro = Callable[..., None]


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of this session write."""
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="session")
def conf_source(tmp_path_factory: pytest.TempPathFactory, storage: Path) -> Path:
    """The project's configuration with `SMALL` and the storage as somebody's last personal word."""
    conf = tmp_path_factory.mktemp("project") / "conf"
    shutil.copytree(PROJECT / "conf", conf)
    (conf / "local").mkdir(exist_ok=True)
    (conf / "local" / "globals.yml").write_text(yaml.safe_dump({"storage": str(storage)}))
    (conf / "local" / "parameters.yml").write_text(yaml.safe_dump(SMALL))
    return conf


@pytest.fixture(scope="session")
def run_kedro(conf_source: Path) -> RunKedro:
    """Run pipelines as `kedro run` does, in this process."""
    bootstrap_project(PROJECT)

    def run(*pipelines: str, env: str = "default/quickstart", **runtime_params: Any) -> None:  # noqa: ANN401
        with KedroSession.create(PROJECT, env=env, conf_source=conf_source, runtime_params=runtime_params) as session:
            session.run(pipeline_names=list(pipelines) or ["__default__"])

    return run


@pytest.fixture(scope="session")
def main_run(run_kedro: RunKedro, storage: Path) -> Path:
    """The storage after one run of the main job."""
    run_kedro()
    return storage


@pytest.fixture(scope="session")
def small_project(conf_source: Path, main_run: Path) -> Path:
    """A project folder with that configuration, for commands and notebooks that look for one."""
    project = conf_source.parent
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(PROJECT / name, project)
    (project / "src").mkdir()  # Kedro looks for it; the package itself is installed
    shutil.copytree(PROJECT / "notebooks", project / "notebooks")
    reports = main_run / "08_reporting" / "default"
    shutil.copytree(reports / "quickstart", reports / "strong")  # a second experiment to compare with
    return project
