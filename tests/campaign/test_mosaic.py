"""Mosaics against a composition pixel by pixel."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from made_assessments import write_layers, write_rasters
from made_campaign import EDGE, write_campaign
from xview2_siamese_unet.campaign.jobs import Task
from xview2_siamese_unet.campaign.mosaic import write_mosaics
from xview2_siamese_unet.campaign.plan import Job
from xview2_siamese_unet.campaign.plan_files import read_plan
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.inference.products import damage_style
from xview2_siamese_unet.raster.grid import Grid

TOP = 4_098_790.0
ZONES = [36, 36, 36, 37]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, ...]:
    return read_plan(write_campaign(tmp_path_factory.mktemp("planned")))


@pytest.fixture
def tasks(jobs: tuple[Job, ...], tmp_path: Path) -> list[Task]:
    return [Task(job, tmp_path / "campaign", {}, "") for job in jobs]


def write_scenes(tasks: list[Task], *pixels_and_corners: tuple[float, float, float]) -> None:
    """Write rasters, each with its pixel size and its offset east and south of a common corner in metres."""
    for seed, (task, zone, (pixel, east, south)) in enumerate(zip(tasks, ZONES, pixels_and_corners, strict=True)):
        grid = Grid(f"EPSG:326{zone}", EDGE + east, TOP - south, pixel, 90 + 10 * seed, 70)
        write_rasters(task.scene, grid, seed)
        write_layers(task.scene, grid)


Boxes = dict[str, list[tuple[float, float, float, float]]]


def compose(
    mosaic: rasterio.DatasetReader, tasks: list[Task], name: str, hidden: Boxes = MappingProxyType({})
) -> np.ndarray:
    """Return for each pixel the value at its centre of the job with the lowest rank that has data there."""
    columns, rows = np.meshgrid(np.arange(mosaic.width) + 0.5, np.arange(mosaic.height) + 0.5)
    east, north = mosaic.transform @ (columns, rows)
    composed = np.full((mosaic.count, *mosaic.shape), 255, np.uint8)
    for task in sorted(tasks, key=lambda task: (task.job.rank, task.job.name)):
        with rasterio.open(task.scene / name) as raster:
            if raster.crs != mosaic.crs:
                continue
            pixels = raster.read()
            x, y = ~raster.transform @ (east, north)
            # Next to a scene with larger pixels, pixels of the mosaic that reach beyond its edge stay empty.
            edge = 0.0 if raster.res == mosaic.res else mosaic.res[0] / raster.res[0] / 2 - 1e-6
            inside = (x >= edge) & (x < raster.width - edge) & (y >= edge) & (y < raster.height - edge)
        values = np.full_like(composed, 255)
        for west, south, right, top in hidden.get(task.job.name, []):
            # The centre of a pixel of the scene, not of the mosaic, decides whether it is obscured.
            middle, centre = raster.transform @ (np.floor(x) + 0.5, np.floor(y) + 0.5)
            inside &= ~((middle > west) & (middle < right) & (centre > south) & (centre < top))
        values[:, inside] = pixels[:, np.floor(y[inside]).astype(int), np.floor(x[inside]).astype(int)]
        composed = np.where(composed == 255, values, composed)
    return composed


GRIDS = {
    "one grid": [(0.5, 0, 0), (0.5, 20, 5), (0.5, 10, 15), (0.5, 0, 0)],
    "shifted by parts of a pixel": [(0.5, 0, 0), (0.5, 20.2, 5.1), (0.5, 9.85, 15.1), (0.5, 0, 0)],
    "larger pixels": [(0.8, -3.3, -2), (0.5, 20, 5), (0.65, 10, 15), (0.5, 0, 0)],
    "larger pixels on top": [(0.5, 0, 0), (0.8, 20, 5), (1.0, 10, 15), (0.31, 0, 0)],
}


def rasters_of(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".vrt")]


@pytest.mark.parametrize("grids", GRIDS.values(), ids=GRIDS)
def test_a_mosaic_is_a_composition_by_rank(tasks: list[Task], grids: list[tuple[float, float, float]]) -> None:
    write_scenes(tasks, *grids)
    names = ["damage_32636.vrt", "damage_32637.vrt", "probability_32636.vrt", "probability_32637.vrt"]
    styles = ["damage_32636.qml", "damage_32637.qml"]
    assert write_mosaics(tasks[0].folder, tasks) == sorted(f"mosaics/{name}" for name in [*names, *styles])
    assert (tasks[0].folder / "mosaics" / styles[0]).read_text() == damage_style()
    for name in names:
        source = name.partition("_")[0] + ".tif"
        with rasterio.open(tasks[0].folder / "mosaics" / name) as mosaic:
            assert mosaic.crs.to_string() == f"EPSG:{name[-9:-4]}"
            assert mosaic.res == (min(each[0] for each in (grids[:3] if "36.vrt" in name else grids[3:])),) * 2
            values = mosaic.read()
            expected = compose(mosaic, tasks, source)
            np.testing.assert_array_equal(values, expected)
            part = rasterio.windows.Window(37, 21, 50, 33)  # cuts the sources
            np.testing.assert_array_equal(mosaic.read(window=part), expected[:, 21:54, 37:87])
        assert 0.2 < (values != 255).mean() < 0.9


@pytest.mark.parametrize("grids", GRIDS.values(), ids=GRIDS)
def test_obscured_ground_shows_the_next_rank(tasks: list[Task], grids: list[tuple[float, float, float]]) -> None:
    write_scenes(tasks, *grids)
    # No edge crosses the centre of a pixel.
    clouds = [(EDGE + 2.3, TOP - 40.2, EDGE + 31.13, TOP - 9.9), (EDGE + 35.3, TOP - 33.4, EDGE + 60, TOP - 20.11)]
    hidden = {tasks[0].job.name: clouds, tasks[2].job.name: clouds[:1], tasks[3].job.name: clouds}
    for task in tasks:
        with rasterio.open(task.scene / "damage.tif") as raster:
            own = raster.transform
            grid = Grid(raster.crs.to_string(), own.c, own.f, own.a, raster.width, raster.height)
        write_layers(task.scene, grid, [shapely.box(*cloud) for cloud in hidden.get(task.job.name, [])])
    for name in rasters_of(write_mosaics(tasks[0].folder, tasks)):
        source = Path(name).name.partition("_")[0] + ".tif"
        with rasterio.open(tasks[0].folder / name) as mosaic:
            expected = compose(mosaic, tasks, source, hidden)
            np.testing.assert_array_equal(mosaic.read(), expected)
            assert (expected != compose(mosaic, tasks, source)).mean() > 0.05
    below = tasks[0].folder / "mosaics/obscured"
    assert len([*below.glob("*.tif")]) == 3
    assert len([*below.glob("*.vrt")]) == 6
    write_layers(tasks[0].scene, Grid("EPSG:32636", EDGE, TOP, 0.5, 90, 70))
    write_mosaics(tasks[0].folder, tasks[:3])
    assert {path.stem[:18] for path in below.iterdir()} == {tasks[2].job.name}


def test_every_pixel_of_every_scene_lies_in_the_mosaic(tasks: list[Task]) -> None:
    write_scenes(tasks, *GRIDS["larger pixels"])
    write_mosaics(tasks[0].folder, tasks)
    with rasterio.open(tasks[0].folder / "mosaics/damage_32636.vrt") as mosaic:
        for task in tasks[:3]:
            with rasterio.open(task.scene / "damage.tif") as raster:
                west, south, east, north = raster.bounds
            assert mosaic.bounds.left <= west + 1e-6
            assert mosaic.bounds.bottom <= south + 1e-6
            assert mosaic.bounds.right >= east - 1e-6
            assert mosaic.bounds.top >= north - 1e-6


def test_colours_scale_names_and_tags_are_kept(tasks: list[Task]) -> None:
    write_scenes(tasks, *GRIDS["one grid"])
    for name in rasters_of(write_mosaics(tasks[0].folder, tasks)):
        source = Path(name).name.partition("_")[0] + ".tif"
        with rasterio.open(tasks[0].folder / name) as mosaic, rasterio.open(tasks[3].scene / source) as raster:
            for fact in ("nodatavals", "descriptions", "scales", "colorinterp", "dtypes", "count"):
                assert getattr(mosaic, fact) == getattr(raster, fact)
            if "damage" in name:
                assert mosaic.colormap(1) == raster.colormap(1)
                assert mosaic.colormap(1)[4][:3] == Damage.DESTROYED.rgb
            assert mosaic.tags()["CLASS_4"] == "destroyed"
            assert ("RUN" in mosaic.tags()) == ("32637" in name)  # differs between the scenes of zone 36


def test_mosaics_work_after_their_folder_is_moved(tasks: list[Task], tmp_path: Path) -> None:
    write_scenes(tasks, *GRIDS["one grid"])
    write_mosaics(tasks[0].folder, tasks)
    path = Path("mosaics/damage_32636.vrt")
    assert str(tmp_path) not in (tasks[0].folder / path).read_text()
    with rasterio.open(tasks[0].folder / path) as mosaic:
        before = mosaic.read()
    moved = shutil.move(tasks[0].folder, tmp_path / "elsewhere")
    with rasterio.open(Path(moved) / path) as mosaic:
        np.testing.assert_array_equal(mosaic.read(), before)


def test_mosaics_of_removed_jobs_are_removed(tasks: list[Task]) -> None:
    write_scenes(tasks, *GRIDS["one grid"])
    write_mosaics(tasks[0].folder, tasks)
    own = tasks[0].folder / "mosaics/roads.vrt"
    own.write_text("mine")
    before = (tasks[0].folder / "mosaics/damage_32636.vrt").read_bytes()
    write_mosaics(tasks[0].folder, tasks[:3])
    kept = {"damage_32636.vrt", "damage_32636.qml", "probability_32636.vrt", "roads.vrt"}
    assert {path.name for path in own.parent.iterdir()} == kept
    assert (tasks[0].folder / "mosaics/damage_32636.vrt").read_bytes() == before


def test_a_missing_raster_is_counted_in_a_warning(tasks: list[Task], caplog: pytest.LogCaptureFixture) -> None:
    write_scenes(tasks, *GRIDS["one grid"])
    (tasks[1].scene / "probability.tif").unlink()
    (tasks[3].scene / "probability.tif").unlink()
    with caplog.at_level(logging.WARNING):
        names = rasters_of(write_mosaics(tasks[0].folder, tasks))
    assert caplog.messages == ["probability.tif is missing in 2 of 4 assessments, left out of the mosaics"]
    assert names == ["mosaics/damage_32636.vrt", "mosaics/damage_32637.vrt", "mosaics/probability_32636.vrt"]


def test_the_lower_rank_is_on_top_for_any_name(tasks: list[Task]) -> None:
    write_scenes(tasks, *GRIDS["one grid"])
    swapped = [task._replace(job=replace(task.job, rank=rank)) for task, rank in zip(tasks, (3, 2, 1, 1), strict=True)]
    write_mosaics(tasks[0].folder, swapped)
    with rasterio.open(tasks[0].folder / "mosaics/damage_32636.vrt") as mosaic:
        values = mosaic.read()
        np.testing.assert_array_equal(values, compose(mosaic, swapped, "damage.tif"))
        assert (values != compose(mosaic, tasks, "damage.tif")).any()


def test_a_crs_without_an_epsg_code_has_a_mosaic(tasks: list[Task]) -> None:
    wkt = rasterio.crs.CRS.from_string("+proj=tmerc +lon_0=30.5 +k=0.9996 +x_0=500000 +datum=WGS84 +units=m").to_wkt()
    grid = Grid(wkt, 0, 0, 0.5, 40, 30)
    write_rasters(tasks[0].scene, grid, 1)
    write_layers(tasks[0].scene, grid)
    name, _ = rasters_of(write_mosaics(tasks[0].folder, tasks[:1]))
    with rasterio.open(tasks[0].folder / name) as mosaic:
        assert mosaic.crs == rasterio.crs.CRS.from_wkt(wkt)
        assert mosaic.transform == Affine(0.5, 0, 0, 0, -0.5, 0)
