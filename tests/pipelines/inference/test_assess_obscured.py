"""Assessments with a cloud and with a mask, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner

from xview2_siamese_unet.cli.assess import assess_command

pytestmark = [
    pytest.mark.filterwarnings("ignore:Accessing the 'model_fields'"),  # Kedro's own
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),  # rasterio's own
]
SIDE = 160
LEFT, TOP = 500_000.0, 4_000_000.0


def metres(left: float, top: float, right: float, bottom: float) -> shapely.Polygon:
    """A rectangle in pixels of 0.5 m."""
    return shapely.box(LEFT + left / 2, TOP - bottom / 2, LEFT + right / 2, TOP - top / 2)


@pytest.fixture
def arguments(project: Path) -> list[str]:
    """Arguments for a pair with a cloud in the east, a mask of the north, and a house in each quarter."""
    rng = np.random.default_rng(0)
    for name in ("clear", "cloudy"):
        image = np.kron(rng.integers(1, 120, (3, SIDE // 2, SIDE // 2)), np.ones((2, 2))).astype(np.uint8)
        if name == "cloudy":
            image[:, :, SIDE // 2 :] = 220
        profile = {"dtype": "uint8", "count": 3, "height": SIDE, "width": SIDE, "crs": "EPSG:32615"}
        transform = Affine(0.5, 0, LEFT, 0, -0.5, TOP)
        with rasterio.open(project / f"{name}.tif", "w", driver="GTiff", transform=transform, **profile) as target:
            target.write(image)
    houses = [metres(x, y, x + 20, y + 20) for y in (20, 120) for x in (20, 120)]
    frame = gpd.GeoDataFrame({"id": ["nw", "ne", "sw", "se"]}, geometry=houses, crs="EPSG:32615")
    frame.to_file(project / "houses.gpkg", engine="pyogrio")
    mask = gpd.GeoDataFrame(geometry=[metres(0, 0, SIDE, 60)], crs="EPSG:32615")
    mask.to_file(project / "clouds.gpkg", engine="pyogrio")
    return ["clear.tif", "cloudy.tif", "--out", "found", "--footprints", "houses.gpkg"]


@pytest.mark.slow
def test_buildings_below_clouds_or_masks_are_obscured(material: Path, project: Path, arguments: list[str]) -> None:
    model = ["--model", str(material / "model.pth")]
    done = CliRunner().invoke(assess_command, [*arguments, *model, "--mask", "clouds.gpkg"])
    assert done.exit_code == 0, done.output
    buildings = pyogrio.read_dataframe(project / "found" / "buildings.gpkg", layer="buildings")
    obscured = buildings.set_index("building_id")["reason"] == "obscured"
    assert obscured.to_dict() == {"nw": True, "ne": True, "sw": False, "se": True}
    assert (buildings.loc[buildings["reason"] == "obscured", "obscured_fraction"] == 1).all()
    layer = pyogrio.read_dataframe(project / "found" / "buildings.gpkg", layer="obscured")
    expected = shapely.union_all([metres(80, 0, 160, 160), metres(0, 0, 160, 60)])
    assert layer.union_all().symmetric_difference(expected).area < 0.06 * expected.area
    record = json.loads((project / "found" / "run.json").read_text())
    assert record["buildings"]["obscured"] == 3
    assert record["polygons"]["mask 1"]["name"] == "clouds.gpkg"
    assert record["settings"]["inference"]["masks"] == ["clouds.gpkg"]
    assert any("of the area is obscured (by the images" in warning for warning in record["warnings"])
    assert "3 of 4 buildings were not assessed: 3 obscured" in record["warnings"]
    assert "and 3 are obscured" in (project / "found" / "report.html").read_text()
    replaced = CliRunner().invoke(assess_command, [*arguments, *model, "--overwrite", "--mask", "found/buildings.gpkg"])
    assert replaced.exit_code == 2
    assert "lies where the assessment writes its products" in replaced.output


def test_one_image_can_be_assessed_without_a_model(project: Path, arguments: list[str]) -> None:
    done = CliRunner().invoke(assess_command, ["none", *arguments[1:], "--model", "none"])
    assert done.exit_code == 0, done.output
    buildings = pyogrio.read_dataframe(project / "found" / "buildings.gpkg", layer="buildings")
    assert buildings["reason"].tolist() == ["no model", "obscured", "no model", "obscured"]
