"""The whole pipeline on synthetic rasters with random weights, through the command line and the catalog."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from click.testing import CliRunner, Result
from kedro.io.core import is_parameter
from PIL import Image
from rasterio.features import shapes

from exact_zonal import exact_zonal
from small_store import write_store
from xview2_siamese_unet.assessment import Assessment
from xview2_siamese_unet.assessment import assess as assess_in_python
from xview2_siamese_unet.cli.assess import assess_command, check_command
from xview2_siamese_unet.config.modelling import HardwareParams, ModelParams
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.errors import CheckpointError, DataError
from xview2_siamese_unet.inference.prediction import predict_scenes
from xview2_siamese_unet.inference.reopen import INPUTS
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.pipelines.inference import create_pipeline
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

pytestmark = [
    pytest.mark.filterwarnings("ignore:Accessing the 'model_fields'"),  # Kedro's own
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),  # rasterio's own
]
PRODUCTS = {
    "damage.tif",
    "damage.qml",
    "probability.tif",
    "buildings.gpkg",
    "summary.json",
    "summary.csv",
    "map.html",
    "report.html",
    "run.json",
}


def run(material: Path, out: Path, *options: str, pre: str = "pre.tif") -> Result:
    given = [str(material / pre), str(material / "post.tif"), "--out", str(out)]
    return CliRunner().invoke(assess_command, [*given, "--model", str(material / "model.pth"), *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_assessment_writes_products_that_a_second_run_does_not_replace(
    material: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = project / "result!"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # a GPU whose driver is broken
    done = run(material, out, "--device", "auto")
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} == PRODUCTS | {INPUTS}
    record = json.loads((out / "run.json").read_text())
    page = (
        (Path(__file__).parents[3] / "docs" / "products.md")
        .read_text()
        .partition("## `run.json`")[2]
        .partition("\n## ")[0]
    )
    assert set(re.findall("`([a-z_]+)`", " ".join(re.findall(r"^\| (`[^|]*)\|", page, re.MULTILINE)))) == record.keys()
    assert record["grid"]["crs"] == "EPSG:32615"
    assert record["post"]["crs"] == "EPSG:4326"
    assert any("torch detects no GPU" in warning for warning in record["warnings"])
    assert "torch detects no GPU" in (out / "report.html").read_text()
    _check_rasters(out, record)
    _check_layers(out, record)
    before = contents(out)
    again = run(material, out, "--device", "auto")
    assert again.exit_code == 2
    assert "already holds an assessment" in again.output
    assert contents(out) == before
    replaced = run(material, out, "--device", "auto", "--overwrite")
    assert replaced.exit_code == 0
    after = contents(out)
    assert {name for name in before if after[name] != before[name]} <= {"run.json"}


@pytest.mark.slow
@pytest.mark.parametrize("pixel", [0.3, 0.5])
def test_each_building_is_assessed_from_its_visible_pixels(material: Path, project: Path, pixel: float) -> None:
    """The east of the post-disaster image is black, and the area of interest is a triangle."""
    left, top, side = 486_000.0, 2_148_000.0, 160
    with rasterio.open(material / "pre.tif") as source:
        image = source.read()[:, :side, :side]
    for name in ("square_pre.tif", "square_post.tif"):
        profile = {"dtype": "uint8", "count": 3, "height": side, "width": side, "crs": "EPSG:32614"}
        transform = Affine(pixel, 0, left, 0, -pixel, top)
        with rasterio.open(project / name, "w", driver="GTiff", transform=transform, **profile) as target:
            target.write(image)
        image[:, :, side // 2 :] = 0
    corner = left + side * pixel, top - side * pixel
    area = shapely.Polygon([(left, top), (left, corner[1]), corner])
    gpd.GeoDataFrame(geometry=[area], crs="EPSG:32614").to_file(project / "aoi.gpkg", engine="pyogrio")
    steps = np.arange(3, side - 12, 13) * pixel
    boxes = [
        shapely.box(left + x, top - y - 9.3 * pixel, left + x + 8.7 * pixel, top - y) for x in steps for y in steps
    ]
    gpd.GeoDataFrame(geometry=boxes, crs="EPSG:32614").to_file(project / "houses.gpkg", engine="pyogrio")
    found = assess_in_python(
        project / "square_pre.tif",
        project / "square_post.tif",
        project / "out",
        model=material / "model.pth",
        footprints=project / "houses.gpkg",
        aoi=project / "aoi.gpkg",
        registration="off",
    )
    with rasterio.open(found.products["probability.tif"]) as raster:
        values = raster.read()
    grid = Grid("EPSG:32614", left, top, pixel, side, side)
    rows, columns = np.mgrid[:side, :side]
    black = (image == 0).all(axis=0)
    assert ((values[0] == 255) == (black | (columns > rows))).mean() > 0.99  # except for pixels on the diagonal
    buildings = pyogrio.read_dataframe(found.products["buildings.gpkg"], layer="buildings")
    assert len(buildings) == len(boxes)
    assert buildings["status"].value_counts().min() > 10
    warning = f"{(buildings['status'] == 'not_assessed').sum()} of {len(boxes)} buildings were not assessed"
    assert any(warning in each for each in found.record["warnings"])
    assert warning in found.products["report.html"].read_text()
    for row, shape in zip(buildings.itertuples(), boxes, strict=True):
        visible, means = exact_zonal(shape, grid, values)
        assert row.visible_fraction == pytest.approx(visible, abs=0.001)
        assert (row.status == "not_assessed") == (visible < 0.5)
        if visible > 0.001:
            assert row.built_fraction == pytest.approx(1 - means[0], abs=0.001)


def _check_rasters(out: Path, record: dict) -> None:
    with rasterio.open(out / "damage.tif") as damage, rasterio.open(out / "probability.tif") as probability:
        assert damage.transform == probability.transform
        assert damage.shape == (record["grid"]["height"], record["grid"]["width"])
        assert damage.nodata == probability.nodata == 255
        assert set(np.unique(damage.read())) <= {0, 1, 2, 3, 4, 255}
        assert (damage.read(1) == 255).any()


def _check_layers(out: Path, record: dict) -> None:
    path = out / "buildings.gpkg"
    package = f"GPKG:{path}"  # without the driver, pyogrio would split the path at the exclamation mark
    assert [name for name, _ in pyogrio.list_layers(package)] == ["buildings", "aoi", "valid_area", "layer_styles"]
    buildings = pyogrio.read_dataframe(package, layer="buildings")
    assert buildings.crs.to_epsg() == 32615
    assert len(buildings) == record["buildings"]["buildings"] > 0
    assert buildings["building_id"].is_unique
    assert set(buildings["model_id"]) == {"f" * 12}
    with closing(sqlite3.connect(path)) as file:
        styles = dict(file.execute("SELECT f_table_name, styleQML FROM layer_styles WHERE useAsDefault = 1"))
    assert styles.keys() == {"buildings", "aoi", "valid_area"}
    assert 'label="destroyed"' in styles["buildings"]


@pytest.mark.slow
def test_one_python_call_writes_formats_and_zones(
    material: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(material)
    west, north = 500_000, 4_000_000
    zones = gpd.GeoDataFrame(
        {"name": ["west", "west and east", "nobody"]},
        geometry=[
            shapely.box(west, north - 200, west + 60, north),
            shapely.box(west, north - 200, west + 90, north),
            shapely.box(0, 0, 1, 1),
        ],
        crs="EPSG:32615",
    )
    zones.to_file(project / "zones.gpkg", engine="pyogrio")
    boxes = [shapely.box(west + k, north - 50, west + k + 8, north - 40) for k in range(5, 115, 20)]
    houses = gpd.GeoDataFrame(geometry=boxes, crs="EPSG:32615")
    houses.to_file(project / "houses.gpkg", engine="pyogrio", layer_metadata={"LICENSE": "CC BY <4.0>"})
    monkeypatch.chdir(project)
    found = assess_in_python(
        material / "pre.tif",
        str(material / "post.tif"),
        "out",
        model=str(material / "model.pth"),
        footprints="houses.gpkg",
        zones=project / "zones.gpkg",
        formats=("geojson", "geoparquet"),
        device="cpu",
    )
    assert found.products.keys() == PRODUCTS | {"buildings.geojson", "buildings.parquet"}
    assert all(path.is_file() for path in found.products.values())
    assert (
        found.record["products"]["damage.tif"] == hashlib.sha256((project / "out/damage.tif").read_bytes()).hexdigest()
    )
    assert Image.open(io.BytesIO(found.picture(64))).size == (64, 60)
    assert found.record["polygons"].keys() == {"footprints", "zones"}
    assert found.record["versions"].keys() >= {"torch", "rasterio"}
    _check_sources(found, buildings=len(boxes))
    _check_formats(project / "out")
    _check_zones(found)
    _check_no_path_leaks(found, material)
    again = {"model": material / "model.pth", "overwrite": True}
    fewer = assess_in_python(material / "pre.tif", material / "post.tif", project / "out", **again)
    assert fewer.products.keys() == PRODUCTS == {path.name for path in fewer.folder.iterdir()} - {INPUTS}
    with pytest.raises(DataError, match="already holds an assessment"):
        assess_in_python(material / "pre.tif", material / "post.tif", fewer.folder, model=material / "model.pth")


def _check_sources(found: Assessment, buildings: int) -> None:
    source = {"dataset": None, "licence": "CC BY <4.0>", "date": None, "buildings": buildings}
    assert found.record["polygons"]["footprints"]["sources"] == [source]
    assert json.loads((found.folder / "summary.json").read_text())["footprint_sources"] == [source]
    for page in ("map.html", "report.html"):
        assert "(CC BY &lt;4.0&gt;, date not stated)" in (found.folder / page).read_text()


def _check_formats(folder: Path) -> None:
    text = json.loads((folder / "buildings.geojson").read_text())
    assert "crs" not in text
    package = pyogrio.read_dataframe(folder / "buildings.gpkg", layer="buildings")
    degrees = pyogrio.read_dataframe(folder / "buildings.geojson")
    assert degrees.crs.to_epsg() == 4326
    assert (degrees.total_bounds > [-93.01, 36.1, -93.01, 36.1]).all()
    assert (degrees.total_bounds < [-92.99, 36.2, -92.99, 36.2]).all()
    rings = [shape["geometry"]["coordinates"][0][0] for shape in text["features"]]
    assert all(shapely.is_ccw(shapely.LinearRing(ring)) for ring in rings)
    parquet = gpd.read_parquet(folder / "buildings.parquet")
    for other in (degrees, parquet):
        assert other["building_id"].tolist() == package["building_id"].tolist()
        assert other["damage"].astype("Int8").tolist() == package["damage"].astype("Int8").tolist()
    assert parquet.crs == package.crs
    np.testing.assert_allclose(shapely.area(parquet.geometry), shapely.area(package.geometry))


def _check_zones(found: Assessment) -> None:
    table = found.summary
    zones = table[table["level"] == "zone"].set_index("name")
    assert zones.index.tolist() == ["west", "west and east", "nobody", "outside of all zones"]
    assert zones["buildings"].sum() == table["buildings"][0]  # each once, although zones overlap
    assert (zones["buildings"] > 0).tolist() == [True, True, False, True]
    numbers = json.loads(found.products["summary.json"].read_text())
    assert [row["name"] for row in numbers["zones"]] == zones.index.tolist()
    assert "west and east" in found.products["report.html"].read_text()


def _check_no_path_leaks(found: Assessment, material: Path) -> None:
    """Products may be shared: they contain names of files, but no paths."""
    assert found.record["settings"]["inference"]["model"] == "model.pth"
    for name, path in found.products.items():
        data = path.read_bytes()
        assert not any(str(folder).encode() in data for folder in (material, found.folder.parent.absolute())), name


@pytest.mark.slow
def test_errors_exit_with_2_and_write_nothing(material: Path, project: Path) -> None:
    out = project / "nothing"
    pickle = project / "evil.pth"
    torch.save({"state": pytest.raises}, pickle)
    for options, sentence in (
        (["--model", str(pickle)], "Python objects"),
        (["--model", str(project / "missing.pth")], "is not a file"),
        (["--footprints", str(project / "missing.gpkg")], "no such file"),
    ):
        done = run(material, out, *options)
        assert (done.exit_code, sentence in done.output) == (2, True), done.output
    done = run(material, out, pre="missing.tif")
    assert (done.exit_code, "no such file or folder" in done.output) == (2, True)
    assert not out.exists()


@pytest.mark.parametrize("name", ["missing.pth", "torn.pth", None])
def test_without_a_model_no_image_is_read(
    material: Path, project: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    (project / "torn.pth").write_bytes(b"PK")
    harmonised: list[object] = []
    monkeypatch.setattr("xview2_siamese_unet.pipelines.inference.nodes.harmonise", harmonised.append)
    images = [material / "pre.tif", material / "post.tif"]
    with pytest.raises(CheckpointError):
        assess_in_python(*images, project / "out", model=name and project / name)
    assert not harmonised
    assert not (project / "out").exists()


def test_an_error_is_printed_once_and_without_advice_of_kedro(
    material: Path, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sentence = "no such file or folder"
    done = run(material, project / "out", pre="missing.tif")
    assert done.stderr.count(sentence) == 1
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert logging.getLogger("kedro.runner").isEnabledFor(logging.WARNING)


def test_check_validates_the_inputs_and_writes_nothing(material: Path, project: Path) -> None:
    given = [str(material / f"{phase}.tif") for phase in ("pre", "post")]
    done = CliRunner().invoke(check_command, given)
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(assess_command, [*given, "--check"]).stdout == done.stdout
    report = json.loads(done.stdout)
    assert report["grid"]["crs"] == "EPSG:32615"
    assert report["registration"]["reliable"] is False
    assert [path.name for path in project.iterdir() if path.name not in ("conf", "src", "pyproject.toml")] == []
    assert CliRunner().invoke(assess_command, given).exit_code == 2
    missing = CliRunner().invoke(check_command, [given[0], "missing.tif"])
    assert (missing.exit_code, missing.stdout) == (2, "")


def test_an_unrelated_file_of_the_same_name_is_not_replaced(material: Path, project: Path) -> None:
    out = project / "mine"
    out.mkdir()
    (out / "damage.tif").write_text("mine")
    assert run(material, out).exit_code == 2
    assert contents(out) == {"damage.tif": b"mine"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("boxes", "warnings"),
    [
        ([], ["houses.gpkg has no rows", "the assessment holds no building"]),
        (
            [shapely.box(501_000, 3_999_950, 501_008, 3_999_960)],
            ["none of the 1 footprints lies in the overlap", "1 of 1 buildings were not assessed"],
        ),
    ],
)
def test_an_assessment_without_any_class_warns_in_logs_record_and_pages(
    material: Path, project: Path, caplog: pytest.LogCaptureFixture, boxes: list[shapely.Polygon], warnings: list[str]
) -> None:
    houses = gpd.GeoDataFrame({"id": list(range(len(boxes)))}, geometry=boxes, crs="EPSG:32615")
    pyogrio.write_dataframe(houses, project / "houses.gpkg", geometry_type="Polygon")
    done = run(material, project / "out", "--footprints", str(project / "houses.gpkg"))
    assert done.exit_code == 0, done.output
    record = json.loads((project / "out" / "run.json").read_text())
    pages = [(project / "out" / name).read_text() for name in ("map.html", "report.html")]
    for warning in warnings:
        for text in (" ".join(record["warnings"]), caplog.text, *pages):
            assert warning in text
    found = pyogrio.read_dataframe(project / "out" / "buildings.gpkg", layer="buildings")
    assert len(found) == len(boxes)


@pytest.mark.slow
def test_footprints_inside_the_folder_of_the_products_are_not_touched(material: Path, project: Path) -> None:
    out = project / "mine"
    out.mkdir()
    boxes = [shapely.box(500_010, 3_999_950, 500_018, 3_999_960)]
    houses = gpd.GeoDataFrame({"my_id": ["a"], "owner": ["b"]}, geometry=boxes, crs="EPSG:32615")
    houses.to_file(out / "buildings.gpkg", engine="pyogrio")
    before = contents(out)
    for options in ([], ["--overwrite"]):
        done = run(material, out, "--footprints", str(out / "buildings.gpkg"), *options)
        assert (done.exit_code, "lies where the assessment writes" in done.output) == (2, True), done.output
        assert "--overwrite" not in done.output
        assert contents(out) == before
    (out / "buildings.gpkg").rename(out / "mine.gpkg")
    assert run(material, out, "--footprints", str(out / "mine.gpkg")).exit_code == 0
    assert (out / "mine.gpkg").read_bytes() == before["buildings.gpkg"]


def test_out_in_a_parameters_file_is_refused(material: Path, project: Path) -> None:
    local = project / "conf" / "local" / "parameters.yml"
    local.write_text("inference: {out: elsewhere}")
    given = [str(material / name) for name in ("pre.tif", "post.tif")]
    from kedro.framework.session import KedroSession  # noqa: PLC0415

    from xview2_siamese_unet.errors import ConfigError  # noqa: PLC0415

    model = str(material / "model.pth")
    params = {"inference": {"pre": given[0], "post": given[1], "model": model}}
    with KedroSession.create(project, runtime_params=params) as session, pytest.raises(ConfigError, match="elsewhere"):
        session.run(pipeline_names=["inference"])


CPU = HardwareParams(device="cpu", precision="32-true")
STRONG = {
    "prediction": {"tta": "d4", "vote": "connected", "vote_weights": [1.13, 1.0, 1.0, 1.0]},
    "thresholds": {"building": 0.52, "damaged": 0.49},
    "temperatures": {"building": 0.4, "damage": 0.7},
}


SEED = {"classes": {"unclassified": "class"}}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, STRONG, SEED], ids=["plain", "strong", "seed"])
def test_assessing_a_scene_gives_the_same_classes_as_scoring_it(
    material: Path, project: Path, settings: dict[str, Any]
) -> None:
    side = 96  # as large as a window
    images = np.random.default_rng(0).integers(1, 255, (2, 3, side // 4, side // 4)).astype(np.uint8)
    images = np.kron(images, np.ones((1, 1, 4, 4), np.uint8))
    images[1, :, :20, 30:] = 0  # no data
    for name, image in zip(("scene_pre.tif", "scene_post.tif"), images, strict=True):
        profile = {"dtype": "uint8", "count": 3, "height": side, "width": side, "crs": "EPSG:32615"}
        transform = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
        with rasterio.open(project / name, "w", driver="GTiff", transform=transform, **profile) as target:
            target.write(image)
    checkpoint = torch.load(material / "model.pth", weights_only=True) | settings
    torch.manual_seed(1)
    net = build_net(ModelParams.model_validate(checkpoint["model"]), 6 if "classes" in settings else 5)
    with torch.no_grad():
        net.building_head.weight *= 30  # raise the low confidence of an untrained net
        net.damage_head[-1].weight *= 30
    torch.save({**checkpoint, "state": net.state_dict()}, project / "model.pth")
    scene = np.concatenate([*images.transpose(0, 2, 3, 1), np.zeros((side, side, 2), np.uint8)], axis=2)
    store = write_store(project / "store", {"a": scene})
    (scored,) = predict_scenes(torch.load(project / "model.pth", weights_only=True), store, ["a"], CPU, batch_size=1)
    found = assess_in_python(
        *(project / f"scene_{phase}.tif" for phase in ("pre", "post")),
        project / "out",
        model=project / "model.pth",
        registration="off",
        buildings={"min_area": 0},
    )
    with rasterio.open(found.products["damage.tif"]) as damage, rasterio.open(found.products["probability.tif"]) as p:
        codes, shares = damage.read(1), p.read()
    valid = images.any(axis=1).all(axis=0)
    assert len(np.unique(scored.codes)) > 2
    assert (scored.codes == 5).any() == ("classes" in settings)
    np.testing.assert_array_equal(codes, np.where(valid, scored.codes, 255))
    np.testing.assert_array_equal(shares, np.where(valid, scored.probabilities, 255))
    if settings is STRONG:  # the table holds the class that the raster shows
        buildings = pyogrio.read_dataframe(found.products["buildings.gpkg"], layer="buildings")
        patches = [*shapes(codes, (codes > 0) & (codes < 255), transform=transform)]
        assert len(buildings) == len(patches) > 5
        assert sorted(buildings["damage"]) == sorted(code for _, code in patches)


def test_every_dataset_is_in_the_catalog_with_its_own_file_and_not_copied(project: Path) -> None:
    catalog = UserExperimentConfigLoader(project / "conf", **CONFIG_LOADER_ARGS)["catalog"]
    pipeline = create_pipeline()
    named = {name for name in pipeline.datasets() if not is_parameter(name)}
    assert named <= catalog.keys()
    in_memory = [catalog[name] for name in named if catalog[name]["type"] == "MemoryDataset"]
    assert len(in_memory) == 5
    assert all(entry["copy_mode"] == "assign" for entry in in_memory)
    paths = [catalog[name]["filepath"] for name in pipeline.all_outputs() if "filepath" in catalog[name]]
    assert len(paths) == len(set(paths)) == len(pipeline.all_outputs()) - len(in_memory)
