"""Time of `kedro run --help`, against an empty Kedro project with the same packages, and of the help of `xview2`.

    uv run python benchmarks/bench_startup.py [RUNS]

The two alternate, so that other load slows both. Target: a ratio of at most 1.3. `kedro registry list`, which imports
every pipeline in any Kedro project, is measured too. For `xview2`, processor time is measured, which depends less on
other load.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[1]
KEDRO = ("-m", "kedro")
XVIEW2 = ("-c", "from xview2_siamese_unet.standalone import main; main()")
EMPTY = {
    "pyproject.toml": '[tool.kedro]\npackage_name = "empty"\nproject_name = "empty"\nkedro_init_version = "1.7.0"\n',
    ".telemetry": "consent: false\n",
    "conf/base/parameters.yml": "",
    "src/empty/__init__.py": "",
    "src/empty/settings.py": "",
    "src/empty/pipelines/__init__.py": "",
    "src/empty/pipeline_registry.py": (
        "from kedro.framework.project import find_pipelines\n\n\n"
        "def register_pipelines():\n    return find_pipelines(raise_errors=True)\n"
    ),
}


def make_empty_project(folder: Path) -> None:
    for name, text in EMPTY.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def seconds(folder: Path, *command: str) -> float:
    environment = os.environ | {"DO_NOT_TRACK": "1"}
    started = time.perf_counter()
    subprocess.run(  # noqa: S603
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, check=True
    )
    return time.perf_counter() - started


def processor_seconds(folder: Path, *command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds(folder, *command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder)
        make_empty_project(empty)
        for command, target in ((("run", "--help"), "  (target: at most 1.3)"), (("registry", "list"), "")):
            run = *KEDRO, *command
            # The median leaves out the first, which compiles bytecode.
            pairs = [(seconds(empty, *run), seconds(HERE, *run)) for _ in range(runs)]
            there, here = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"kedro {' '.join(command)}, median of {runs} alternating runs")
            print(f"  empty project  {there:.2f} s")
            print(f"  this project   {here:.2f} s")
            print(f"  ratio          {here / there:.2f}{target}")
        for command in (("--help",), ("assess", "--help")):
            used = statistics.median(processor_seconds(empty, *XVIEW2, *command) for _ in range(runs))
            print(f"xview2 {' '.join(command)}, median of {runs} runs")
            print(f"  processor time {used:.2f} s  (target: below 1 s)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
