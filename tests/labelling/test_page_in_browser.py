"""The labelling page in a real browser, by keyboard, from disk and without a network."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from roofs import EVIL, IDS

from browser import BROWSER, Tab, open_browser
from image_pair import Write, pair_of
from xview2_siamese_unet.labelling.labels import read_labels
from xview2_siamese_unet.labelling.page import labelling_page
from xview2_siamese_unet.raster.reader import Pair

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")]


@pytest.fixture
def page(pair: Pair, roofs: gpd.GeoDataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "a folder" / "label.html"
    path.parent.mkdir()
    path.write_text(labelling_page(roofs, pair, IDS, show_prediction=False), encoding="utf-8")
    return path


def export(tab: Tab, button: str, folder: Path) -> Path:
    """Reach a button with Tab, press Enter and wait for the file."""
    folder.mkdir(exist_ok=True)
    tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    tab.focus(f"#{button}")
    tab.press("Enter")
    path = folder / f"damage_labels.{button}"
    tab.wait("document.getElementById('status').textContent.includes('exported')")
    for _ in range(200):
        if path.is_file() and path.stat().st_size:
            break
        tab.value("new Promise(done => setTimeout(done, 20))")
    return path


def labels_of(path: Path, roofs: gpd.GeoDataFrame) -> dict[str, int | None]:
    labels = read_labels(path, roofs)
    codes = labels["damage"].astype(object).where(labels["damage"].notna(), None)
    return dict(zip(labels["building_id"], codes, strict=True))


def test_labels_survive_undo_reload_and_export(page: Path, roofs: gpd.GeoDataFrame, tmp_path: Path) -> None:
    with open_browser(tmp_path / "profile") as tab:
        tab.open(page)
        assert tab.text("where").startswith("Building 1 of 12 · a,1 ·")
        tab.press("1", "4", "U", "3", "2")
        assert tab.text("count") == "5 of 12 labelled"
        assert tab.text("where").startswith("Building 6 of 12")
        tab.press("x")
        assert (tab.text("count"), tab.text("status")) == ("4 of 12 labelled", "Undone. Building 5: no label.")
        tab.press("3", "0", "ArrowLeft", "ArrowLeft", "4", "n")
        assert tab.text("where").startswith("Building 7 of 12")
        tab.open(page)
        assert tab.text("status") == "6 labels restored. Building 7 of 12."
        tab.press("Backspace")  # what was undone before a reload can be undone after it
        assert tab.text("status") == "Undone. Building 5: Major damage."
        csv, geojson = export(tab, "csv", tmp_path / "out"), export(tab, "geojson", tmp_path / "out")
        assert tab.requests() == [page.as_uri()] * 2
        assert tab.complaints() == []
    expected = {"a,1": 1, EVIL: 4, "=3": None, "7": 3, "b0": 3, "b1": 0}
    for path in (csv, geojson):
        assert labels_of(path, roofs) == expected
    features = json.loads(geojson.read_text())["features"]
    assert features[5]["properties"] == {"building_id": "b1", "damage": "no-building"}
    moved = gpd.read_file(geojson, engine="pyogrio").to_crs(roofs.crs)
    assert moved.geometry.intersection(roofs.geometry[:6]).area.min() > 143


def test_every_view_and_button_works_without_a_mouse(page: Path, tmp_path: Path) -> None:
    with open_browser(tmp_path / "profile") as tab:
        tab.open(page)
        zoom = "getComputedStyle(document.querySelector('#post .sheet')).transform"
        over = "getComputedStyle(document.querySelector('.over')).clipPath"
        close = tab.value(zoom)
        tab.press("z")
        assert close == "matrix(3.333, 0, 0, 3.333, 0, 0)"
        assert tab.value(zoom) in ("matrix(1, 0, 0, 1, 0, 0)", "none")
        tab.press("b")
        assert "0%" in tab.value(over)
        assert "pre-disaster" in tab.value("document.querySelector('#post figcaption').textContent")
        tab.press("ArrowRight")  # the next building starts with its post-disaster image
        assert "100%" in tab.value(over)
        tab.press("]", "]", "[")
        assert "90%" in tab.value(over)
        tab.press("o")
        assert tab.value("document.querySelector('#post path').getAttribute('d')") == ""
        tab.focus("#swipe")
        tab.press("ArrowRight")  # moves the slider, not to the next building
        assert tab.text("where").startswith("Building 2 of 12")
        assert "80%" in tab.value(over)
        tab.focus("[data-answer='3']")
        tab.press("Enter")
        assert tab.text("status") == "Destroyed. Building 3 of 12."
        tab.press("z", modifiers=2)
        assert tab.text("status") == "Undone. Building 2: no label."
        assert tab.complaints() == []


def test_an_exported_file_is_imported_after_starting_over(page: Path, roofs: gpd.GeoDataFrame, tmp_path: Path) -> None:
    with open_browser(tmp_path / "profile") as tab:
        tab.open(page)
        tab.press("1", "2", "3")
        csv = export(tab, "csv", tmp_path / "out")
        tab.focus("#clear")
        tab.press("Enter", "4", "4")
        assert tab.text("count") == "2 of 12 labelled"
        upload(tab, csv, "3 labels imported, 2 of them in place of another.")
        assert labels_of(export(tab, "csv", tmp_path / "again"), roofs) == {"a,1": 1, EVIL: 2, "=3": 3}
        upload(tab, export(tab, "geojson", tmp_path / "out"), "3 labels imported, 0 of them in place of another.")
        (tmp_path / "other.csv").write_text("building_id,damage\nzz,destroyed\n7,flooded\n7,destroyed\n")
        upload(tab, tmp_path / "other.csv", "1 labels imported, 0 of them in place of another; 2 rows left out")
        (tmp_path / "wrong.csv").write_text("name\nx\n")
        upload(tab, tmp_path / "wrong.csv", "This file holds no labels that this page has exported.")
        assert tab.text("count") == "4 of 12 labelled"


def upload(tab: Tab, path: Path, message: str) -> None:
    root = tab.call("DOM.getDocument")["root"]["nodeId"]
    field = tab.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    tab.call("DOM.setFileInputFiles", files=[str(path)], nodeId=field)
    tab.wait(f"document.getElementById('status').textContent.startsWith({json.dumps(message)})")


def test_a_browser_without_storage_shows_a_warning(page: Path, tmp_path: Path) -> None:
    with open_browser(tmp_path / "profile") as tab:
        blocked = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('blocked'); }});"
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=blocked)
        tab.open(page)
        tab.press("1")
        assert tab.value("document.getElementById('unsaved').hidden") is False
        assert tab.text("count") == "1 of 12 labelled"


def test_a_post_disaster_image_alone_is_shown(write_raster: Write, roofs: gpd.GeoDataFrame, tmp_path: Path) -> None:
    images = [np.full((400, 500, 3), grey, np.uint8) for grey in (0, 120)]  # black is no data
    pair = pair_of(write_raster("pre.tif", images[0]), write_raster("post.tif", images[1])).pair
    page = tmp_path / "label.html"
    page.write_text(labelling_page(roofs, pair, IDS, show_prediction=False), encoding="utf-8")
    with open_browser(tmp_path / "profile") as tab:
        tab.open(page)
        assert tab.value("document.getElementById('pre').offsetWidth") == 0
        assert tab.value("document.getElementById('post').offsetWidth") > 500
        tab.press("b", "]", "4")
        assert tab.text("status") == "Destroyed. Building 2 of 12."
        assert tab.value("document.getElementById('blink').disabled") is True
        assert "100%" in tab.value("getComputedStyle(document.querySelector('.over')).clipPath")
        assert tab.complaints() == []
