"""Commands of the project, each in a new process that does not have to import torch and pandas first."""

from __future__ import annotations

import gc
import inspect
import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

# A server that has imported what takes seconds forks for each command; Windows starts each from scratch.
FORKS = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_FORKS: Any = multiprocessing.get_context(FORKS)
_ALWAYS = (
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
    "warm_configuration",
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

# When Kedro reads the settings of a project, Dynaconf asks for the stack: with lines of code, that searches thousands
# of modules for each of a hundred frames.
inspect.stack = lambda _context=0, stack=inspect.stack: stack(0)  # type: ignore[assignment]


def preload(*, trains: bool) -> None:
    """Choose what the server imports before it forks the first process: more of it where commands will train."""
    _FORKS.set_forkserver_preload([*_ALWAYS, *(_TRAINING if trains else ())])


def run_python(folder: Path, *args: str, timeout: float = 60, **env: str) -> CompletedProcess[str]:
    """Run `python -m <module> ...` or `python -c <program> ...` in a folder; `env` adds to the environment."""
    with tempfile.TemporaryDirectory() as streams:
        around = {**os.environ, "COLUMNS": "300", **env}
        process = _FORKS.Process(target=_run, args=(folder, args, around, streams))
        with _importable():
            process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
        stdout, stderr = ((Path(streams) / name).read_text() for name in ("stdout", "stderr"))
    assert process.exitcode is not None, f"{args} has not ended after {timeout} s: {stderr}"
    return CompletedProcess(args, process.exitcode, stdout, stderr)


@contextmanager
def _importable() -> Iterator[None]:
    """Let the server, which the first process starts, import modules beside this one: it ignores `sys.path`."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([] if before is None else [before])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _run(folder: Path, args: tuple[str, ...], env: Mapping[str, str], streams: str) -> None:
    gc.freeze()  # a collection would go through all that the server has imported
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(streams) / name, os.O_WRONLY | os.O_CREAT), descriptor)
    import kedro.framework.project  # noqa: PLC0415  not in the process of the tests: most do without it

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    kedro.framework.project.LOGGING.__init__()  # on import, Kedro read folder and environment of the server
    sys.path.insert(0, "")
    option, what, *rest = args
    sys.argv = [option, *rest]
    if option == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(what, {"__name__": "__main__"})  # noqa: S102  as `python -c`
