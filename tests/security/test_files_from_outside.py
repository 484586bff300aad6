"""Untrusted rasters, footprints and images cannot make GDAL read other files, use the network or run a command."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.footprints import read_polygons
from xview2_siamese_unet.raster import io, source
from xview2_siamese_unet.raster.io import read_rgb
from xview2_siamese_unet.raster.source import open_raster, read_source

SOURCE = Path(__file__).parents[2] / "src"
ENDINGS = {
    "GPKG": ".gpkg",
    "GeoJSON": ".geojson",
    "GeoJSONSeq": ".geojsonl",
    "FlatGeobuf": ".fgb",
    "ESRI Shapefile": ".shp",
}
VRT = """<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>
</VRTDataset>"""


def footprints(path: Path, driver: str = "GPKG") -> Path:
    frame = gpd.GeoDataFrame({"id": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    frame.to_file(path, driver=driver)
    return path


def image(path: Path, value: int, side: int = 256, **overviews: str) -> Path:
    profile = {"dtype": "uint8", "count": 3, "crs": "EPSG:32615", "transform": Affine(0.5, 0, 5e5, 0, -0.5, 4e6)}
    with rasterio.open(path, "w", driver="GTiff", width=side, height=side, **profile) as target:
        target.write(np.full((3, side, side), value, np.uint8))
        target.update_tags(ns="OVERVIEWS", **overviews)
    return path


@pytest.mark.parametrize(("driver", "ending"), ENDINGS.items())
def test_footprints_of_each_format_are_read(tmp_path: Path, driver: str, ending: str) -> None:
    assert len(read_polygons(footprints(tmp_path / f"a{ending}", driver), "EPSG:4326", "x").frame) == 1


@pytest.mark.parametrize("ending", [*ENDINGS.values(), ".json", ".parquet"])
@pytest.mark.parametrize("lead", ["", "{ ", "\n"])
def test_footprints_that_name_another_file_are_refused(tmp_path: Path, ending: str, lead: str) -> None:
    secret = footprints(tmp_path / "secret.gpkg")
    layer = f'<OGRVRTLayer name="secret"><SrcDataSource>{secret}</SrcDataSource></OGRVRTLayer>'
    path = tmp_path / f"a{ending}"
    path.write_text(f"{lead}<OGRVRTDataSource>{layer}</OGRVRTDataSource>")
    with pytest.raises(DataError, match="cannot be read"):
        read_polygons(path, "EPSG:4326", "x")


def test_footprints_that_make_gdal_run_a_command_are_refused(tmp_path: Path) -> None:
    secret = footprints(tmp_path / "secret.gpkg")
    command = f"gdal vector pipeline ! read {secret} ! write --of=stream streamed"
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "gdal_streamed_alg", "command_line": command}))
    with pytest.raises(DataError, match="cannot be read"):
        read_polygons(tmp_path / "a.geojson", "EPSG:4326", "x")


@pytest.mark.parametrize("ending", [".ovr", ".msk"])
def test_an_image_whose_overviews_or_mask_name_other_files_is_refused(tmp_path: Path, ending: str) -> None:
    secret, path = image(tmp_path / "secret.bin", 99), image(tmp_path / "a.tif", 1, 512)
    path.with_name(f"a.tif{ending}").write_text(VRT.format(side=256, source=secret))
    with pytest.raises(DataError, match=rf"a\.tif\{ending} is not a TIFF"):
        read_source(path)


def test_an_image_whose_tags_name_another_file_is_refused(tmp_path: Path) -> None:
    secret = image(tmp_path / "secret.bin", 99)
    with pytest.raises(DataError, match=rf"overviews in {re.escape(str(secret))}"):
        read_source(image(tmp_path / "a.tif", 1, 512, OVERVIEW_FILE=str(secret)))


def test_overviews_next_to_an_image_are_used(tmp_path: Path) -> None:
    path = image(tmp_path / "a.tif", 1, 512)
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as target:
        target.build_overviews([2])
    assert path.with_name("a.tif.ovr").exists()
    with open_raster(path) as source:
        assert source.overviews(1) == [2]


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_a_scene_that_is_a_vrt_with_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    secret = image(tmp_path / "secret.tif", 99)
    (tmp_path / name).write_text(VRT.format(side=256, source=secret))
    with pytest.raises(DataError):
        read_rgb(tmp_path / name)


def test_rasters_open_with_three_drivers() -> None:
    assert {*io.IMAGE_DRIVERS.values(), *source.SOURCE_DRIVERS.values()} == {"PNG", "GTiff", "VRT"}


OPENED = re.compile(r"\brasterio\.open\(([^()]|\([^()]*\))*\)")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.name)
def test_the_code_opens_files_with_explicit_drivers_and_loads_no_pickles(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert all("driver=" in found.group() or '"w"' in found.group() for found in OPENED.finditer(text))
    assert all("weights_only=True" in call for call in re.findall(r"torch\.load\(.*?\)\n", text, re.DOTALL))
    assert all("allow_pickle=False" in call for call in re.findall(r"np\.(?:load|save)\(.*\)\n", text))
    assert not re.search(
        r"\b(pickle\.|joblib|shelve|yaml\.load\(|yaml\.unsafe|eval\(|os\.system|shell=True)", text.replace(".eval(", "")
    )
    assert not re.search(r"\b(urllib|requests|httpx|aiohttp|socket\.create)\b", text)
    assert "|safe" not in text


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.j2")), ids=lambda path: path.name)
def test_no_template_turns_escaping_off(path: Path) -> None:
    assert not re.search(r"autoescape\s+false", path.read_text(encoding="utf-8"))


def test_every_template_environment_escapes() -> None:
    texts = [path.read_text() for path in SOURCE.rglob("*.py")]
    made = [text.count(" Environment(") for text in texts if "from jinja2 import" in text]
    assert sum(made) == 1  # for all pages
    assert made == [text.count("autoescape=True") for text in texts if "from jinja2 import" in text]


def test_nothing_is_installed_from_outside_the_registry() -> None:
    project = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text())
    assert not [name for name in project["project"]["dependencies"] if "@" in name]
    assert not {"sources", "index", "extra-index-url"} & project["tool"]["uv"].keys()
