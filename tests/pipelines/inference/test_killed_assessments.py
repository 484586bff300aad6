"""An assessment that is killed ten times at random moments ends with the bytes of an undisturbed one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from run_command import run_python

# Each child runs the whole command. It is a fork, because imports take longer than the assessment.
CHILDREN = """
import os, random, signal, sys, time
from pathlib import Path
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path.cwd())
from xview2_siamese_unet.cli.assess import assess_command
import exactextract, segmentation_models_pytorch, torch._dynamo
from xview2_siamese_unet.inference import buildings, prediction
from xview2_siamese_unet.pipelines.inference import pages, pipeline

def child(out):
    pid = os.fork()
    if pid == 0:
        sys.stdout = sys.stderr
        assess_command([*sys.argv[1:], "--format", "geojson", "--out", out])
    return pid

def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

started = time.monotonic()
assert wait(child("undisturbed")) == 0
whole = time.monotonic() - started
print("undisturbed", round(whole, 1), "s")
moments = random.Random(0)
for turn in range(10):
    pid = child("killed")
    time.sleep(moments.uniform(0.1, 1.0) * whole)
    os.kill(pid, signal.SIGKILL)
    print(turn, wait(pid), sorted(os.listdir("killed")) if os.path.isdir("killed") else [])
print("last", wait(child("killed")))
"""


@pytest.mark.slow
def test_an_assessment_killed_ten_times_and_rerun_gives_the_same_bytes(material: Path, project: Path) -> None:
    given = [str(material / name) for name in ("pre.tif", "post.tif")]
    options = ["--model", str(material / "model.pth"), "--overwrite", "--device", "cpu"]
    done = run_python(project, "-c", CHILDREN, *given, *options, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count(" -9 ") >= 5, done.stdout  # killed before it was done
    assert "last 0" in done.stdout
    undisturbed, killed = (
        {path.name: path.read_bytes() for path in (project / run).iterdir()} for run in ("undisturbed", "killed")
    )
    records = [json.loads(each.pop("run.json")) for each in (undisturbed, killed)]
    assert undisturbed == killed
    for record in records:
        del record["seconds"], record["settings"]["inference"]["out"]
    assert records[0] == records[1]
