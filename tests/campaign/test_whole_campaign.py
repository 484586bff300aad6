"""From a catalogue of six acquisitions before and six after an event to one row for each of 3,000 footprints."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
import torch

from made_catalogue import BORDER, LATITUDE, Made, pair_by_rules, write_catalogue
from shipped_project import link_shipped_project
from small_nets import small_checkpoint
from xview2_siamese_unet import run_campaign
from xview2_siamese_unet.campaign.catalogue import read_catalogue
from xview2_siamese_unet.campaign.plan import make_plan
from xview2_siamese_unet.campaign.plan_files import write_plan

SIDE, FOOTPRINTS, METRES = 400, 3000, 3.0


def write_footprints(path: Path) -> gpd.GeoDataFrame:
    """Write squares on and around the images."""
    rng = np.random.default_rng(3)
    metres = pyproj.Proj(proj="aeqd", lon_0=BORDER, lat_0=LATITUDE)
    corners = rng.uniform((-280, -255), (270, 115), (FOOTPRINTS, 2))
    squares = [shapely.box(x, y, x + METRES, y + METRES) for x, y in corners]
    degrees = shapely.transform(squares, lambda xy: np.column_stack(metres(*xy.T, inverse=True)))
    frame = gpd.GeoDataFrame({"id": [f"b{number}" for number in range(FOOTPRINTS)]}, geometry=degrees, crs=4326)
    frame.to_file(path, engine="pyogrio")
    return frame


def fill(made: Made) -> None:
    """Write random pixels to every image."""
    rng = np.random.default_rng(4)
    for path in sorted(made.top.parent.rglob("*-visual.tif")):
        with rasterio.open(path, "r+") as raster:
            blocks = rng.integers(1, 255, (3, SIDE // 8, SIDE // 8))
            raster.write(np.kron(blocks, np.ones((1, 8, 8))).astype(np.uint8))


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the attributes of each building by its id."""
    frame = pd.DataFrame(pyogrio.read_dataframe(path, layer="buildings", read_geometry=False)).astype(object)
    return frame.where(frame.notna(), None).set_index("building_id").to_dict("index")


def merge_one_by_one(campaign: Path, footprints: gpd.GeoDataFrame) -> dict[str, tuple[str, str | None, str | None]]:
    """Return status, label and job of each footprint: those of the first job of its tile that shows it."""
    with (campaign / "plan.csv").open() as file:
        plan = sorted(csv.DictReader(file), key=lambda row: int(row["rank"]))
    rows = {row["job"]: read(campaign / f"scenes/{row['job']}/buildings.gpkg") for row in plan}
    into = {zone: pyproj.Transformer.from_crs(4326, zone, always_xy=True) for zone in (32636, 32637)}
    merged = {}
    for name, square in footprints[["id", "geometry"]].itertuples(index=False):
        point = square.representative_point()
        zone = 32636 if point.x < BORDER else 32637
        x, y = into[zone].transform(point.x, point.y)
        tile = f"{zone}_{int(x // 2500):04}_{int(y // 2500):04}"
        jobs = [row["job"] for row in plan if row["tile"] == tile]
        shown = [job for job in jobs if rows[job][name]["status"] != "not_assessed"]
        most = sorted(jobs, key=lambda job: -(rows[job][name]["visible_fraction"] or 0))
        if job := next(iter([*shown, *most]), None):
            row = rows[job][name]
            merged[name] = (row["status"], row["damage_label"], job)
        else:
            merged[name] = ("not_assessed", None, None)
    return merged


@pytest.mark.slow
def test_every_footprint_of_the_catalogue_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write_catalogue(tmp_path / "catalogue", side=SIDE)
    fill(made)
    footprints = write_footprints(tmp_path / "houses.gpkg")
    torch.save(small_checkpoint(), tmp_path / "model.pth")
    inference = "inference: {windows: {size: 128, overlap: 32}, buildings: {abstain_below: 0.5384}}"
    local = f"{inference}\nhardware: {{device: cpu, precision: 32-true}}"
    monkeypatch.chdir(link_shipped_project(tmp_path / "site", local))
    campaign = tmp_path / "campaign"
    write_plan(campaign, make_plan(read_catalogue(made.top)), "")
    done = run_campaign(campaign, model=str(tmp_path / "model.pth"), footprints=tmp_path / "houses.gpkg")
    assert done["jobs"]["failed"] == []

    table = pyogrio.read_dataframe(campaign / "buildings.gpkg", layer="buildings")
    assert sorted(table["building_id"]) == sorted(footprints["id"])
    expected = merge_one_by_one(campaign, footprints)
    rows = read(campaign / "buildings.gpkg")
    assert {name: (row["status"], row["damage_label"], row["scene"]) for name, row in rows.items()} == expected

    counts = json.loads((campaign / "summary.json").read_text())["all"]
    kinds = Counter(label if status == "assessed" else status for status, label, _ in expected.values())
    assert {kind: counts[kind] for kind in kinds} == kinds
    assert counts["buildings"] == FOOTPRINTS
    assert len(kinds) >= 3

    zones = pd.read_csv(campaign / "plan.csv")["tile"].str[:5]
    assert {*zones} == {"32636", "32637"}
    assert_pairs_follow_the_rules(made, table)


def assert_pairs_follow_the_rules(made: Made, table: gpd.GeoDataFrame) -> None:
    """Compare the pair of each building that crosses no edge of an image."""
    edges = shapely.union_all([o.exterior for facts in made.acquisitions for o in facts["outlines"]])
    whole = table[~shapely.dwithin(table.geometry.to_numpy(), edges, 2e-5)]
    assert len(whole) > FOOTPRINTS / 2
    expected = [pair_by_rules(made, square.representative_point()) for square in whole.geometry]
    pairs = zip(whole["pre_id"], whole["post_id"], whole["status"], strict=True)
    assert [None if status == "not_assessed" else (pre, post) for pre, post, status in pairs] == expected
