"""The STAC collection of a campaign: valid, true to its files, and the same bytes from the same files."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import pystac
import pytest
import rasterio
import shapely
from pyproj import Transformer
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import RasterExtension

from made_assessments import write_assessment
from made_campaign import EDGE, JOBS, write_campaign
from xview2_siamese_unet.campaign.collection import is_collection, write_collection
from xview2_siamese_unet.campaign.jobs import Task
from xview2_siamese_unet.campaign.mosaic import write_mosaics
from xview2_siamese_unet.campaign.plan_files import read_plan
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.types import AnyArray

pytestmark = pytest.mark.usefixtures("no_network")
TOP = 4_098_790.0
FAILED = {JOBS[1]: "post_a1.tif cannot be read."}
CORNERS = {JOBS[0]: (32636, EDGE - 40), JOBS[2]: (32636, EDGE), JOBS[3]: (32637, 233_750)}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    """Tasks of a campaign with one failed job, and its collection."""
    folder = tmp_path_factory.mktemp("written")
    jobs = read_plan(write_campaign(folder))
    tasks = [Task(job, folder / "campaign", {}, "") for job in jobs]
    for seed, task in enumerate(tasks):
        if task.job.name not in FAILED:
            zone, left = CORNERS[task.job.name]
            write_assessment(task, Grid(f"EPSG:{zone}", left, TOP, 0.5, 90 + 10 * seed, 70), seed)
    write(tasks)
    return tasks


def write(tasks: list[Task], failed: dict[str, str] | None = None) -> None:
    """Write the collection as the command does."""
    failed, folder = FAILED if failed is None else failed, tasks[0].folder
    for name in ("buildings.gpkg", "buildings.parquet", "summary.csv", "summary.json"):
        (folder / name).write_text(f"content of {name}")
    mosaics = write_mosaics(folder, [task for task in tasks if task.job.name not in failed])
    write_collection(folder, tasks, failed, ["buildings.gpkg", "buildings.parquet", "summary.csv", *mosaics])


@pytest.fixture
def copied(written: list[Task], tmp_path: Path) -> list[Task]:
    shutil.copytree(written[0].folder, tmp_path / "copy")
    return [task._replace(folder=tmp_path / "copy") for task in written]


def collection_of(tasks: list[Task]) -> pystac.Collection:
    return pystac.Collection.from_file(str(tasks[0].folder / "collection.json"))


def texts(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.json")}


def schemas_of(content: dict[str, Any]) -> list[str]:
    """Return the schemas that a STAC document was validated against."""
    from pystac.validation import validate_dict  # noqa: PLC0415  compiles 38 grammars

    return validate_dict(content, extensions=[])


def test_collection_and_items_are_valid(written: list[Task]) -> None:
    folder = written[0].folder
    files = [folder / "collection.json", *folder.glob("scenes/*/item.json")]
    assert len(files) == 4
    for path in files:
        content = json.loads(path.read_text())
        assert content["stac_version"] == pystac.get_stac_version()
        (schema,) = schemas_of(content)
        assert schema.endswith(("/item.json", "/collection.json"))


def test_folder_names_with_special_characters_change_nothing(written: list[Task], tmp_path: Path) -> None:
    folder = shutil.copytree(written[0].folder, tmp_path / "a ä # %20b" / "campaign #1")
    expected = texts(folder)
    (folder / "collection.json").unlink()
    write([task._replace(folder=folder) for task in written])
    assert texts(folder) == expected
    assert [*tmp_path.rglob("collection.json")] == [folder / "collection.json"]


def test_links_are_relative_and_point_to_files(written: list[Task]) -> None:
    folder = written[0].folder
    for path in (folder / "collection.json", *folder.glob("scenes/*/item.json")):
        content = json.loads(path.read_text())
        assert str(folder) not in path.read_text()
        for entry in (*content["links"], *content["assets"].values()):
            assert not entry["href"].startswith(("/", "http"))
            assert (path.parent / entry["href"]).is_file()
    top = collection_of(written)
    assert {item.id for item in top.get_items()} == {*CORNERS}
    for item in top.get_items():
        assert item.get_collection().id == item.get_parent().id == item.get_root().id == item.collection_id == top.id


def test_every_file_is_an_asset_with_size_checksum_type_and_role(written: list[Task]) -> None:
    folder = written[0].folder
    top = collection_of(written)
    kinds = ("damage_{}.vrt", "damage_{}.qml", "probability_{}.vrt")
    mosaics = {f"mosaics/{kind.format(zone)}" for kind in kinds for zone in (32636, 32637)}
    assert {*top.assets} == {"buildings.gpkg", "buildings.parquet", "summary.csv", *mosaics}
    products = {"run.json", "damage.tif", "probability.tif", "buildings.gpkg", "buildings.geojson", "report.html"}
    for document in (top, *top.get_items()):
        if document is not top:
            assert {*document.assets} == products
        for name, asset in document.assets.items():
            path = Path(asset.get_absolute_href())
            assert path == Path(document.self_href).parent / name
            facts = FileExtension.ext(asset)
            if name == "run.json":
                assert (facts.size, facts.checksum) == (None, None)  # it holds times
                assert asset.roles == ["metadata"]
                continue
            assert facts.size == path.stat().st_size
            assert facts.checksum == "1220" + hashlib.sha256(path.read_bytes()).hexdigest()
            assert asset.roles == [{"html": "overview", "qml": "metadata"}.get(name.rpartition(".")[2], "data")]
    types = {asset.media_type for each in (top, *top.get_items()) for asset in each.assets.values()}
    assert pystac.MediaType.COG in types
    assert pystac.MediaType.GEOPACKAGE in types
    assert None not in types
    assert folder / "collection.json" == Path(top.self_href)


def test_projection_raster_and_classes_are_those_of_the_files(written: list[Task]) -> None:
    for item in collection_of(written).get_items():
        for name in ("damage.tif", "probability.tif"):
            asset = item.assets[name]
            projection, bands = ProjectionExtension.ext(asset), RasterExtension.ext(asset).bands
            with rasterio.open(asset.get_absolute_href()) as raster:
                assert projection.code == raster.crs.to_string()
                assert tuple(projection.shape) == raster.shape
                assert rasterio.Affine(*projection.transform) == raster.transform
                assert projection.bbox == [*raster.bounds]
                assert [band.nodata for band in bands] == [*raster.nodatavals]
                assert [band.data_type for band in bands] == [*raster.dtypes]
                assert [band.scale for band in bands] == [*raster.scales]
                assert {band.spatial_resolution for band in bands} == {raster.res[0]}
                assert [band["name"] for band in asset.to_dict()["bands"]] == [*raster.descriptions]
        classes = ClassificationExtension.ext(item.assets["damage.tif"]).classes
        assert [(each.value, each.name, f"#{each.color_hint.lower()}") for each in classes] == [
            (int(code), code.word, code.colour) for code in Damage
        ]


def test_items_have_geometry_dates_and_lineage(written: list[Task]) -> None:
    top = collection_of(written)
    item = top.get_item(JOBS[2])
    facts = item.properties
    assert {key: facts[key] for key in ("tile", "rank", "pre_id", "pre_date", "post_id", "post_date", "run_id")} == {
        "tile": "32636_0306_1639",
        "rank": 2,
        "pre_id": "pre_a.tif",
        "pre_date": "2023-01-01",
        "post_id": "post_a2.tif",
        "post_date": "2023-02-08",
        "run_id": f"{2:012}",
    }
    assert facts["processing:software"] == {"xview2-siamese-unet": "1.0.0", "numpy": "2.0"}
    assert facts["processing:lineage"] == (
        "Predicted from pre-disaster acquisition pre_a.tif (2023-01-01) and post-disaster acquisition post_a2.tif "
        "(2023-02-08) with model abc, trained on xbd."
    )
    assert facts["datetime"] is None
    assert (facts["start_datetime"], facts["end_datetime"]) == ("2023-02-08T00:00:00Z", "2023-02-08T23:59:59Z")
    for each in top.get_items():
        with rasterio.open(each.assets["damage.tif"].get_absolute_href()) as raster:
            valid = raster.read(1) != 255
            rows, columns = valid.nonzero()
            points = gpd.points_from_xy(*raster.xy(rows, columns), crs=raster.crs).to_crs(4326)
            frame = gpd.GeoSeries([shapely.box(*raster.bounds)], crs=raster.crs).to_crs(4326)[0]
        shape = shapely.from_geojson(json.dumps(each.geometry))
        assert shape.buffer(1e-7).contains(points).all()
        assert 0.7 < shape.area / frame.area < 0.8  # a quarter holds no data
        assert each.bbox == [*shape.bounds]
    boxes = [shapely.box(*each.bbox) for each in top.get_items()]
    assert top.extent.spatial.bboxes == [[*shapely.union_all(boxes).bounds]]
    days = [f"{when:%Y-%m-%dT%H:%M:%S}" for when in top.extent.temporal.intervals[0]]
    assert days == ["2023-02-07T00:00:00", "2023-02-09T23:59:59"]


def test_a_failed_job_is_counted_and_has_no_item(written: list[Task]) -> None:
    top = collection_of(written)
    assert top.extra_fields["jobs"] == {"done": 3, "failed": [JOBS[1]]}
    assert f"3 of 4 jobs are finished. Failed, and without an item: {JOBS[1]}." in top.description


def test_the_same_files_give_the_same_bytes_anywhere(copied: list[Task], written: list[Task]) -> None:
    before = texts(written[0].folder)
    for path in copied[0].folder.rglob("*.*"):
        os.utime(path, (0, 0))
    record = copied[0].scene / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"seconds": {"predict": 1e9}}))
    write(copied)
    after = texts(copied[0].folder)
    kept = {name for name in before if not name.endswith("run.json")}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


def test_a_job_that_fails_later_loses_its_item(copied: list[Task]) -> None:
    write(copied, {**FAILED, JOBS[0]: "unreadable"})
    top = collection_of(copied)
    assert {item.id for item in top.get_items()} == {JOBS[2], JOBS[3]}
    assert not (copied[0].scene / "item.json").exists()
    assert (copied[0].scene / "run.json").exists()


def test_a_product_that_was_deleted_is_left_out_and_named(copied: list[Task], caplog: pytest.LogCaptureFixture) -> None:
    (copied[0].scene / "report.html").unlink()
    with caplog.at_level(logging.WARNING):
        write(copied)
    assert caplog.messages == [f"{copied[0].scene} lacks report.html, left out of its STAC item"]
    assert "report.html" not in collection_of(copied).get_item(JOBS[0]).assets


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ("2023-02-08T08:30:15Z", ("2023-02-08T08:30:15Z", None, None)),
        ("2023-02-08", (None, "2023-02-08T00:00:00Z", "2023-02-08T23:59:59Z")),
        (None, (None, "1970-01-01T00:00:00Z", "2001-09-09T01:46:40Z")),  # until the file was written
    ],
)
def test_the_datetime_of_an_item_is_that_of_its_acquisition(
    copied: list[Task], taken: str | None, expected: tuple[str | None, ...]
) -> None:
    for image in copied[0].job.post.images:
        os.utime(image.path, (0, 1_000_000_000))
    post = replace(copied[0].job.post, taken=taken)
    copied[0] = copied[0]._replace(job=replace(copied[0].job, post=post))
    write(copied)
    item = collection_of(copied).get_item(JOBS[0])
    actual = tuple(item.properties.get(key) for key in ("datetime", "start_datetime", "end_datetime"))
    assert actual == expected
    assert schemas_of(item.to_dict(include_self_link=False))


def test_an_item_of_a_post_disaster_image_without_a_model(copied: list[Task]) -> None:
    copied[0] = copied[0]._replace(job=replace(copied[0].job, pre=None))
    grid = Grid("EPSG:32636", EDGE, TOP, 0.5, 60, 60)
    write_assessment(copied[0], grid, 5, {"id": "none", "fingerprint": "none", "dataset": None})
    write(copied)
    item = collection_of(copied).get_item(JOBS[0])
    assert item.properties["pre_id"] is None
    assert item.properties["processing:lineage"] == (
        "Prepared from post-disaster acquisition post_a1.tif (2023-02-09) without a model: nothing is predicted."
    )
    assert schemas_of(item.to_dict(include_self_link=False))


def test_a_geometry_across_180_degrees_is_split(copied: list[Task]) -> None:
    east, north = Transformer.from_crs(4326, 32760, always_xy=True).transform(180, -18)
    write_assessment(copied[0], Grid("EPSG:32760", east - 50, north, 0.5, 200, 200), 6)
    write(copied)
    item = collection_of(copied).get_item(JOBS[0])
    assert item.geometry["type"] == "MultiPolygon"
    west, east = sorted(part.bounds for part in shapely.from_geojson(json.dumps(item.geometry)).geoms)
    assert west[0] == -180
    assert -180 < west[2] < -179.999
    assert east[2] == 180
    assert 179.999 < east[0] < 180


def test_a_crs_without_an_epsg_code_is_written_as_wkt(copied: list[Task]) -> None:
    wkt = rasterio.crs.CRS.from_string("+proj=tmerc +lon_0=36.5 +x_0=500000 +datum=WGS84 +units=m").to_wkt()
    write_assessment(copied[0], Grid(wkt, 500_000, 4_100_000, 0.5, 60, 60), 8)
    write(copied)
    item = collection_of(copied).get_item(JOBS[0])
    projection = ProjectionExtension.ext(item.assets["damage.tif"])
    assert projection.code is None
    assert rasterio.crs.CRS.from_wkt(projection.wkt2) == rasterio.crs.CRS.from_wkt(wkt)
    assert 36.5 <= item.bbox[0] < item.bbox[2] < 36.501


def test_the_geometry_of_a_raster_without_data_is_its_extent(copied: list[Task]) -> None:
    write_assessment(copied[0], Grid("EPSG:32636", EDGE, TOP, 0.5, 60, 60), 7)

    def no_data(values: AnyArray) -> AnyArray:
        return values * 0 + 255

    with rasterio.open(copied[0].scene / "damage.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
        raster.write(no_data(raster.read()))
        frame = gpd.GeoSeries([shapely.box(*raster.bounds)], crs=raster.crs).to_crs(4326)[0]
    empty = gpd.GeoDataFrame({"name": ["data"]}, geometry=[shapely.MultiPolygon()], crs=32636)
    empty.to_file(copied[0].scene / "buildings.gpkg", layer="valid_area", engine="pyogrio", mode="w")
    write(copied)
    shape = shapely.from_geojson(json.dumps(collection_of(copied).get_item(JOBS[0]).geometry))
    assert shape.symmetric_difference(frame).area / frame.area < 1e-6


def test_a_finished_job_without_a_record_is_refused(copied: list[Task]) -> None:
    (copied[0].scene / "run.json").unlink()
    with pytest.raises(DataError, match="no finished assessment"):
        write(copied)


def test_only_collections_of_campaigns_are_recognised(written: list[Task], tmp_path: Path) -> None:
    assert is_collection(written[0].folder / "collection.json")
    for text in ("", "[]", "{}", '{"id": 5}', '{"id": "vendor"}', '{"type": "Collection", "id": "quake"}'):
        (tmp_path / "collection.json").write_text(text)
        assert not is_collection(tmp_path / "collection.json")
    assert not is_collection(tmp_path / "missing.json")
