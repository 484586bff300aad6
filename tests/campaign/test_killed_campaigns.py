"""Client, worker and scheduler of a campaign on Dask are each killed at five moments: the bytes stay the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from made_campaign import copy_plan, products

PROGRAM = Path(__file__).parents[1] / "killed_campaigns.py"
VICTIMS = ("client", "worker", "scheduler")
EXPECTED = """
calm 0
client -9
client -9
client -9
client -9
client -9
again 0
worker 0
again 0
scheduler 1
scheduler 1
scheduler 1
scheduler 1
scheduler 0
again 0
"""
"""Exit status of each client. Dask gives the jobs of a dead worker to another one, and the last scheduler dies when
all jobs are done."""


@pytest.mark.slow
def test_fifteen_kills_leave_the_same_bytes(site: Path) -> None:
    calm, *folders = [copy_plan(site, name) for name in ("calm", *VICTIMS)]
    around = os.environ | {"OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s"}
    program = [sys.executable, str(PROGRAM), *VICTIMS]
    done = subprocess.run(program, cwd=site, env=around, capture_output=True, text=True, timeout=400, check=False)  # noqa: S603
    assert done.stdout.split() == EXPECTED.split(), done.stderr
    for folder in folders:
        assert products(folder) == products(calm), folder.name
    log = (site / "client.log").read_text()
    assert "connection to the Dask scheduler is lost" in log
    assert "Traceback" not in log
