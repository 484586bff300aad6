from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from made_catalogue import Made
from xview2_siamese_unet.campaign.plan_files import read_plan
from xview2_siamese_unet.cli.campaign import campaign
from xview2_siamese_unet.errors import ConfigError


def type_plan(*words: str) -> Result:
    return CliRunner().invoke(campaign, ["plan", *words], catch_exceptions=True)


@pytest.fixture(scope="module")
def planned(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("planned") / "campaign"
    done = type_plan(str(made.top.parent), "--out", str(out))
    assert done.exit_code == 0, done.output
    assert re.match(r"jobs: \d+, tiles: \d+; look at .*plan.html, edit plan.csv", done.output)
    return out


def test_the_command_writes_a_plan_and_nothing_else(planned: Path) -> None:
    assert {path.name for path in planned.iterdir()} == {"plan.csv", "plan.geojson", "images.geojson", "plan.html"}
    assert len(read_plan(planned)) > 10


def test_the_same_catalogue_makes_the_same_bytes(made: Made, planned: Path, tmp_path: Path) -> None:
    type_plan(str(made.top), "--out", str(tmp_path / "again"))
    for path in planned.iterdir():
        text = (tmp_path / "again" / path.name).read_text().replace("Plan for collection.json", "Plan for ")
        assert text == path.read_text().replace(f"Plan for {made.top.parent.name}", "Plan for ")


def test_a_plan_is_not_replaced(made: Made, planned: Path) -> None:
    before = (planned / "plan.csv").read_bytes()
    done = type_plan(str(made.top), "--out", str(planned))
    assert isinstance(done.exception, ConfigError)
    assert (planned / "plan.csv").read_bytes() == before


def test_the_date_of_an_option_comes_before_that_of_the_catalogue(made: Made, tmp_path: Path) -> None:
    done = type_plan(str(made.top), "--out", str(tmp_path / "out"), "--event-date", "2022-01-01")
    assert "no usable acquisition before the event of 2022-01-01" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_out_is_needed(made: Made) -> None:
    assert type_plan(str(made.top)).exit_code == click.UsageError.exit_code


def test_the_page_makes_no_request(planned: Path) -> None:
    page = (planned / "plan.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<[^>]*(?:src|href)=|url\(|@import|https?://", page)
    assert str(planned.parent) not in page
    assert page.count('class="job"') == len(read_plan(planned))
