from __future__ import annotations

import json
import re
import time
from pathlib import Path
from threading import Event, Thread

import click
import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from made_catalogue import Made
from xview2_siamese_unet import campaigns
from xview2_siamese_unet.campaign.plan_files import read_plan
from xview2_siamese_unet.campaigns import Settings, assess_on_one_thread, require_free_paths, run_jobs
from xview2_siamese_unet.cli.campaign import campaign
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.errors import ConfigError, InUseError, StorageError


def run_plan(*words: str) -> Result:
    return CliRunner().invoke(campaign, ["plan", *words], catch_exceptions=True)


@pytest.fixture(scope="module")
def planned(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("planned") / "campaign"
    done = run_plan(str(made.top.parent), "--out", str(out))
    assert done.exit_code == 0, done.output
    assert re.match(r"jobs: \d+, tiles: \d+; see .*plan.html, edit plan.csv", done.output)
    return out


def test_the_command_writes_a_plan_and_nothing_else(planned: Path) -> None:
    assert {path.name for path in planned.iterdir()} == {"plan.csv", "plan.geojson", "images.geojson", "plan.html"}
    assert len(read_plan(planned)) > 10


def test_the_same_catalogue_makes_the_same_bytes(made: Made, planned: Path, tmp_path: Path) -> None:
    numbers = json.loads(run_plan(str(made.top), "--out", str(tmp_path / "again"), "--json").stdout)
    assert numbers["jobs"] == len(read_plan(planned))
    assert Path(numbers["page"]).is_file()
    for path in planned.iterdir():
        text = (tmp_path / "again" / path.name).read_text().replace("Plan for collection.json", "Plan for ")
        assert text == path.read_text().replace(f"Plan for {made.top.parent.name}", "Plan for ")


def test_a_plan_is_not_replaced(made: Made, planned: Path) -> None:
    before = (planned / "plan.csv").read_bytes()
    done = run_plan(str(made.top), "--out", str(planned))
    assert isinstance(done.exception, ConfigError)
    assert (planned / "plan.csv").read_bytes() == before


def test_the_event_date_option_overrides_the_catalogue(made: Made, tmp_path: Path) -> None:
    done = run_plan(str(made.top), "--out", str(tmp_path / "out"), "--event-date", "2022-01-01")
    assert "no usable acquisition before the event of 2022-01-01" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_out_is_required(made: Made) -> None:
    assert run_plan(str(made.top)).exit_code == click.UsageError.exit_code


def test_the_page_makes_no_request(planned: Path) -> None:
    page = (planned / "plan.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<[^>]*(?:src|href)=|url\(|@import|https?://", page)
    assert str(planned.parent) not in page
    assert page.count('class="job"') == len(read_plan(planned))


def test_the_table_replaces_only_a_table_of_a_campaign(tmp_path: Path) -> None:
    (tmp_path / "buildings.gpkg").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"buildings.gpkg would be replaced"):
        require_free_paths(tmp_path, None)
    (tmp_path / "scenes").mkdir()  # of an earlier run, whose table it is
    require_free_paths(tmp_path, tmp_path / "houses.gpkg")
    with pytest.raises(ConfigError, match=r"buildings.gpkg would be replaced"):
        require_free_paths(tmp_path, Path(f"{tmp_path / 'buildings.gpkg'}|layername=houses"))


def test_a_collection_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    (tmp_path / "collection.json").write_text('{"type": "Collection", "id": "vendor"}')
    with pytest.raises(ConfigError, match=r"collection.json would be replaced"):
        require_free_paths(tmp_path, None)
    (tmp_path / "collection.json").write_text('{"type": "Collection", "id": "xview2-siamese-unet-0123"}')
    require_free_paths(tmp_path, None)


def test_mosaics_of_the_user_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mosaics").mkdir()
    with pytest.raises(ConfigError, match=r"mosaics would be replaced"):
        require_free_paths(tmp_path, None)


def test_a_second_run_at_the_same_time_is_refused(planned: Path) -> None:
    settings = Settings({}, InferenceParams(), "", ExecutorParams())
    before = sorted(planned.rglob("*"))
    with FileLock(planned / ".campaign.lock"), pytest.raises(StorageError, match="Another process is running"):
        run_jobs(planned, settings)
    (planned / ".campaign.lock").unlink(missing_ok=True)
    assert sorted(planned.rglob("*")) == before


def test_an_assessment_waits_for_a_worker_of_an_earlier_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Event()
    monkeypatch.setattr(campaigns, "assess", lambda *_: begun.set())
    with FileLock(tmp_path / ".assessment.lock"):
        other = Thread(target=assess_on_one_thread, args=("pre.tif", Path("post.tif"), tmp_path))
        other.start()
        assert not begun.wait(0.5)
    other.join(10)
    assert begun.is_set()


def test_an_assessment_waits_for_a_worker_that_begins_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended, calls = Event(), Event(), []

    def other() -> None:
        with FileLock(tmp_path / ".assessment.lock"):
            begun.set()
            time.sleep(0.3)
            ended.set()

    def assess(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            Thread(target=other).start()
            begun.wait(10)
            raise InUseError("Another assessment is writing to it.")
        assert ended.is_set()

    monkeypatch.setattr(campaigns, "assess", assess)
    assess_on_one_thread("pre.tif", Path("post.tif"), tmp_path)
    assert len(calls) == 2
