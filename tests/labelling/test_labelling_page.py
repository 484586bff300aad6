"""The labelling page as a file: pictures, outlines, escaping, size."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from PIL import Image
from roofs import EVIL, IDS, SIDE

from image_pair import Write, pair_of
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.labelling.page import labelling_page
from xview2_siamese_unet.raster.reader import Pair

REAL = Path(__file__).parents[2] / ".." / "shared" / "santa_rosa" / "tier3" / "images"
IMAGES = ("pre", "post")


def content(page: str) -> dict[str, Any]:
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return dict(json.loads(data))


def picture(uri: str) -> np.ndarray:
    head, _, text = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def test_the_outline_lies_on_the_building_in_both_pictures(pair: Pair, roofs: gpd.GeoDataFrame) -> None:
    data = content(labelling_page(roofs, pair, IDS, show_prediction=False))
    assert [each["id"] for each in data["buildings"]] == IDS
    for entry in data["buildings"]:
        points = np.array([float(each) for each in re.findall(r"[\d.]+", entry["path"])]).reshape(-1, 2)
        for name, colour in (("pre", 0), ("post", 2)):
            image = picture(entry[name]).astype(int)
            assert image.shape[:2] == (200, 200)  # 100 m
            (west, north), (east, south) = (each / 1000 * 200 for each in (points.min(0), points.max(0)))
            inside = image[round(north) + 2 : round(south) - 2, round(west) + 2 : round(east) - 2]
            assert (inside[..., colour] - inside[..., 2 - colour]).min() > 100
            assert (image[..., colour] - image[..., 2 - colour] > 100).sum() == pytest.approx(SIDE**2, rel=0.1)
        assert entry["zoom"] == pytest.approx(200 / 60, abs=0.01)  # 30 m are shown at first
        assert entry["metres"] == 100


def test_the_geometry_on_the_page_is_the_footprint_in_degrees(pair: Pair, roofs: gpd.GeoDataFrame) -> None:
    data = content(labelling_page(roofs, pair, [IDS[5]], show_prediction=False))
    footprint = shapely.geometry.shape(data["buildings"][0]["geometry"])
    placed = gpd.GeoSeries([footprint], crs="OGC:CRS84").to_crs(roofs.crs)[0]
    assert placed.symmetric_difference(roofs.geometry[5]).area < 0.5


def test_predictions_are_shown_only_on_request(pair: Pair, roofs: gpd.GeoDataFrame) -> None:
    hidden = labelling_page(roofs, pair, IDS, show_prediction=False)
    assert "0.77" not in hidden
    assert not any(each["prediction"] for each in content(hidden)["buildings"])
    shown = content(labelling_page(roofs, pair, IDS, show_prediction=True))["buildings"]
    assert [each["prediction"] for each in shown[2:4]] == [
        "major-damage, confidence 0.77",
        "none (only 10% of it is visible)",
    ]


def test_text_is_escaped_and_only_the_script_of_the_page_runs(pair: Pair, roofs: gpd.GeoDataFrame) -> None:
    page = labelling_page(roofs, pair, [EVIL], show_prediction=True, title="<b>&")
    assert EVIL not in page
    assert "<b>" not in page.replace("<b>No", "").replace("<b>M", "").replace("<b>Destroyed", "").replace(
        "<b>Cannot", ""
    )
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert len(scripts) == 1
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page
    assert not re.findall(r"https?://", page)


def test_the_page_is_deterministic_and_labels_are_stored_by_its_content(pair: Pair, roofs: gpd.GeoDataFrame) -> None:
    page = labelling_page(roofs, pair, IDS, show_prediction=False)
    assert labelling_page(roofs, pair, IDS, show_prediction=False) == page
    assert content(labelling_page(roofs, pair, IDS[::-1], show_prediction=False))["key"] != content(page)["key"]


def test_images_without_data_are_left_out(write_raster: Write, roofs: gpd.GeoDataFrame) -> None:
    """Black is no data, here in the west of the pre-disaster image."""
    images = [np.full((400, 500, 3), 90, np.uint8) for _ in range(2)]
    images[0][:, :250] = 0
    pair = pair_of(write_raster("pre.tif", images[0]), write_raster("post.tif", images[1])).pair
    data = content(labelling_page(roofs, pair, [IDS[0], IDS[3]], show_prediction=False))
    assert [each["pre"] is None for each in data["buildings"]] == [True, False]
    assert all(each["post"] for each in data["buildings"])
    assert data["pre"] is True
    assert content(labelling_page(roofs, pair, [IDS[0]], show_prediction=False))["pre"] is False
    alone = labelling_page(roofs, replace(pair, pre=pair.post, post_only=True), [IDS[3]], show_prediction=False)
    assert [(each["pre"] is None, each["post"] is None) for each in content(alone)["buildings"]] == [(True, False)]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["zz", "a,1"], "1 of 2 buildings to label are not in the assessment, the first is 'zz'"),
        (["7", "7"], "1 buildings are listed twice"),
        ([], "0 of 0"),
    ],
)
def test_ids_that_cannot_be_shown_are_refused(
    pair: Pair, roofs: gpd.GeoDataFrame, ids: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        labelling_page(roofs, pair, ids, show_prediction=False)


def test_a_building_outside_of_the_images_is_refused(pair: Pair, roofs: gpd.GeoDataFrame) -> None:
    away = roofs.set_geometry(roofs.geometry.translate(5000))
    with pytest.raises(DataError, match="12 buildings lie outside of the images"):
        labelling_page(away, pair, IDS, show_prediction=False)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="no real scenes next to the project")
def test_two_hundred_real_buildings_stay_below_twenty_megabytes(write_raster: Write) -> None:
    """With pixels of 0.3 m, pictures have their largest size."""
    scene = sorted(REAL.glob("*_post_disaster.png"))[0]
    images = [
        np.asarray(Image.open(scene.with_name(scene.name.replace("post", name))).convert("RGB")) for name in IMAGES
    ]
    transform = Affine(0.3, 0, 500_000, 0, -0.3, 4_000_000)
    pair = pair_of(
        *(write_raster(f"{name}.tif", image, transform) for name, image in zip(IMAGES, images, strict=True))
    ).pair
    points = np.random.default_rng(0).uniform(50, 250, (200, 2))
    outlines = [shapely.box(500_000 + x, 4_000_000 - y - 10, 500_000 + x + 12, 4_000_000 - y) for x, y in points]
    ids = [str(number) for number in range(200)]
    frame = gpd.GeoDataFrame({"building_id": ids, "area_m2": 120.0}, geometry=outlines, crs="EPSG:32615")
    page = labelling_page(frame, pair, ids, show_prediction=False)
    assert picture(content(page)["buildings"][0]["pre"]).shape == (320, 320, 3)
    assert 5e6 < len(page.encode()) < 20e6
