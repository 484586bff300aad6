from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from made_campaign import JOBS, write_campaign
from xview2_siamese_unet.campaign.jobs import make_task, run_task
from xview2_siamese_unet.campaign.plan_files import read_plan
from xview2_siamese_unet.cli.campaign import campaign
from xview2_siamese_unet.errors import DataError


def end(_pre: object, post: Path, out: Path, **_: object) -> None:
    """Stand in for an assessment: finish, but refuse one image."""
    if post.name == "post_b.tif":
        raise DataError("post_b.tif cannot be read.", hint="Copy it again.")
    out.mkdir(parents=True)
    (out / "run.json").write_text('{"run_id": "1", "products": {}}')


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign with two finished jobs, a failed one and a waiting one."""
    folder = write_campaign(tmp_path_factory.mktemp("begun"))
    for job in read_plan(folder):
        if job.name != JOBS[1]:
            run_task(end, make_task(job, folder, None, {}, ""))
    return folder


def status(*words: str) -> str:
    done = CliRunner().invoke(campaign, ["status", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_status_counts_and_names_what_failed(begun: Path) -> None:
    assert status(str(begun)).splitlines() == [
        "jobs 4, done 2, failed 1, waiting 1",
        f"{JOBS[3]}: post_b.tif cannot be read. Copy it again.",
    ]


def test_status_is_printed_as_json(begun: Path) -> None:
    assert json.loads(status(str(begun), "--json")) == {
        "jobs": 4,
        "done": 2,
        "failed": 1,
        "waiting": 1,
        "reasons": {JOBS[3]: "post_b.tif cannot be read. Copy it again."},
    }


def test_status_changes_nothing(begun: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in begun.rglob("*")}
    status(str(begun))
    assert before == {path: path.stat().st_mtime_ns for path in begun.rglob("*")}
