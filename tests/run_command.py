"""Runs commands of the project in forked processes, which need not import torch and pandas."""

from __future__ import annotations

import gc
import inspect
import multiprocessing
import os
import runpy
import sys
import tempfile
import traceback
from collections.abc import Mapping
from multiprocessing import forkserver
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest.mock import patch

# A server imports slow libraries once and forks for each command. On Windows, each command starts from scratch.
FORKS = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_FORKS: Any = multiprocessing.get_context(FORKS)
SERVER: Any = forkserver._forkserver  # type: ignore[attr-defined]
_WIDE = {"COLUMNS": "300"}
_ALWAYS = (
    "run_command",  # first, to collect less garbage while the others are imported
    "pytest",  # workers read the module of their function
    "torch",
    "geopandas",
    "pyarrow.parquet",
    "scipy.interpolate",
    "matplotlib.figure",
    "rasterio",
    "omegaconf",
    "rich",
    "kedro.framework.cli.cli",
    "kedro.framework.session",
    "xview2_siamese_unet.settings",
    "xview2_siamese_unet.pipeline_registry",
    "kedro_telemetry.plugin",
    "kedro_viz.integrations.kedro.hooks",
    "server_of_forks",
)
_TRAINING = (
    "lightning.pytorch.loggers.tensorboard",
    "segmentation_models_pytorch",
    "xview2_siamese_unet.adaptation.encoders",
    "xview2_siamese_unet.adaptation.next_labels",
    "xview2_siamese_unet.campaigns",
    "xview2_siamese_unet.training.data",
    "xview2_siamese_unet.training.trainer",
    *(
        f"xview2_siamese_unet.pipelines.{name}"
        for name in ("adaptation", "data_processing", "inference", "reporting", "validation")
    ),
)


def _stack(_context: int = 0) -> list[inspect.FrameInfo]:
    return [
        inspect.FrameInfo(frame, frame.f_code.co_filename, line, frame.f_code.co_name, None, None)
        for frame, line in traceback.walk_stack(sys._getframe(1))
    ]


# When Kedro reads the settings of a project, Dynaconf calls `inspect.stack`, which would search thousands of modules
# for the source of each of a hundred frames.
inspect.stack = _stack

# By default, Python collects garbage after 700 new objects. Imports and training create millions.
USUAL_THRESHOLD = gc.get_threshold()[0]
gc.set_threshold(20_000)


def preload(*, trains: bool) -> None:
    """Choose the modules that the server imports before its first fork: more of them if commands will train."""
    _FORKS.set_forkserver_preload([*_ALWAYS, *(_TRAINING if trains else ())])


def start_server() -> str | None:
    """Start the server unless it runs; return its address, or `None` on a system without fork servers."""
    if FORKS != "forkserver":
        return None
    # The server inherits the environment variables, but not `sys.path`.
    paths = [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    with patch.dict(os.environ, {**_WIDE, "PYTHONPATH": os.pathsep.join(paths)}):
        SERVER.ensure_running()
    return str(SERVER._forkserver_address)


def share_server(address: str | None) -> None:
    """Use a server that another process has started and will stop."""
    if address is not None:
        SERVER._forkserver_address, SERVER._forkserver_alive_fd = address, os.open(os.devnull, os.O_RDONLY)
        SERVER.ensure_running = lambda: None


def run_python(folder: Path, *args: str, timeout: float = 60, **env: str) -> CompletedProcess[str]:
    """Run `python -m <module> ...` or `python -c <program> ...` in a folder; `env` adds to the environment."""
    with tempfile.TemporaryDirectory() as streams:
        process = start_python(folder, *args, streams=streams, **env)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
        stdout, stderr = ((Path(streams) / name).read_text() for name in ("stdout", "stderr"))
    assert process.exitcode is not None, f"{args} did not end within {timeout} s: {stderr}"
    return CompletedProcess(args, process.exitcode, stdout, stderr)


def start_python(folder: Path, *args: str, streams: Path | str, **env: str) -> Any:  # noqa: ANN401  the class differs by system
    """Start what `run_python` runs; `stdout` and `stderr` are written to the folder `streams`."""
    process = _FORKS.Process(target=_run, args=(folder, args, {**os.environ, **_WIDE, **env}, streams))
    start_server()
    process.start()
    return process


def _run(folder: Path, args: tuple[str, ...], env: Mapping[str, str], streams: Path | str) -> None:
    gc.freeze()  # or a collection would scan everything that the server has imported
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(streams) / name, os.O_WRONLY | os.O_CREAT), descriptor)
    import kedro.framework.project  # noqa: PLC0415  not at the top, because most tests do without it

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    kedro.framework.project.LOGGING.__init__()  # Kedro read the folder and environment of the server on import
    sys.path.insert(0, "")
    option, what, *rest = args
    sys.argv = [option, *rest]
    if option == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(what, {"__name__": "__main__"})  # noqa: S102  as `python -c`
