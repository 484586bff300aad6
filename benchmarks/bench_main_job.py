"""The main job on the built-in sample: time, memory and score for several seeds.

    uv run python benchmarks/bench_main_job.py [SEED ...]      default: 0 1 2

Each seed runs in an empty folder. The score is that of the test split, next to the best constant prediction. Targets: 4
minutes, 4 GB, a score 0.30 above the constant prediction, localisation F1 of 0.70.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

HERE = Path(__file__).parents[1]


def main(seeds: list[str]) -> None:
    """Run each seed and print a line."""
    print("seed   seconds   peak GB   score   localisation F1   damage F1")
    for seed in seeds:
        with tempfile.TemporaryDirectory() as temporary:
            project = Path(temporary)
            for name in ("conf", "src"):
                shutil.copytree(HERE / name, project / name, ignore=shutil.ignore_patterns("local"))
            for name in ("pyproject.toml", ".telemetry"):
                shutil.copy(HERE / name, project)
            seconds, peak = run(project, seed)
            metrics = json.loads(next(project.glob("data/08_reporting/*/*/*/metrics.json")).read_text())
        print(
            f"{seed:<6} {seconds:>7.0f}   {peak / 1e9:>7.1f}   {metrics['score']:.3f}   "
            f"{metrics['localization_f1']:>15.3f}   {metrics['damage_f1']:>9.3f}",
            flush=True,
        )
    print(f"best constant prediction: {metrics['constant_prediction']}, {metrics['constant_prediction_score']:.3f}")


def run(project: Path, seed: str) -> tuple[float, int]:
    """Return seconds and the largest resident memory of the process and its children at one time."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "kedro", "run", "--params", f"training.seed={seed}"]
    environment = {name: value for name, value in os.environ.items() if name != "KEDRO_ENV"}
    done = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, env=environment)  # noqa: S603
    peaks = [0]
    watcher = threading.Thread(target=watch, args=(psutil.Process(done.pid), peaks), daemon=True)
    watcher.start()
    if done.wait():
        sys.exit("kedro run failed")
    return time.perf_counter() - started, peaks[0]


def watch(process: psutil.Process, peaks: list[int]) -> None:
    """Record the largest memory until the process ends."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        try:
            family = [process, *process.children(recursive=True)]
            peaks[0] = max(peaks[0], sum(member.memory_info().rss for member in family))
        except psutil.NoSuchProcess:  # a process ended in between
            continue
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1:] or ["0", "1", "2"])
