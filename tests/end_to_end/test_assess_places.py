"""`assess` with the checkpoint of the main job: on synthetic and real scenes, and mosaics in two systems."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
from rio_cogeo.cogeo import cog_validate

from xview2_siamese_unet.assessment import Assessment, assess
from xview2_siamese_unet.config.data_processing import DataProcessingParams
from xview2_siamese_unet.config.dataset import DatasetParams
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.pipelines.data_processing.nodes import list_scenes, parse_labels
from xview2_siamese_unet.raster.export import write_geotiffs
from xview2_siamese_unet.xbd.labels import parse_label

SHARED = Path(__file__).parents[2] / ".." / "shared"
LAYERS = {"buildings", "aoi", "valid_area"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),  # rasterio's own
]


@pytest.fixture(autouse=True)
def _in_project(small_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small_project)


def scenes_of(root: Path, params: DatasetParams) -> pd.DataFrame:
    data = DataProcessingParams()
    _, scenes, _ = parse_labels(root, list_scenes(root, data), params, data, ExecutorParams())
    return scenes[scenes["epsg"].notna()]


def check(assessment: Assessment, epsg: int) -> gpd.GeoDataFrame:
    """Check each product with GDAL and a COG validator, and the styles for QGIS; return the buildings."""
    assert assessment.record["grid"]["crs"] == f"EPSG:{epsg}"
    for name in ("damage.tif", "probability.tif"):
        valid, errors, warnings = cog_validate(assessment.products[name], strict=True)
        assert valid, (errors, warnings)
        with rasterio.open(assessment.products[name]) as raster:
            assert raster.crs.to_epsg() == epsg
    package = assessment.products["buildings.gpkg"]
    for layer in LAYERS:
        assert pyogrio.read_info(package, layer=layer)["crs"] == f"EPSG:{epsg}"
    with closing(sqlite3.connect(package)) as file:
        styled = {row[0] for row in file.execute("SELECT f_table_name FROM layer_styles")}
    hidden = any("of the area is obscured" in warning for warning in assessment.record["warnings"])
    assert styled == LAYERS | ({"obscured"} if hidden else set())
    assert "crs" not in json.loads(assessment.products["buildings.geojson"].read_text())
    assert gpd.read_parquet(assessment.products["buildings.parquet"]).crs.to_epsg() == epsg
    assert all(assessment.products[name].stat().st_size > 1000 for name in ("map.html", "report.html"))
    return pyogrio.read_dataframe(package, layer="buildings")


def test_a_synthetic_scene_is_assessed(main_run: Path, tmp_path: Path) -> None:
    root = main_run / "01_raw" / "sample"
    scene = scenes_of(root, DatasetParams()).iloc[0]
    assessment = assess(*write_geotiffs(root, scene, tmp_path), tmp_path / "out", formats=["geojson", "geoparquet"])
    check(assessment, int(scene["epsg"]))
    assert any("trained on synthetic scenes" in warning for warning in assessment.record["warnings"])
    assert assessment.record["post"]["date"].startswith(scene["post_date"][:4])


@pytest.mark.skipif(not (SHARED / "xbd").is_dir(), reason="needs the real xBD scenes in ../shared/xbd")
def test_real_scenes_are_assessed_with_their_labels_as_footprints(tmp_path: Path) -> None:
    root = (SHARED / "xbd").resolve()
    scenes = scenes_of(root, DatasetParams(source="xbd", root=root, name="real"))
    for disaster in ("hurricane-michael", "palu-tsunami"):
        scene = scenes[(scenes["disaster"] == disaster)].sort_values("buildings").iloc[-1]
        name = (root / scene["post_image"]).stem
        label = parse_label(
            (root / scene["tier"] / "labels" / f"{name}.json").read_bytes(), "post", where=name, georeferenced=True
        )
        ids = [building.uid for building in label.buildings]
        shapes = shapely.from_wkt([building.lng_lat for building in label.buildings])
        footprints = tmp_path / f"{disaster}.geojson"
        gpd.GeoDataFrame({"id": ids}, geometry=shapes, crs="OGC:CRS84").to_file(footprints, engine="pyogrio")
        more = {"footprints": footprints, "formats": ["geojson", "geoparquet"], "model": "default/quickstart"}
        assessment = assess(*write_geotiffs(root, scene, tmp_path), tmp_path / disaster, **more)
        buildings = check(assessment, int(scene["epsg"]))
        assert buildings["building_id"].tolist() == ids
        assert any("trained on synthetic scenes" in warning for warning in assessment.record["warnings"])
        assert (buildings["status"] != "not_assessed").mean() > 0.8
        assert (buildings["reason"] == "obscured").mean() < 0.01


@pytest.mark.skipif(not (SHARED / "joplin").is_dir(), reason="needs the two mosaics in ../shared/joplin")
def test_mosaics_in_two_reference_systems_are_assessed(tmp_path: Path) -> None:
    joplin = (SHARED / "joplin").resolve()
    more = {
        "footprints": joplin / "footprints.geojson",
        "formats": ["geojson", "geoparquet"],
        "model": "default/quickstart",
    }
    assessment = assess(joplin / "pre", joplin / "post", tmp_path / "out", **more)
    buildings = check(assessment, 26915)
    footprints = pyogrio.read_dataframe(joplin / "footprints.geojson")
    assert len(buildings) == len(footprints)
    outside = buildings["reason"] == "outside the overlap of the images"
    assert outside.sum() > 2000
    assert buildings.loc[outside, "damage"].isna().all()
    shift = assessment.record["registration"]
    assert shift["confidence"] > 8
    assert 0.5 < abs(shift["columns"]) < 2
    assert assessment.record["shift_px"] == [0, 0]  # less than two pixels are not corrected
