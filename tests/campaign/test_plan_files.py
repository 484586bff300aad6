from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
from shapely import box
from shapely.geometry import mapping

from made_catalogue import Made
from xview2_siamese_unet.campaign.catalogue import read_catalogue
from xview2_siamese_unet.campaign.plan import MEGABYTES, SECONDS, Plan, make_plan
from xview2_siamese_unet.campaign.plan_files import read_plan, require_no_plan, write_plan
from xview2_siamese_unet.errors import ConfigError, DataError, ProjectError

IMAGE = {"acquisition": "a", "taken": None, "path": "a.tif", "crs": "EPSG:32636", "pixel_m": 1, "cloud": None}
IMAGE |= {"off_nadir": None, "masks": []}
Edit = Callable[[pd.DataFrame], pd.DataFrame | None]


@pytest.fixture(scope="module")
def plan(made: Made) -> Plan:
    return make_plan(read_catalogue(made.top))


@pytest.fixture
def folder(plan: Plan, tmp_path: Path) -> Path:
    write_plan(tmp_path, plan, "page")
    return tmp_path


def edit(folder: Path, how: Edit) -> None:
    """Change the table and save it as a spreadsheet program does."""
    table = pd.read_csv(folder / "plan.csv", dtype=str, keep_default_na=False)
    changed = how(table)
    (table if changed is None else changed).to_csv(folder / "plan.csv", sep=";", index=False, encoding="utf-8-sig")


def test_jobs_are_read_as_they_were_planned(plan: Plan, folder: Path) -> None:
    for job, planned in zip(read_plan(folder), plan.jobs, strict=True):
        expected = planned.job
        assert (job.name, job.tile, job.rank) == (expected.name, expected.tile, expected.rank)
        for one, other in ((job.pre, expected.pre), (job.post, expected.post)):
            assert one is not None
            assert other is not None
            assert (one.id, one.taken) == (other.id, other.taken)
            for image, other_image in zip(one.images, other.images, strict=True):
                assert image.outline.equals_exact(other_image.outline, 1e-9)
                assert (image.path, image.crs, image.pixel) == (other_image.path, other_image.crs, other_image.pixel)
                assert (image.cloud, image.off_nadir, image.masks) == (
                    other_image.cloud,
                    other_image.off_nadir,
                    other_image.masks,
                )


def test_the_table_has_dates_clouds_and_the_estimated_time_and_disk_space(plan: Plan, folder: Path) -> None:
    table = pd.read_csv(folder / "plan.csv")
    assert table["megapixels"].tolist() == [round(planned.megapixels, 2) for planned in plan.jobs]
    assert (table["core_minutes"] - table["megapixels"] * SECONDS / 60).abs().max() < 0.051
    assert (table["disk_mb"] - table["megapixels"] * MEGABYTES).abs().max() < 0.1
    first = plan.jobs[0]
    assert first.view.cloud is not None
    assert table.loc[0, ["pre_date", "post_date", "cloud_percent"]].tolist() == [
        first.job.pre and first.job.pre.taken,
        first.job.post.taken,
        100 * first.view.cloud,
    ]


def test_the_map_opens_in_a_gis(plan: Plan, folder: Path) -> None:
    ground = gpd.read_file(folder / "plan.geojson")
    assert ground["job"].tolist() == [planned.job.name for planned in plan.jobs]
    areas = [ground[ground["tile"].str.startswith(str(z))].to_crs(z).area for z in (32636, 32637)]
    assert pd.concat(areas).sort_index().to_numpy() / 1e6 == pytest.approx(ground["chosen_km2"].to_numpy(), abs=2e-4)
    images = gpd.read_file(folder / "images.geojson")
    assert len(images) == 12
    assert all(Path(path).is_file() for path in images["path"])


def test_rows_may_be_deleted_and_images_exchanged(folder: Path, plan: Plan) -> None:
    other = next(
        (planned.job, rival.job)
        for planned in plan.jobs
        for rival in plan.jobs
        if rival.job.tile == planned.job.tile and rival.job.post.id != planned.job.post.id
    )

    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[table["job"] == other[0].name, "post"] = other[1].post.id
        table["remark"] = "clear"
        return table[table["job"].isin([other[0].name])]

    edit(folder, change)
    (job,) = read_plan(folder)
    assert (job.name, job.post) == (other[0].name, other[1].post)


