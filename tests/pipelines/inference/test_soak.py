"""Memory and open files do not grow over many assessments in one process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy.stats import theilslopes

from run_command import run_python

RUNS = 32
WARM = 14
"""Runs until caches are filled."""
ALLOWANCE = 0.2
"""MiB per run. A leaked net or page is larger."""
PROGRAM = """
import ctypes, gc, json, psutil, sys
from pathlib import Path
from kedro.framework.startup import bootstrap_project
# One memory arena (M_ARENA_MAX), trimmed after each run; otherwise the memory that is released varies randomly.
libc = ctypes.CDLL(None)
assert libc.mallopt(-8, 1)
bootstrap_project(Path.cwd())
from xview2_siamese_unet.assessment import assess
process, numbers = psutil.Process(), []
for _ in range(int(sys.argv[1])):
    assess("pre.tif", "post.tif", "out", model=sys.argv[2], overwrite=True, device="cpu")
    gc.collect()
    libc.malloc_trim(0)
    numbers.append((process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()))
print(json.dumps(numbers))
"""


@pytest.mark.slow
def test_memory_and_open_files_do_not_grow(material: Path, project: Path) -> None:
    georeference = {"crs": "EPSG:32615", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)}
    for seed, name in enumerate(("pre", "post")):
        image = np.random.default_rng(seed).integers(1, 255, (3, 64, 64), np.uint8)
        with rasterio.open(project / f"{name}.tif", "w", "GTiff", 64, 64, 3, dtype="uint8", **georeference) as target:
            target.write(image)
    done = run_python(project, "-c", PROGRAM, str(RUNS), str(material / "model.pth"), timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    memory, files, threads = zip(*json.loads(done.stdout.splitlines()[-1])[WARM:], strict=True)
    third = len(memory) // 3
    growth = theilslopes(memory).slope  # the median over all pairs of runs: a cache may grow once
    print(f"{memory[-1]:.0f} MiB, {growth:+.2f} MiB a run; {files[-1]} files, {threads[-1]} threads")  # noqa: T201  -s shows it
    assert growth < ALLOWANCE
    assert max(files[-third:]) <= max(files[:third])
    assert max(threads[-third:]) <= max(threads[:third])
