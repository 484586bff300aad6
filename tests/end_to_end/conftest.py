"""One run of the main job on a small sample, shared by the tests of its outputs."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from kedro.framework.startup import bootstrap_project

from closed_sockets import refused_sockets
from shipped_project import SMALL
from xview2_siamese_unet.runs import ProjectSession

PROJECT = Path(__file__).parents[2]

TWO_EPOCHS = SMALL | {"training": SMALL["training"] | {"epochs": 2}}

RunKedro = Callable[..., None]


@pytest.fixture(scope="session")
def storage(project: Path) -> Path:
    """The folder that the runs of this session write to; the shipped configuration names a relative one."""
    return project / "data"


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with the shipped configuration and `TWO_EPOCHS` as personal overrides."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "conf", project / "conf", ignore=shutil.ignore_patterns("local"))
    shutil.copytree(PROJECT / "notebooks", project / "notebooks")
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(PROJECT / name, project)
    (project / "src").mkdir()  # Kedro looks for it; the package itself is installed
    (project / "conf" / "local").mkdir()
    (project / "conf" / "local" / "parameters.yml").write_text(yaml.safe_dump(TWO_EPOCHS))
    return project


@pytest.fixture(scope="session")
def new_user(project: Path, run_kedro: RunKedro, main_run: Path) -> str:
    """The environment of a new user who has run the main job on the existing dataset."""
    user = project / "conf" / "users" / "ada"
    user.mkdir()
    (user / "globals.yml").touch()
    run_kedro(env="ada/quickstart")
    return "ada/quickstart"


@pytest.fixture(scope="session")
def run_kedro(project: Path) -> RunKedro:
    """Run pipelines as `kedro run` does below the project's folder, in this process."""
    bootstrap_project(project)

    def run(*pipelines: str, env: str = "default/quickstart", **runtime_params: Any) -> None:  # noqa: ANN401
        with (
            contextlib.chdir(project / "notebooks"),
            ProjectSession.create(project, env=env, runtime_params=runtime_params) as session,
        ):
            session.run(pipeline_names=list(pipelines) or ["__default__"])

    return run


@pytest.fixture(scope="session")
def main_run(
    run_kedro: RunKedro, storage: Path, tmp_path_factory: pytest.TempPathFactory, testrun_uid: str, worker_id: str
) -> Path:
    """The storage after one run of the main job with all sockets refused; other test processes copy it."""
    shared = tmp_path_factory.getbasetemp().parent / f"main_run_{testrun_uid}"
    with FileLock(f"{shared}.lock"):
        if shared.is_dir():
            shutil.copytree(shared, storage)
            return storage
        with refused_sockets():
            run_kedro()
        if worker_id != "master":
            shutil.copytree(storage, shared)
    return storage


@pytest.fixture(scope="session")
def small_project(project: Path, main_run: Path) -> Path:
    """The project after the run, for commands and notebooks that need one."""
    for layer in ("06_models", "08_reporting"):  # a second experiment to compare with
        shutil.copytree(main_run / layer / "default/quickstart", main_run / layer / "default/strong")
    return project