def first_row(**values: str) -> Edit:
    def change(table: pd.DataFrame) -> None:
        for column, value in values.items():
            table.loc[0, column] = value

    return change


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (first_row(rank="first"), "line 2: rank must be a whole number, at least 1, got 'first'"),
        (first_row(rank="0"), "line 2: rank must be at least 1, got '0'"),
        (first_row(job="../evil"), "line 2: job must be text that matches pattern"),
        (first_row(job=""), "line 2: job must be"),
        (first_row(job="aux"), "line 2: job must not be the name of a Windows device"),
        (first_row(tile="32637"), "line 2: '32637' is not a tile"),
        (first_row(post="nobody"), "line 2: 'nobody' is not an acquisition in images.geojson"),
        (first_row(post="1040010post005", tile="32601_0100_0100"), "does not show tile 32601_0100_0100"),
        (lambda table: table.drop(columns="post"), "line 2: post must be given"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "has the job '[0-9_]+' 2 times"),
        (lambda table: table.iloc[:2].assign(job=["North", "north"]), "has the job 'north' 2 times"),
        (lambda table: pd.concat([table, table.iloc[:1].assign(job="again")]), "has the tile and rank '.*' 2 times"),
        (lambda table: table.iloc[:0], "has no job"),
    ],
)
def test_an_invalid_edit_is_refused_with_a_hint(folder: Path, how: Edit, words: str) -> None:
    edit(folder, how)
    with pytest.raises(ProjectError, match=words) as caught:
        read_plan(folder)
    assert caught.value.hint


def test_blank_lines_are_skipped_but_counted(folder: Path) -> None:
    count = len(read_plan(folder))
    path = folder / "plan.csv"
    head, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, "", first, "," * head.count(","), *rest, "", ""]))
    assert len(read_plan(folder)) == count
    path.write_text("\n".join([head, "", first.replace("post", "lost")]))
    with pytest.raises(ConfigError, match="line 3: '1040010lost"):
        read_plan(folder)


def test_pre_none_means_only_the_post_disaster_image(folder: Path) -> None:
    edit(folder, first_row(pre="none"))
    assert read_plan(folder)[0].pre is None


def test_a_plan_is_never_replaced(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"plan.csv already exists"):
        require_no_plan(folder)
    (folder / "plan.csv").unlink()
    with pytest.raises(ConfigError, match=r"plan.geojson already exists"):
        require_no_plan(folder)


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no plan"):
        read_plan(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cannot be read"),
        ('{"features": [{"geometry": {"type": "Point"}, "properties": {}}]}', "cannot be read"),
        (
            json.dumps({"features": [{"geometry": {"type": "Point", "coordinates": [0, 0]}, "properties": {}}]}),
            "feature 1: acquisition must be given",
        ),
        (
            json.dumps({"features": [{"geometry": {"type": "Point", "coordinates": [0, 0]}, "properties": IMAGE}]}),
            "feature 1 is not a polygon",
        ),
    ],
)
def test_damaged_lists_of_images_are_refused(folder: Path, content: str, words: str) -> None:
    (folder / "images.geojson").write_text(content)
    with pytest.raises(ProjectError, match=words):
        read_plan(folder)


def test_images_within_a_hundred_metres_of_a_tile_are_part_of_its_jobs(plan: Plan, folder: Path) -> None:
    job = plan.jobs[0].job
    east = job.tile.box.bounds[2]
    north = job.tile.box.centroid.y
    images = json.loads((folder / "images.geojson").read_text())
    for first, name in ((east + 50, "near.tif"), (east + 150, "far.tif")):
        ground = gpd.GeoSeries([box(first, north, first + 90, north + 90)], crs=job.tile.zone).to_crs(4326)
        feature = {"type": "Feature", "geometry": mapping(ground.iloc[0])}
        images["features"].append({**feature, "properties": {**IMAGE, "acquisition": job.post.id, "path": name}})
    (folder / "images.geojson").write_text(json.dumps(images))
    names = [image.path.name for image in read_plan(folder)[0].post.images]
    assert names == [*(image.path.name for image in job.post.images), "near.tif"]


def test_a_pre_disaster_image_after_the_event_is_refused(plan: Plan, folder: Path) -> None:
    post = plan.jobs[0].job.post.id
    edit(
        folder, lambda table: table.assign(pre=[post, *table["pre"][1:]], post=[*table["pre"][:1], *table["post"][1:]])
    )
    with pytest.raises(ConfigError, match=f"line 2: pre {post} of .* is later than post"):
        read_plan(folder)
