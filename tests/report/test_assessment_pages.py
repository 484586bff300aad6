from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import shapely

from browser import BROWSER, open_browser
from xview2_siamese_unet.report.assessment import MapBuildings, MapContent, render_assessment, render_map

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


def content(polygons: list[shapely.Geometry], fact: str = "b1") -> MapContent:
    count = len(polygons)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (2, 40, 60, 3), dtype=np.uint8)
    buildings = MapBuildings(
        polygons=np.array(polygons, dtype=object),
        classes=[number % 5 for number in range(count)],
        confidence=np.array([np.nan if number % 5 == 4 else 0.75 for number in range(count)]),
        area=np.full(count, 12.34),
        facts={"building_id": [fact] * count},
    )
    return MapContent("Town", (pictures[0], pictures[1]), (600, 400), 0.5, buildings, ["before: pre.tif", EVIL])


def embedded(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_polygons_can_be_read_back_from_the_page() -> None:
    holed = shapely.box(10, 10, 50, 40).difference(shapely.box(20, 20, 30, 30))
    building = shapely.MultiPolygon([holed, shapely.box(100.25, 5, 110, 9.9)])
    data = embedded(render_map(content([building])))
    rings = [np.cumsum(np.array(ring).reshape(-1, 2), axis=0) / data["units"] for ring in data["rings"][0]]
    found = shapely.union_all([shapely.Polygon(rings[0], [rings[1]]), shapely.Polygon(rings[2])])
    assert found.symmetric_difference(building).area < 0.5


def test_the_page_has_the_given_classes_confidence_and_area() -> None:
    data = embedded(render_map(content([shapely.box(k, 0, k + 1, 1) for k in range(5)])))
    assert data["class"] == [0, 1, 2, 3, 4]
    assert data["confidence"] == [0.75] * 4 + [None]
    assert data["area"] == [12.3] * 5
    assert [kind["word"] for kind in data["classes"]][3:] == ["destroyed", "not assessed"]


def test_the_page_loads_nothing_and_runs_no_other_script() -> None:
    page = render_map(content([shapely.box(0, 0, 1, 1)], fact=EVIL))
    assert not re.search(r"""<[^>]*(?:src|href)=["']?(?!["']?data:)|url\(|@import|https?://""", page)
    assert "default-src 'none'" in page
    assert page.count("<script") == 2
    assert embedded(page)["facts"]["building_id"] == [EVIL]


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 50_000])
def test_many_buildings_make_a_page_of_limited_size(count: int) -> None:
    corners = np.random.default_rng(0).uniform(0, 20_000, (count, 2))
    boxes = shapely.box(corners[:, 0], corners[:, 1], corners[:, 0] + 20, corners[:, 1] + 15)
    assert len(render_map(content(list(boxes)))) < 25_000_000


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_resized_map_is_drawn_in_its_new_size_before_it_is_painted(tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    page.write_text(render_map(content([shapely.box(0, 0, 10, 10)])), encoding="utf-8")
    with open_browser(tmp_path / "profile") as tab:
        tab.open(page, ready="document.getElementById('map').width === document.getElementById('stage').clientWidth")
        # Observers are called in order, all before the frame is painted.
        sizes = tab.value("""new Promise(done => {
            const map = document.getElementById("map"), stage = document.getElementById("stage");
            new ResizeObserver(() => { if (stage.clientWidth === 500) done([map.width, map.height]); }).observe(stage);
            stage.style.width = "500px"; stage.style.height = "300px"; stage.style.flex = "none";
        })""")
        assert sizes == [500, tab.value("document.getElementById('stage').clientHeight")]
        assert tab.complaints() == []


def test_report_escapes_and_ranks_cells() -> None:
    row = {"buildings": 4, "no-damage": 1, "minor-damage": 0, "major-damage": 1, "destroyed": 1}
    row |= {"abstained": 0, "not_assessed": 1, "obscured": 1, "damaged_share_of_all": 0.5}
    row |= dict.fromkeys(("damaged_share_of_visible", "damaged_share_of_assessed"), 2 / 3)
    worse = row | {"destroyed": 9, "name": "worse"}
    picture = np.zeros((4, 4, 3), np.uint8)
    numbers = {
        "note": "note",
        "all": row,
        "classes": [{"class": "destroyed", "buildings": 1234, "share_of_all": 0.25, "share_of_assessed": None}],
        "cells_500_m": [row | {"name": EVIL}, worse],
        "zones": [row | {"name": "<b>zone</b>"}],
    }
    page = render_assessment("T", numbers, {"before": picture}, {"model": EVIL}, [EVIL])
    assert "<script" not in page
    assert "&lt;b&gt;zone&lt;/b&gt;" in page
    assert "1,234</td><td>25.0%</td><td>–</td>" in page
    assert "50.0% of all, 66.7% of those visible, 66.7% of those assessed" in page
    assert page.index(">worse<") < page.index("&lt;/script&gt;", page.index("south-west"))
