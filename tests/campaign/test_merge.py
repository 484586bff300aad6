"""The merged table against a merge building by building, for random assessments."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
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
from affine import Affine

from made_campaign import EDGE, JOBS, tile_at, write_campaign, write_footprints
from made_catalogue import Made, write_catalogue
from xview2_siamese_unet.campaign.catalogue import read_catalogue
from xview2_siamese_unet.campaign.footprints import Footprints, divide_footprints
from xview2_siamese_unet.campaign.footprints import write_footprints as write_tile
from xview2_siamese_unet.campaign.jobs import Task, make_task
from xview2_siamese_unet.campaign.plan import make_plan
from xview2_siamese_unet.campaign.plan_files import read_plan, write_plan
from xview2_siamese_unet.campaign.table import write_table
from xview2_siamese_unet.campaign.tiles import Tile
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.geopackage import write_geopackage
from xview2_siamese_unet.inference.products import buildings_style
from xview2_siamese_unet.inference.summary import sentence

LABELS = ["no-damage", "minor-damage", "major-damage", "destroyed"]
STATES = ["assessed", "assessed", "abstained", "not_assessed"]


@pytest.fixture
def campaign(tmp_path: Path) -> list[Task]:
    folder = write_campaign(tmp_path)
    return [make_task(job, folder, None, {}, "") for job in read_plan(folder)]


@pytest.fixture
def footprints(campaign: list[Task], tmp_path: Path) -> Footprints:
    return divide_footprints(write_footprints(tmp_path / "houses.gpkg"), None, [task.job.tile for task in campaign])


def assess(task: Task, buildings: gpd.GeoDataFrame, seed: int) -> pd.DataFrame:
    """Write an assessment with random predictions; return its rows."""
    rng = np.random.default_rng(seed)
    status = rng.choice(STATES, len(buildings))
    damage = np.where(status == "assessed", rng.integers(1, 5, len(buildings)), 0)
    rows = buildings.assign(
        visible_fraction=rng.uniform(0, 0.4, len(buildings)).round(1),
        obscured_fraction=rng.uniform(0, 0.4, len(buildings)).round(1),
        area_m2=36.0,
        status=status,
        reason=np.where(status == "assessed", None, f"reason of {task.job.name}"),
        damage=pd.array(damage, "Int8"),
        damage_label=pd.Series([LABELS[code - 1] if code else None for code in damage], buildings.index, dtype=object),
        cems_grade="Damaged",
        pre_id="a file",
        post_id="a file",
        post_date=None,
    )
    rows.loc[damage == 0, "damage"] = pd.NA
    if task.job.name == JOBS[0]:  # a column without a value in the first of the assessments
        rows["reason"] = None
    task.scene.mkdir(parents=True, exist_ok=True)
    stored = rows.to_crs(task.job.tile.zone)[[*rows.columns.drop("geometry"), "geometry"]]
    write_geopackage(task.scene / "buildings.gpkg", [("buildings", stored)], {}, "2023-01-01T00:00:00.000Z")
    (task.scene / "run.json").write_text(json.dumps({"run_id": "1", "products": {}, "warnings": ["dim"]}))
    return pd.DataFrame(rows.drop(columns="geometry"))


def read(folder: Path) -> gpd.GeoDataFrame:
    return pyogrio.read_dataframe(folder / "buildings.gpkg", layer="buildings")


def brute_force(tasks: list[Task], rows: dict[str, pd.DataFrame], footprints: Path) -> dict[str, tuple[Any, ...]]:
    """Return scene, status and class of each footprint by its id."""
    expected = {}
    for name, shape in zip(*(gpd.read_file(footprints)[column] for column in ("id", "geometry")), strict=True):
        point = shape.representative_point()
        mine = [task for task in tasks if task.job.tile == tile_at(point.x, point.y)]
        views = [
            (task, rows[task.job.name].set_index("building_id").loc[name]) for task in mine if task.job.name in rows
        ]
        visible = [each for each in views if each[1]["status"] != "not_assessed"]
        most = sorted(views, key=lambda each: each[1]["obscured_fraction"] - each[1]["visible_fraction"])
        task, row = (visible or most or [(None, None)])[0]
        expected[name] = (task.job.name, row["status"], row["damage_label"]) if task else (None, "not_assessed", None)
    return expected


def compare(table: gpd.GeoDataFrame, expected: dict[str, tuple[Any, ...]]) -> None:
    assert sorted(table["building_id"]) == sorted(expected)
    columns = (
        table[name].astype(object).where(table[name].notna(), None) for name in ("scene", "status", "damage_label")
    )
    assert dict(zip(table["building_id"], zip(*columns, strict=True), strict=True)) == expected


@pytest.mark.parametrize("failed", [{}, {JOBS[1]: "it failed"}, {JOBS[1]: "it failed", JOBS[2]: "it failed"}])
def test_each_footprint_is_taken_once_from_the_first_view_that_shows_it(
    campaign: list[Task], footprints: Footprints, tmp_path: Path, failed: dict[str, str]
) -> None:
    rows = {
        task.job.name: assess(task, footprints.by_tile[task.job.tile], seed)
        for seed, task in enumerate(campaign)
        if task.job.name not in failed
    }
    folder = campaign[0].folder
    numbers = write_table(folder, campaign, failed, footprints)
    table, expected = read(folder), brute_force(campaign, rows, tmp_path / "houses.gpkg")
    compare(table, expected)
    compare(gpd.read_parquet(folder / "buildings.parquet"), expected)
    counts = Counter(label if status == "assessed" else status for _, status, label in expected.values())
    assert {kind: numbers["all"][kind] for kind in counts} == counts
    assert numbers["all"]["buildings"] == len(expected)
    assert numbers["jobs"] == {"done": 4 - len(failed), "failed": sorted(failed)}
    hidden = Counter(table["reason"].fillna("unknown")[table["status"] == "not_assessed"])
    visible, damaged = len(table) - hidden.total(), sum(counts[label] for label in LABELS[1:])
    percent = float(f"{100 * damaged / visible:.1f}")
    stated = [len(table), visible, damaged, percent, counts["destroyed"], counts["abstained"], hidden.total()]
    text = sentence(numbers)
    assert [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)[:7]] == stated
    assert all(f"{count} {reason}" in text for reason, count in hidden.items())
    zones = Counter(f"EPSG:{tile_at(point.x, point.y).zone}" for point in table.geometry.representative_point())
    cells = Counter({row["name"].split()[0]: 0 for row in numbers["cells_500_m"]})
    for row in numbers["cells_500_m"]:
        cells[row["name"].split()[0]] += row["buildings"]
    assert cells == zones


def test_zones_of_the_user_count_each_building_once(campaign: list[Task], footprints: Footprints) -> None:
    for seed, task in enumerate(campaign):
        assess(task, footprints.by_tile[task.job.tile], seed)
    whole = gpd.GeoSeries(pd.concat(footprints.by_tile.values()).geometry).union_all().envelope
    west, south, _, north = whole.bounds
    middle = west + 0.0002
    zones = gpd.GeoDataFrame(
        {"name": ["b", "a", "b", "far"]},
        geometry=[
            shapely.box(west, south, middle, north),
            shapely.box(west, south, (west + middle) / 2, north),
            shapely.box(middle, south, middle + 0.0003, north),
            shapely.box(0, 0, 1, 1),
        ],
        crs=4326,
    )
    numbers = write_table(campaign[0].folder, campaign, {}, footprints, zones)
    table = read(campaign[0].folder)
    points = table.to_crs(32636).geometry.representative_point().to_crs(4326)
    inside = points.x < middle + 0.0003
    assert [(row["name"], row["buildings"]) for row in numbers["zones"]] == [
        ("b", inside.sum()),
        ("a", 0),
        ("far", 0),
        ("outside of all zones", (~inside).sum()),
    ]
    assert numbers["zones"][0]["destroyed"] == (table.loc[inside, "damage_label"] == "destroyed").sum() > 0
    shared = (points.x < (west + middle) / 2).sum()
    assert (
        f"{shared} buildings lie in more than one zone and count in the first of them in the file"
        in (numbers["warnings"])
    )


def test_the_history_holds_each_view_that_shows_a_footprint(campaign: list[Task], footprints: Footprints) -> None:
    rows = {task.job.name: assess(task, footprints.by_tile[task.job.tile], seed) for seed, task in enumerate(campaign)}
    folder, dates = campaign[0].folder, {task.job.name: task.job.post.taken for task in campaign}
    write_table(folder, campaign, {JOBS[3]: "it failed"}, footprints)
    table, history = gpd.read_parquet(folder / "buildings.parquet"), pd.read_parquet(folder / "history.parquet")
    expected = {
        (row.building_id, name, dates[name], row.status, row.damage_label)
        for name, frame in rows.items()
        for row in frame.itertuples()
        if row.status != "not_assessed" and name != JOBS[3]
    }
    columns = history[["building_id", "scene", "post_date", "status", "damage_label"]].astype(object)
    assert {*columns.where(columns.notna(), None).itertuples(index=False, name=None)} == expected
    assert len(history) == len(expected) > 60
    assert table["building_id"].iloc[history["row"] - 1].tolist() == history["building_id"].tolist()
    views = history["building_id"].value_counts().reindex(table["building_id"]).fillna(0)
    assert table["n_views"].tolist() == views.tolist()
    both = history[history["building_id"].isin(views.index[views == 2])]
    assert both["post_date"].tolist()[:2] == ["2023-02-08", "2023-02-09"]


def test_each_row_states_why_its_view_was_chosen(campaign: list[Task], footprints: Footprints) -> None:
    for seed, task in enumerate(campaign):
        assess(task, footprints.by_tile[task.job.tile], seed)
    folder = campaign[0].folder
    write_table(folder, campaign, {JOBS[0]: "it failed"}, footprints)
    table = read(folder)
    why = table.groupby("scene", dropna=False)["why"].unique().apply(sorted).to_dict()
    assert {*why[JOBS[1]], *why[JOBS[2]]} == {
        "rank 1",
        f"rank 2; rank 1: reason of {JOBS[1]}",
        f"no view; rank 1: reason of {JOBS[1]}; rank 2: reason of {JOBS[2]}",
    }
    unseen = table[table["scene"].isna()]
    assert Counter(unseen["reason"]) == {"no images": 2, "assessment failed": 35}
    assert set(unseen["cems_grade"]) == {"Not analysed"}
    assert set(table["footprint_source"]) == {"houses.gpkg"}
    chosen = table[table["scene"] == JOBS[2]].iloc[0]
    assert (chosen["pre_id"], chosen["post_id"], chosen["post_date"]) == ("pre_a.tif", "post_a2.tif", "2023-02-08")


@pytest.fixture
def from_stac(tmp_path: Path) -> tuple[list[Task], Made]:
    """A campaign over a STAC catalogue: passes of two images, some without an angle or with another cloud cover."""
    made = write_catalogue(tmp_path / "catalogue", count=3, tiles=2, side=3000)
    items = tmp_path / "catalogue/ard"
    change_item(items / "1040010post000/1.json", **{"view:off_nadir": 30, "tile:clouds_percent": 7.5})
    for number in range(2):
        change_item(items / f"1040010post001/{number}.json", **{"view:off_nadir": None})
    folder = tmp_path / "campaign"
    write_plan(folder, make_plan(read_catalogue(made.top)), "")
    return [make_task(job, folder, None, {}, "") for job in read_plan(folder)], made


def change_item(path: Path, **properties: float | None) -> None:
    item = json.loads(path.read_text(encoding="utf-8"))
    item["properties"] |= properties
    path.write_text(json.dumps(item), encoding="utf-8")


def stated_over(tile: Tile, facts: dict[str, Any], key: str, second: float) -> float:
    """Return the mean over a tile of a property of two images, of which the second has the value `second`."""
    to_zone = pyproj.Transformer.from_crs(4326, tile.zone, always_xy=True)
    areas = [
        shapely.transform(outline, lambda xy: np.column_stack(to_zone.transform(*xy.T))).intersection(tile.box).area
        for outline in facts["outlines"]
    ]
    return float(np.average([facts[key], second], weights=areas))


def test_angle_and_clouds_are_those_of_the_chosen_image(from_stac: tuple[list[Task], Made], tmp_path: Path) -> None:
    tasks, made = from_stac
    ground = shapely.union_all([outline for facts in made.acquisitions for outline in facts["outlines"]])
    west, south, east, north = ground.bounds
    corners = [(x, y) for x in np.arange(west, east, 0.001) for y in np.arange(south, north, 0.001)]
    houses = [shapely.box(x, y, x + 1e-4, y + 1e-4) for x, y in corners]
    path = tmp_path / "houses.gpkg"
    gpd.GeoDataFrame({"id": [f"b{n}" for n in range(len(houses))]}, geometry=houses, crs=4326).to_file(path)
    footprints = divide_footprints(path, None, [task.job.tile for task in tasks])
    for seed, task in enumerate(tasks):
        assess(task, footprints.of(task.job.tile), seed)
    failed = [task.job.name for task in tasks if task.job.tile == tasks[0].job.tile]
    write_table(tasks[0].folder, tasks, dict.fromkeys(failed, "it failed"), footprints)
    table, facts_of = read(tasks[0].folder), {facts["id"]: facts for facts in made.acquisitions}
    unseen = table["scene"].isna()
    assert unseen.any()
    assert table.loc[unseen, ["off_nadir", "cloud_cover"]].isna().all(axis=None)
    jobs = {task.job.name: task.job for task in tasks}
    assert {jobs[scene].post.id for scene in table.loc[~unseen, "scene"]} == {f"1040010post{n:03}" for n in range(3)}
    for scene, rows in table[~unseen].groupby("scene"):
        facts = facts_of[jobs[scene].post.id]
        expected = {"off_nadir": facts["off_nadir"], "cloud_cover": facts["cloud"]}
        if facts["id"] == "1040010post000":
            expected = {
                "off_nadir": stated_over(jobs[scene].tile, facts, "off_nadir", 30),
                "cloud_cover": stated_over(jobs[scene].tile, facts, "cloud", 7.5),
            }
        if facts["id"] == "1040010post001":
            expected["off_nadir"] = np.nan
        for name, value in expected.items():
            assert [*rows[name]] == pytest.approx([value] * len(rows), abs=0.051, nan_ok=True)
    planned = pd.read_csv(tasks[0].folder / "plan.csv").set_index("job").loc[table.loc[~unseen, "scene"]]
    assert [*table.loc[~unseen, "cloud_cover"]] == [*planned["cloud_percent"]]


def test_the_geopackage_is_deterministic_and_has_the_style_of_an_assessment(
    campaign: list[Task], footprints: Footprints
) -> None:
    for task in campaign:
        assess(task, footprints.by_tile[task.job.tile], 0)
    folder = campaign[0].folder
    write_table(folder, campaign, {}, footprints)
    first = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    write_table(folder, list(reversed(campaign)), {}, footprints)
    assert first == {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    info = pyogrio.read_info(folder / "buildings.gpkg", layer="buildings")
    assert (info["geometry_type"], info["crs"]) == ("MultiPolygon", "EPSG:4326")
    assert [*info["fields"]][-5:] == ["scene", "why", "off_nadir", "cloud_cover", "n_views"]
    styles = pyogrio.read_dataframe(folder / "buildings.gpkg", layer="layer_styles")
    assert styles["styleQML"].item() == buildings_style()


def test_footprints_without_an_id_are_numbered_only_for_the_assessments(
    campaign: list[Task], footprints: Footprints
) -> None:
    without_ids = {tile: frame.assign(building_id=None) for tile, frame in footprints.by_tile.items()}
    for task in campaign:
        rows = without_ids[task.job.tile]
        assess(task, rows.assign(building_id=[f"row {n + 1}" for n in range(len(rows))]), 0)
    given = replace(footprints, by_tile=without_ids)
    assert write_table(campaign[0].folder, campaign, {}, given)["all"]["buildings"] == sum(
        map(len, without_ids.values())
    )
    assert read(campaign[0].folder)["building_id"].isna().all()
    path = write_tile(campaign[0].folder, campaign[0].job.tile, without_ids[campaign[0].job.tile], "house")
    written = gpd.read_parquet(path)["house"]
    assert written.tolist() == [f"row {n + 1}" for n in range(len(written))]


def test_an_assessment_of_other_footprints_is_refused(campaign: list[Task], footprints: Footprints) -> None:
    for task in campaign:
        assess(task, footprints.by_tile[task.job.tile][::-1], 0)
    with pytest.raises(DataError, match="other buildings than the footprints of its tile"):
        write_table(campaign[0].folder, campaign, {}, footprints)


def write_damage(task: Task, left: float, width: int) -> None:
    """Write the raster of an assessment with data east of `left`."""
    georeference = {"crs": f"EPSG:{task.job.tile.zone}", "transform": Affine(1, 0, left, 0, -1, 4_098_800)}
    with rasterio.open(
        task.scene / "damage.tif",
        "w",
        driver="GTiff",
        count=1,
        dtype="uint8",
        nodata=255,
        width=width,
        height=100,
        **georeference,
    ) as raster:
        raster.write(np.zeros((1, 100, width), np.uint8))


def test_predicted_outlines_belong_to_one_tile_and_to_the_first_view(
    campaign: list[Task], footprints: Footprints
) -> None:
    """Assessments of zone 36 hold outlines beyond their tiles; the first one of the east ends 20 m from the edge."""
    both = pd.concat([frame for tile, frame in footprints.by_tile.items() if tile is not None and tile.zone == 32636])
    for seed, task in enumerate(campaign):
        zone = task.job.tile.zone
        frame = both if zone == 32636 else pd.concat(f for t, f in footprints.by_tile.items() if t and t.zone == zone)
        frame = frame.to_crs(zone).reset_index(drop=True)
        if task.job.name == JOBS[1]:
            frame = frame[frame.geometry.centroid.x < EDGE + 20].reset_index(drop=True)
        assess(task, frame, seed)
        # The last outlines of the first view reach beyond its data; the second view has them, too.
        write_damage(task, EDGE - 60 if zone == 32636 else 233_700, 70 if task.job.name == JOBS[1] else 200)
    folder = campaign[0].folder
    write_table(folder, campaign, {}, None)
    table = read(folder)
    points = table.geometry.representative_point()
    owner = [tile_at(point.x, point.y).name for point in points]
    assert all(scene.startswith(tile) for scene, tile in zip(table["scene"], owner, strict=True))
    assert table["building_id"].is_unique
    assert len(table) == len(both) + 63
    east = points.to_crs(32636).x
    zone_36 = table["scene"].str.startswith("32636")
    expected = np.select([east < EDGE, east < EDGE + 20], JOBS[:2], JOBS[2])
    assert [*table.loc[zone_36, "scene"]] == [*expected[zone_36]]
    assert set(table.loc[table["scene"] == JOBS[2], "why"]) == {"rank 2; rank 1: no data, or obscured"}


@pytest.mark.parametrize("given", [True, None])
def test_a_campaign_without_buildings_has_an_empty_table(
    campaign: list[Task], footprints: Footprints, given: bool | None
) -> None:
    nothing = replace(footprints, by_tile={})
    for task in campaign:
        assess(task, nothing.of(task.job.tile), 0)
        write_damage(task, EDGE, 10)
    folder = campaign[0].folder
    assert write_table(folder, campaign, {}, given and nothing)["all"]["buildings"] == 0
    assert len(read(folder)) == 0
    assert len(gpd.read_parquet(folder / "buildings.parquet")) == 0
    if given:
        assert pd.read_parquet(folder / "history.parquet").dtypes["post_date"] == "str"
        write_table(folder, campaign, {}, None)
    assert not (folder / "history.parquet").exists()


def test_an_obscured_view_leaves_its_outlines_to_the_next(campaign: list[Task], footprints: Footprints) -> None:
    _, first, second, _ = campaign
    frame = footprints.by_tile[first.job.tile].to_crs(32636)
    hidden = frame.geometry.centroid.x < EDGE + 20
    assess(first, frame[~hidden].reset_index(drop=True), 0)
    assess(second, frame, 1)
    cloud = gpd.GeoDataFrame(
        {"name": ["obscured"]}, geometry=[shapely.box(EDGE, 4_098_000, EDGE + 18, 4_099_000)], crs=32636
    )
    pyogrio.write_dataframe(cloud, first.scene / "buildings.gpkg", layer="obscured", append=True)
    write_damage(first, EDGE - 60, 200)
    write_damage(second, EDGE - 60, 200)
    write_table(first.folder, [first, second], {}, None)
    assert Counter(read(first.folder)["scene"]) == {JOBS[1]: sum(~hidden), JOBS[2]: sum(hidden)}


def test_a_footprint_without_a_polygon_is_counted(campaign: list[Task], tmp_path: Path) -> None:
    path = write_footprints(tmp_path / "houses.gpkg")
    rows = gpd.read_file(path)
    rows.loc[5, "geometry"] = None
    rows.to_file(tmp_path / "gaps.gpkg", engine="pyogrio")
    given = divide_footprints(tmp_path / "gaps.gpkg", None, [task.job.tile for task in campaign])
    for task in campaign:
        assess(task, given.of(task.job.tile), 0)
    numbers = write_table(campaign[0].folder, campaign, {}, given)
    assert numbers["all"]["buildings"] == len(rows)
    assert [row["not_assessed"] for row in numbers["cells_500_m"] if row["name"] == "nowhere"] == [1]
    lost = read(campaign[0].folder).iloc[-1]
    assert (lost["building_id"], lost["reason"]) == (rows.loc[5, "id"], "no polygon")


def test_an_assessment_without_buildings_does_not_change_the_column_types(
    campaign: list[Task], footprints: Footprints
) -> None:
    by_tile = {tile: frame for tile, frame in footprints.by_tile.items() if tile != campaign[0].job.tile}
    some = replace(footprints, by_tile=by_tile)
    for task in campaign:
        assess(task, some.of(task.job.tile), 0)
    empty = campaign[0].scene / "buildings.gpkg"
    columns = {name: [] for name in pyogrio.read_info(empty, layer=0)["fields"]}  # as numbers, as in an assessment
    nothing = gpd.GeoDataFrame(columns, geometry=[], crs=32636)
    write_geopackage(empty, [("buildings", nothing)], {}, "2023-01-01T00:00:00.000Z")
    write_table(campaign[0].folder, campaign, {}, some)
    table = read(campaign[0].folder)
    assert Counter(table["scene"].dropna().str[:16]) == {JOBS[1][:16]: 63, JOBS[3][:16]: 63}
    assert set(table["damage_label"].dropna()) == set(LABELS)
