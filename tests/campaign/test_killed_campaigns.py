"""A campaign on Dask writes the same bytes after its client, a worker and the scheduler are each killed five times."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_campaign import copy_plan, products
from run_command import run_python

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
    program = f"import runpy; runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"
    done = run_python(site, "-c", program, *VICTIMS, timeout=400, DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="5s")
    assert done.stdout.split() == EXPECTED.split(), done.stderr
    for folder in folders:
        assert products(folder) == products(calm), folder.name
    log = (site / "client.log").read_text()
    assert "connection to the Dask scheduler is lost" in log
    assert "Traceback" not in log
