"""The page on campaigns: its commands run without a network, and it says what the code does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely
import torch
from docs_blocks import DOCS, blocks, first_column
from typed import NO_NETWORK, commands, lay_down_project, type_line

from made_catalogue import write_catalogue
from small_nets import small_checkpoint
from xview2_siamese_unet.campaign.catalogue import read_catalogue
from xview2_siamese_unet.campaign.plan import make_plan
from xview2_siamese_unet.campaign.plan_files import plan_row, read_plan
from xview2_siamese_unet.campaign.selection import RULES

PAGE = DOCS / "campaigns.md"


@pytest.mark.slow
def test_every_command_does_what_the_page_says(tmp_path: Path) -> None:
    place = tmp_path / "path/to"
    made = write_catalogue(place / "catalogue", count=2, side=400)
    outlines = [shapely.affinity.scale(each["outlines"][0], 0.05, 0.05) for each in made.acquisitions]
    gpd.GeoDataFrame({"id": [each["id"] for each in made.acquisitions]}, geometry=outlines, crs=4326).to_file(
        place / "buildings.gpkg", engine="pyogrio"
    )
    gpd.GeoDataFrame({"name": ["all"]}, geometry=[shapely.box(35, 36, 37, 38)], crs=4326).to_file(
        place / "districts.gpkg", engine="pyogrio"
    )
    torch.save(small_checkpoint(), place / "model.pth")
    (place / "scenes").mkdir()
    for name, day in (("pre000", "2023-01-01"), ("post000", "2023-02-08")):
        shutil.copy(place / f"catalogue/ard/1040010{name}/0-visual.tif", place / f"scenes/{day}.tif")
    (place / "pairs.csv").write_text("pre,post\nscenes/2023-01-01.tif,scenes/2023-02-08.tif\n")
    lay_down_project(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    typed = [block for block in blocks(PAGE) if block.language == "bash"]
    for command in (command for block in typed for command in commands(block, tmp_path)):
        type_line(command, tmp_path / "xview2")
    for name in ("campaign", "scenes_campaign", "pairs_campaign", "history"):
        assert len(read_plan(place / name)) >= 1
    table = gpd.read_parquet(place / "campaign/buildings.parquet")
    assert sorted(table["building_id"]) == sorted(each["id"] for each in made.acquisitions)
    assert {*first_column(PAGE, "### Columns of the table")} <= {*table.columns}
    assert first_column(PAGE, "### The history") == [*pd.read_parquet(place / "campaign/history.parquet").columns]
    (counts,) = json.loads((place / "campaign/summary.json").read_text())["zones"][:-1]
    assert (counts["name"], counts["buildings"]) == ("all", len(table))
    assert 'class="cell"' in (place / "campaign/overview.html").read_text()


def test_the_rules_are_those_of_the_code() -> None:
    section = PAGE.read_text().split("### The rules\n")[1].split("\n\nTiles")[0]
    text = " ".join(section.split())
    assert text == " ".join(f"{number}. {rule}" for number, rule in enumerate(RULES, start=1))


def test_the_columns_are_those_of_the_table(tmp_path: Path) -> None:
    made = write_catalogue(tmp_path, count=1, side=1000)
    (first, *_) = make_plan(read_catalogue(made.top)).jobs
    assert first_column(PAGE, "#### Columns of `plan.csv`") == [*plan_row(first)]
