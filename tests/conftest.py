"""Fixtures for all tests: the project folder, small configurations, Dask and torchrun."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

import quick_configuration  # noqa: F401  before the first configuration is opened
from run_command import FORKS, USUAL_THRESHOLD, preload, share_server, start_server
from shape_check import check_imports

if TYPE_CHECKING:
    from kedro.pipeline import Pipeline

# Before Kedro is imported: no test may send telemetry or depend on the environment of its caller.
os.environ["DO_NOT_TRACK"] = "1"
for variable in ("KEDRO_ENV", "KEDRO_LOGGING_CONFIG", "KEDRO_DISABLE_TELEMETRY", "TORCHELASTIC_RUN_ID"):
    os.environ.pop(variable, None)

# Before torch is imported. On two cores, two processes with two threads each are slower than with one thread each, and
# a training with two threads in a forked command took five times the CPU time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Local Dask workers are forks, too.
os.environ["DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD"] = FORKS

# Before the package is imported.
check_imports("xview2_siamese_unet")

# By default, SQLite waits for the disk after each step. Commands that tests start inherit this variable.
os.environ["OGR_SQLITE_SYNCHRONOUS"] = "OFF"

# No deadline, because the duration of an example depends on the machine. `.ci/run` runs all hundred examples.
settings.register_profile("thorough", deadline=None)
settings.register_profile("project", deadline=None, max_examples=25)
settings.load_profile("project")

WriteConf = Callable[[dict[str, str]], Path]
Launch = Callable[[int, int], None]

MINIMAL_CONF = {
    "base/parameters.yml": "dataset: {name: '${globals:dataset.name}'}",
    "base/catalog.yml": """
        _data: ${globals:storage}
        _dataset: ${runtime_params:dataset.name,${globals:dataset.name}}
        _run: ${globals:group}/${globals:experiment}
        scenes: {type: json.JSONDataset, filepath: '${_data}/02_intermediate/${_dataset}/scenes.json'}
        metrics: {type: json.JSONDataset, filepath: '${_data}/08_reporting/${_run}/metrics.json'}
        report: {type: text.TextDataset, filepath: '${_data}/08_reporting/${_run}/report.html'}
    """,
    "users/default/globals.yml": "",
    "experiments/quickstart/globals.yml": "",
}
"""Smallest configuration that resolves; tests add or replace files."""


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401  of xdist, which has no types
    """Start one fork server for all xdist workers, because importing torch takes seconds."""
    preload(trains=node.config.getoption("markexpr") != "not slow")
    node.workerinput["server"] = start_server()


def pytest_configure(config: pytest.Config) -> None:
    share_server(getattr(config, "workerinput", {}).get("server"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if os.name == "nt" and item.get_closest_marker("unix"):
        pytest.skip("needs fork, signals, pipes or a shell")


def pytest_collection_finish(session: pytest.Session) -> None:
    preload(trains=any(item.get_closest_marker("slow") for item in session.items))
    gc.freeze()  # or the collector would scan a million objects of libraries and test modules repeatedly
    atexit.register(gc.unfreeze)  # or nanobind reports the frozen objects as leaks on exit


@pytest.fixture
def usual_garbage_collection() -> Iterator[None]:
    """Collect garbage as often as outside of the tests, for tests of memory use."""
    few = gc.get_threshold()[0]
    gc.set_threshold(USUAL_THRESHOLD)
    yield
    gc.set_threshold(few)


@pytest.fixture(scope="session")
def project_path() -> Path:
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def scheduler() -> Iterator[str]:
    """The address of a Dask scheduler with one worker."""
    from distributed import LocalCluster  # noqa: PLC0415  slow to import

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def registered() -> dict[str, Pipeline]:
    """The pipelines of the project by name."""
    # Kedro is imported here, because most tests take milliseconds without it.
    from kedro.framework.project import configure_project  # noqa: PLC0415

    from xview2_siamese_unet.pipeline_registry import register_pipelines  # noqa: PLC0415

    configure_project("xview2_siamese_unet")
    return register_pipelines()


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Launch:
    """Set the environment variables of torchrun for one node: `launch(rank, world)`."""

    def as_torchrun(rank: int, world: int) -> None:
        variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        for name, value in {**variables, "TORCHELASTIC_RUN_ID": "here"}.items():
            monkeypatch.setenv(name, str(value))

    return as_torchrun


@pytest.fixture
def write_conf(tmp_path: Path) -> WriteConf:
    """Write `MINIMAL_CONF` and the given files (path → YAML) below `tmp_path/conf`, which is returned."""

    def write(files: dict[str, str]) -> Path:
        for name, text in (MINIMAL_CONF | files).items():
            path = tmp_path / "conf" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "conf"

    return write


@pytest.fixture
def write_project(tmp_path: Path, write_conf: WriteConf) -> WriteConf:
    """Write the files of `write_conf` into a Kedro project of this package in `tmp_path`, which is returned."""

    def write(files: dict[str, str]) -> Path:
        write_conf(files)
        (tmp_path / "src").mkdir()
        (tmp_path / "pyproject.toml").write_text(
            '[tool.kedro]\npackage_name = "xview2_siamese_unet"\nproject_name = "t"\nkedro_init_version = "1.7.0"\n'
        )
        shutil.copy(Path(__file__).parents[1] / ".telemetry", tmp_path)
        return tmp_path

    return write


@pytest.fixture
def shipped(write_project: WriteConf, project_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a copy of the shipped configuration, as the current folder."""
    folder = write_project({})
    shutil.rmtree(folder / "conf")
    shutil.copytree(project_path / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    monkeypatch.chdir(folder)
    return folder
