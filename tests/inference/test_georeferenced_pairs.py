"""Georeferencing of images: control points, none at all, heights, several zones, and 180 degrees of longitude."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from rasterio.control import GroundControlPoint
from rasterio.rio.main import main_group
from rasterio.rpc import RPC
from rasterio.warp import Resampling, reproject

from image_pair import Smooth, Write, pair_of, whole
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.datasets.assessment import FormatsDataset
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.buildings import geodesic_areas
from xview2_siamese_unet.inference.pair import harmonise
from xview2_siamese_unet.inference.summary import assign_zones, summary_table

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
HEIGHT, WIDTH = 200, 300


def with_points(path: Path, image: np.ndarray, bend: float) -> Path:
    """Write an image georeferenced only by control points, of which the middle row is `bend` metres off the grid."""
    points = [
        GroundControlPoint(row, column, 500_000 + column / 2, 4_000_000 - row / 2 + bend * (row == 100))
        for row in (0, 100, 200)
        for column in (0, 150, 300)
    ]
    profile = {"height": HEIGHT, "width": WIDTH, "count": 3, "dtype": "uint8", "photometric": "RGB"}
    with rasterio.open(path, "w", driver="GTiff", **profile) as raster:
        raster.gcps = points, rasterio.crs.CRS.from_epsg(32615)
        raster.write(np.moveaxis(image, 2, 0))
    return path


def test_control_points_on_a_grid_georeference_an_image(write_raster: Write, smooth: Smooth, tmp_path: Path) -> None:
    image = smooth()
    plain, placed = write_raster("plain.tif", image), with_points(tmp_path / "placed.tif", image, 0)
    aligned = whole(pair_of(plain, placed))
    np.testing.assert_array_equal(aligned.pre, aligned.post)
    assert aligned.valid.all()


def test_bent_control_points_are_refused_with_a_remedy_that_works(
    write_raster: Write, smooth: Smooth, tmp_path: Path
) -> None:
    plain, bent = write_raster("plain.tif", smooth()), with_points(tmp_path / "bent.tif", smooth(), 4)
    with pytest.raises(DataError, match="9 ground control points") as refused:
        pair_of(plain, bent)
    command = refused.value.hint.split("rio ")[1].split()
    assert command == ["warp", "bent.tif", "warped.tif", "--dst-crs", "EPSG:32615"]
    paths = [str(tmp_path / name) if name.endswith(".tif") else name for name in command]
    done = CliRunner().invoke(main_group, paths)
    assert done.exit_code == 0, done.output
    aligned = whole(pair_of(plain, tmp_path / "warped.tif"))
    assert aligned.valid.mean() > 0.9
    # The middle row of the image lies 4 m, 8 pixels, further north than in the plain one.
    assert np.abs(aligned.post[92, 20:-20].astype(int) - aligned.pre[100, 20:-20]).mean() < 3


def test_an_image_without_a_georeference_is_refused(write_raster: Write, smooth: Smooth) -> None:
    good = write_raster("good.tif", smooth())
    lost = write_raster("lost.tif", smooth(), Affine.identity())
    for pair in ((good, lost), (lost, lost)):
        with pytest.raises(DataError, match=r"lost\.tif has no transform"):
            pair_of(*pair)
    raw = write_raster("raw.tif", smooth(), Affine.identity(), crs=None)
    with rasterio.open(raw, "r+") as raster:
        line = [1.0, *[0.0] * 19]
        raster.rpcs = RPC(0, 1, 36, 1, line, line, 0, 1, -93, 1, line, line, 0, 1)
    with pytest.raises(DataError, match=r"not orthorectified: .* \(RPC\)") as refused:
        pair_of(good, raw)
    assert "gdalwarp -rpc" in refused.value.hint


def test_the_horizontal_part_of_a_compound_system_is_used(write_raster: Write, smooth: Smooth) -> None:
    image = smooth()
    high = write_raster("high.tif", image, crs="EPSG:32615+5773")
    write_raster("tiles/a.tif", image[:, :120], crs="EPSG:32615+5773")
    write_raster("tiles/b.tif", image[:, 120:], Affine(0.5, 0, 500_060, 0, -0.5, 4_000_000))
    harmonised = pair_of(high, high.with_name("tiles"))
    assert harmonised.pair.grid.crs == "EPSG:32615"
    pre, post, valid = whole(harmonised)
    np.testing.assert_array_equal(pre, post)
    assert valid.all()


def warped(write: Write, target: tuple[str, str, Affine], source: Path, via: str) -> Path:
    """Write an image by name, reference system and transform; `via` is the system in which it is resampled."""
    name, crs, transform = target
    image = np.zeros((3, 480, 480), np.uint8)
    with rasterio.open(source) as raster:
        options = {"src_transform": raster.transform, "src_crs": raster.crs, "resampling": Resampling.bilinear}
        reproject(raster.read(), image, dst_transform=transform, dst_crs=via, **options)
    return write(name, np.moveaxis(image, 0, 2), transform, crs=crs)


def north_up(pixel: float, left: float, top: float) -> Affine:
    return Affine(pixel, 0, left, 0, -pixel, top)


def test_tiles_of_one_image_in_two_utm_zones_are_joined(write_raster: Write, smooth: Smooth) -> None:
    """The border of zones 14 and 15 runs through the image."""
    east, north = pyproj.Transformer.from_crs(4326, 32614, always_xy=True).transform(-96.0, 19.2)
    transform = Affine(0.5, 0, round(east) - 75, 0, -0.5, round(north) + 50)
    pre = write_raster("pre.tif", smooth(), transform, crs="EPSG:32614")
    write_raster("post/a.tif", smooth()[:, :160], transform, crs="EPSG:32614")
    east, north = pyproj.Transformer.from_crs(4326, 32615, always_xy=True).transform(-96.0, 19.2)
    other = north_up(0.5, round(east) - 100, round(north) + 100)
    warped(write_raster, ("post/b.tif", "EPSG:32615", other), pre, "EPSG:32615")
    harmonised = pair_of(pre, pre.with_name("post"))
    before, after, valid = whole(harmonised)
    assert harmonised.pair.grid.crs == "EPSG:32614"
    assert valid.mean() > 0.995
    assert np.abs(before.astype(int) - after)[valid].max() <= 6


@pytest.fixture
def across(write_raster: Write, smooth: Smooth) -> dict[str, Path]:
    """An image of 150 × 100 m across 180 degrees in three systems, and areas that are split there as in RFC 7946."""
    longitude, latitude = 180.0, -16.85
    east, north = pyproj.Transformer.from_crs(4326, 32760, always_xy=True).transform(longitude, latitude)
    transform = Affine(0.5, 0, round(east) - 75, 0, -0.5, round(north) + 50)
    utm = write_raster("utm.tif", smooth(), transform, crs="EPSG:32760")
    degrees, minus = (
        warped(
            write_raster,
            (f"{turn}.tif", "EPSG:4326", north_up(4.6e-6, turn - 0.0011, -16.8489)),
            utm,
            f"+proj=longlat +lon_wrap={turn} +datum=WGS84",
        )
        for turn in (180, -180)
    )
    east, north = pyproj.Transformer.from_crs(4326, 32701, always_xy=True).transform(-180.0, latitude)
    other = north_up(0.5, round(east) - 120, round(north) + 120)
    zone = warped(write_raster, ("zone.tif", "EPSG:32701", other), utm, "EPSG:32701")
    west, east_part = shapely.box(179.9, -16.95, 180, -16.75), shapely.box(-180, -16.95, -179.9, -16.75)
    files: dict[str, Any] = {"aoi": [shapely.MultiPolygon([west, east_part])], "zones": [west, east_part]}
    paths = {"utm": utm, "degrees": degrees, "minus": minus, "zone": zone}
    for name, shapes in files.items():
        paths[name] = utm.with_name(f"{name}.geojson")
        frame = gpd.GeoDataFrame({"name": ["west", "east"][: len(shapes)]}, geometry=shapes, crs="OGC:CRS84")
        frame.to_file(paths[name], engine="pyogrio")
    return paths


@pytest.mark.parametrize("post", ["utm", "degrees", "minus", "zone"])
@pytest.mark.parametrize("pre", ["utm", "degrees"])
@pytest.mark.parametrize("area", [False, True])
def test_images_across_180_degrees_are_aligned(across: dict[str, Path], pre: str, post: str, area: bool) -> None:
    aoi = across["aoi"] if area else None
    harmonised = harmonise(InferenceParams(pre=across[pre], post=across[post], aoi=aoi, registration="off"))
    before, after, valid = whole(harmonised)
    # All pixels of the plain image; resampled ones lose some along their edges.
    metres = valid.sum() * harmonised.pair.grid.pixel**2
    assert metres == pytest.approx(150 * 100, rel=0 if pre == post == "utm" else 0.02)
    assert np.abs(before.astype(int) - after)[valid].max() <= 8


def test_an_area_on_one_side_of_180_degrees_limits_the_pair(across: dict[str, Path]) -> None:
    side = across["zones"].with_name("west.geojson")
    gpd.read_file(across["zones"])[:1].to_file(side, engine="pyogrio")
    valid = whole(harmonise(InferenceParams(pre=across["utm"], post=across["utm"], aoi=side, registration="off"))).valid
    assert valid.sum() / 4 == pytest.approx(75 * 100, rel=0.02)


@pytest.mark.parametrize("form", ["jumping", "counting on", "in metres"])
def test_areas_and_zones_across_180_degrees_need_no_split(across: dict[str, Path], form: str) -> None:
    """As written by tools that do not follow RFC 7946, or converted from a UTM zone."""
    longitudes = {"jumping": (179.9, -179.9), "counting on": (179.9, 180.1), "in metres": (179.9, 180.1)}[form]
    area = shapely.Polygon(
        [(x, y) for x, y in zip([*longitudes, *longitudes[::-1]], [-17, -17, -16, -16], strict=True)]
    )
    frame = gpd.GeoDataFrame({"name": ["both"]}, geometry=[area], crs="OGC:CRS84")
    aoi = across["aoi"].with_name("whole.gpkg")
    (frame.to_crs("EPSG:32760") if form == "in metres" else frame).to_file(aoi, engine="pyogrio")
    given = {"pre": across["utm"], "post": across["utm"], "aoi": aoi, "zones": aoi}
    harmonised = harmonise(InferenceParams(**given, registration="off"))
    assert whole(harmonised).valid.all()
    grid = harmonised.pair.grid
    middle, east = grid.left + grid.width * grid.pixel / 2, grid.left + grid.width * grid.pixel
    houses = [shapely.box(x - 5, grid.top - 20, x + 5, grid.top - 10) for x in (grid.left + 9, middle, east - 9)]
    facts = {"damage_label": "no-damage", "status": "assessed", "reason": None}
    buildings = gpd.GeoDataFrame(facts, index=range(3), geometry=houses, crs=grid.crs)
    table = summary_table(buildings, assign_zones(buildings, harmonised.zones))
    assert table[table["level"] == "zone"]["buildings"].tolist() == [3, 0]
    assert geodesic_areas(buildings) == pytest.approx(100, rel=0.003)
    FormatsDataset(filepath=str(aoi.with_name("buildings.gpkg"))).save({"geojson": buildings})
    written = json.loads(aoi.with_name("buildings.geojson").read_text())["features"]
    assert [feature["geometry"]["type"] for feature in written] == ["Polygon", "MultiPolygon", "Polygon"]  # cut at 180


def test_zones_on_either_side_of_180_degrees_count_their_buildings(across: dict[str, Path]) -> None:
    harmonised = harmonise(
        InferenceParams(pre=across["utm"], post=across["utm"], zones=across["zones"], registration="off")
    )
    grid = harmonised.pair.grid
    houses = [shapely.box(x, grid.top - 20, x + 8, grid.top - 10) for x in grid.left + np.array([10, 30, 120])]
    facts = {"damage_label": "no-damage", "status": "assessed", "reason": None}
    buildings = gpd.GeoDataFrame(facts, index=range(3), geometry=houses, crs=grid.crs)
    table = summary_table(buildings, assign_zones(buildings, harmonised.zones))
    assert table[table["level"] == "zone"]["buildings"].tolist() == [2, 1, 0]
