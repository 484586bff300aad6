"""The page on campaigns: its commands run without a network, and its text matches the code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely
import torch
from docs_blocks import DOCS, Block, blocks, first_column
from typed import NO_NETWORK, commands, do, filled_in, free_port, lay_down_project, run, type_line

from made_catalogue import write_catalogue
from small_nets import small_checkpoint
from xview2_siamese_unet.campaign.catalogue import read_catalogue
from xview2_siamese_unet.campaign.plan import make_plan
from xview2_siamese_unet.campaign.plan_files import plan_row, read_plan
from xview2_siamese_unet.campaign.selection import RULES
from xview2_siamese_unet.inference.products import read_record
from xview2_siamese_unet.inference.summary import Tally, sentence, summary_numbers

PAGE = DOCS / "campaigns.md"


CLUSTER = "### On a cluster"
SBATCH = """#!/bin/bash
# Runs a job at once, as Slurm does on idle nodes: a command to its end, the script of a worker in the background.
set -eu
while [ $# -gt 1 ]; do
  case $1 in
    --job-name | --dependency | --cpus-per-task | --mem | --time) shift 2 ;;
    --wrap) exec bash -c "$2" ;;
    *) exit 2 ;;
  esac
done
setsid bash -c "$(cat "$1")" > worker.log 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
kill -- "-$1"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page assumes: images, footprints and a model."""
    folder = tmp_path_factory.mktemp("reader")
    data = folder / "path/to"
    made = write_catalogue(data / "catalogue", count=2, side=400)
    footprints = [shapely.affinity.scale(each["outlines"][0], 0.05, 0.05) for each in made.acquisitions]
    gpd.GeoDataFrame({"id": [each["id"] for each in made.acquisitions]}, geometry=footprints, crs=4326).to_file(
        data / "buildings.gpkg", engine="pyogrio"
    )
    gpd.GeoDataFrame({"name": ["all"]}, geometry=[shapely.box(35, 36, 37, 38)], crs=4326).to_file(
        data / "districts.gpkg", engine="pyogrio"
    )
    torch.save(small_checkpoint(), data / "model.pth")
    (data / "scenes").mkdir()
    for name, day in (("pre000", "2023-01-01"), ("post000", "2023-02-08")):
        shutil.copy(data / f"catalogue/ard/1040010{name}/0-visual.tif", data / f"scenes/{day}.tif")
    (data / "pairs.csv").write_text("pre,post\nscenes/2023-01-01.tif,scenes/2023-02-08.tif\n")
    lay_down_project(folder)
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    return folder


def parts_of_page() -> tuple[list[Block], list[Block]]:
    """Return the blocks outside and inside of the section on clusters."""
    before, section = PAGE.read_text().split(CLUSTER)
    first = before.count("\n")
    last = first + section.split("\n## ")[0].count("\n")
    inside = [block for block in blocks(PAGE) if first < int(block.place.split(":")[1]) < last]
    return [block for block in blocks(PAGE) if block not in inside], inside


@pytest.mark.slow
def test_every_command_does_what_the_page_says(folder: Path) -> None:
    data = folder / "path/to"
    for block in parts_of_page()[0]:
        do(block, folder)
    for name in ("campaign", "scenes_campaign", "pairs_campaign", "history"):
        assert len(read_plan(data / name)) >= 1
    table = gpd.read_parquet(data / "campaign/buildings.parquet")
    assert {*first_column(PAGE, "### Columns of the table")} <= {*table.columns}
    assert first_column(PAGE, "### The history") == [*pd.read_parquet(data / "campaign/history.parquet").columns]
    (counts,) = json.loads((data / "campaign/summary.json").read_text())["zones"][:-1]
    assert (counts["name"], counts["buildings"]) == ("all", len(table))
    overview = (data / "campaign/overview.html").read_text(encoding="utf-8")
    statement = re.search(r"<strong>(Of (\d+) building[^<]*\.)</strong>", overview)
    assert statement is not None
    assert int(statement[2]) == len(table)
    assert statement[1] == sentence(json.loads((data / "campaign/summary.json").read_text(encoding="utf-8")))
    assert 'class="cell"' in overview


@pytest.mark.slow
def test_each_way_to_run_on_a_cluster_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker each and a plan of one job: most of the time is spent on starting and importing."""
    campaign = folder / "path/to/campaign"
    shutil.rmtree(campaign, ignore_errors=True)
    type_line(filled_in("kedro campaign plan /path/to/catalogue --out /path/to/campaign", folder), folder / "xview2")
    header, first, *_ = (campaign / "plan.csv").read_text().splitlines()
    (campaign / "plan.csv").write_text(f"{header}\n{first}\n")
    planned = {*campaign.iterdir()}
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("DASK_CONFIG", str(folder / "dask"))
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    port, started = str(free_port()), []
    try:
        for block in parts_of_page()[1]:
            smaller = block._replace(
                text=re.sub(r"workers([: ]+)[24]", r"workers\g<1>1", block.text).replace("8786", port)
            )
            if block.title == "~/.config/dask/jobqueue.yaml":
                (folder / "dask").mkdir()
                (folder / "dask/jobqueue.yaml").write_text(block.text)
            elif block.language == "text":
                scheduler, worker, *_ = commands(smaller, folder)
                servers = (f"{scheduler} --host 127.0.0.1 --port {port} --no-dashboard", f"{worker} --no-dashboard")
                started += [run(server, folder / "xview2") for server in servers]
            else:
                do(smaller, folder)
            if block.language == "bash":
                assert read_record(campaign / "scenes" / read_plan(campaign)[0].name) is not None
                for created in {*campaign.iterdir()} - planned:
                    shutil.rmtree(created) if created.is_dir() else created.unlink()
    finally:
        for server in started:
            os.killpg(server.pid, signal.SIGKILL)
            server.communicate()
        (folder / "xview2/conf/local/globals.yml").unlink(missing_ok=True)


def test_the_sentence_is_that_of_the_code() -> None:
    (shown,) = (block.text.strip() for block in blocks(PAGE) if "last line" in block.title)
    kinds = [
        ("assessed", "no-damage", 130),
        ("assessed", "minor-damage", 9),
        ("assessed", "destroyed", 3),
        ("abstained", "confidence below 0.5", 8),
        ("not_assessed", "obscured", 11),
        ("not_assessed", "no images", 2),
    ]
    rows = [
        {"status": kind, "reason": label, "damage_label": label} for kind, label, count in kinds for _ in range(count)
    ]
    tally = Tally().add(pd.DataFrame(rows), ["E0N0"] * len(rows))
    assert shown == sentence(summary_numbers(tally.table()) | {"reasons": tally.reasons})


def test_the_rules_are_those_of_the_code() -> None:
    section = PAGE.read_text().split("### The rules\n")[1].split("\n\nTiles")[0]
    text = " ".join(section.split())
    assert text == " ".join(f"{number}. {rule}" for number, rule in enumerate(RULES, start=1))


def test_the_columns_are_those_of_the_table(tmp_path: Path) -> None:
    made = write_catalogue(tmp_path, count=1, side=1000)
    (first, *_) = make_plan(read_catalogue(made.top)).jobs
    assert first_column(PAGE, "#### Columns of `plan.csv`") == [*plan_row(first)]
