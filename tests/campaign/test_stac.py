from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import shapely
from affine import Affine

from made_catalogue import EVENT, Made, write_catalogue
from xview2_siamese_unet.campaign.catalogue import read_catalogue
from xview2_siamese_unet.campaign.stac import read_stac
from xview2_siamese_unet.errors import DataError

pytestmark = pytest.mark.usefixtures("no_network")
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue with an acquisition before the event and one after it, of two tiles each."""
    folder = tmp_path_factory.mktemp("small")
    write_catalogue(folder, count=1, tiles=2, side=1000)
    return folder


@pytest.fixture
def changed(small: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies `small` and changes its first pre-disaster item."""

    def change(how: Change) -> Path:
        shutil.copytree(small, tmp_path / "catalogue")
        path = tmp_path / "catalogue/ard/1040010pre000/0.json"
        item = json.loads(path.read_text())
        how(item)
        path.write_text(json.dumps(item))
        return tmp_path / "catalogue/collection.json"

    return change


def test_acquisitions_are_those_that_were_written(made: Made) -> None:
    acquisitions, event, warnings = read_stac(made.top)
    assert event == EVENT
    assert [*warnings] == []
    assert [each.id for each in acquisitions] == [facts["id"] for facts in made.acquisitions]
    for each, facts in zip(acquisitions, made.acquisitions, strict=True):
        (image,) = each.images
        assert each.taken == facts["datetime"]
        assert (image.cloud, image.off_nadir) == (facts["cloud"] / 100, facts["off_nadir"])
        assert image.outline.symmetric_difference(facts["outlines"][0]).area < 1e-9
        with rasterio.open(image.path) as raster:
            assert image.crs == raster.crs.to_string()
        assert image.pixel == pytest.approx(0.5, rel=0.002)


def test_pystac_reads_the_same_items(made: Made) -> None:
    top = pystac.Collection.from_file(str(made.top))
    assert len([*top.get_items(recursive=True)]) == len(made.acquisitions)


def test_tiles_of_one_pass_are_one_acquisition(small: Path) -> None:
    acquisitions, _, _ = read_stac(small / "collection.json")
    assert [(each.id, len(each.images)) for each in acquisitions] == [("1040010pre000", 2), ("1040010post000", 2)]


def test_one_name_on_two_days_is_two_acquisitions(changed: Callable[..., Path]) -> None:
    top = changed(lambda item: item["properties"].update(datetime="2021-01-01T00:00:00Z"))
    acquisitions, _, _ = read_stac(top)
    days = [each.id for each in acquisitions if "pre" in each.id]
    assert len(days) == 2
    assert "1040010pre000_2021-01-01" in days


def visual(href: str) -> Change:
    return lambda item: item["assets"]["visual"].update(href=href)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (visual("https://example.org/a-visual.tif"), "lead out"),
        (visual("/vsicurl/https://example.org/a.tif"), "lead out"),
        (visual("s3://bucket/a.tif"), "lead out"),
        (visual("../../../outside.tif"), "lead out"),
        (visual("/etc/passwd.tif"), "lead out"),
        (visual("./missing.tif"), "missing"),
        (visual("./nul\0.tif"), "missing"),
        (visual("./" + "long" * 100 + ".tif"), "missing"),
        (lambda item: item["assets"]["visual"].update(href=5), "cannot be read"),
        (lambda item: item["assets"]["visual"].update(roles=5), "cannot be read"),
        (lambda item: item["assets"].clear(), "without a visual raster"),
        (
            lambda item: item["assets"].update(b={"href": "./b.tif"}) or item["assets"].pop("visual"),
            "without a visual raster",
        ),
        (lambda item: item["properties"].update(datetime="yesterday"), "cannot be read"),
        (lambda item: item.pop("properties"), "cannot be read"),
        (lambda item: item.pop("type"), "cannot be read"),
    ],
)
def test_an_item_that_cannot_be_used_is_left_out_and_counted(
    changed: Callable[..., Path], change: Change, reason: str
) -> None:
    top = changed(change)
    (top.parent.parent / "outside.tif").write_bytes(b"")
    acquisitions, _, warnings = read_stac(top)
    assert [len(each.images) for each in acquisitions] == [1, 2]
    assert [": 1 (first: " in text and reason in text for text in warnings] == [True]


def test_a_symbolic_link_out_of_the_folder_is_not_followed(changed: Callable[..., Path]) -> None:
    top = changed(lambda item: None)
    raster = top.parent / "ard/1040010pre000/0-visual.tif"
    outside = top.parent.parent / "outside.tif"
    raster.rename(outside)
    raster.symlink_to(outside)
    acquisitions, _, warnings = read_stac(top)
    assert [len(each.images) for each in acquisitions] == [1, 2]
    assert any("lead out" in text for text in warnings)


@pytest.mark.parametrize(
    ("change", "cloud", "off_nadir"),
    [
        ({"tile:clouds_percent": None, "eo:cloud_cover": 25}, 0.25, ...),
        ({"tile:clouds_percent": -1}, None, ...),
        ({"tile:clouds_percent": float("nan")}, None, ...),
        ({"view:off_nadir": "steep"}, ..., None),
    ],
)
def test_cloud_cover_and_angle_are_read_or_unknown(
    changed: Callable[..., Path],
    change: dict[str, Any],
    cloud: Any,  # noqa: ANN401
    off_nadir: Any,  # noqa: ANN401
) -> None:
    acquisitions, _, warnings = read_stac(changed(lambda item: item["properties"].update(change)))
    image, other = next(each for each in acquisitions if "pre" in each.id).images
    assert image.cloud == (other.cloud if cloud is ... else cloud)
    assert image.off_nadir == (other.off_nadir if off_nadir is ... else off_nadir)
    assert bool([*warnings]) == (None in (cloud, off_nadir))


def test_a_geometry_away_from_the_raster_is_replaced(changed: Callable[..., Path]) -> None:
    swapped = changed(lambda item: item.update(geometry=shapely.geometry.mapping(shapely.box(36.9, 35.9, 37.1, 36.1))))
    acquisitions, _, warnings = read_stac(swapped)
    image = acquisitions[0].images[0]
    assert image.outline.intersects(acquisitions[0].images[1].outline)
    assert [text for text in warnings if "geometry away" in text]


def test_local_masks_are_used_and_coarse_rasters_left_out(changed: Callable[..., Path]) -> None:
    def change(item: dict[str, Any]) -> None:
        item["assets"]["data-mask"] = {"href": "./data.gpkg", "roles": ["data-mask"]}  # masks no clouds
        item["assets"]["cloud-mask"] = {"href": "./mask.gpkg", "roles": ["cloud-mask"]}
        item["assets"]["udm2"] = {"href": "https://example.org/udm2.tif"}

    top = changed(change)
    for name in ("data.gpkg", "mask.gpkg"):
        (top.parent / "ard/1040010pre000" / name).write_bytes(b"")
    coarse = top.parent / "ard/1040010pre000/1-visual.tif"
    georeference = {"crs": "EPSG:32636", "transform": Affine(10, 0, 700_000, 0, -10, 4_100_000)}
    with rasterio.open(
        coarse, "w", driver="GTiff", count=3, dtype="uint8", width=10, height=10, **georeference
    ) as raster:
        raster.write(np.ones((3, 10, 10), np.uint8))
    acquisitions, _, warnings = read_stac(top)
    (image,) = acquisitions[0].images
    assert [mask.name for mask in image.masks] == ["mask.gpkg"]
    assert sum("masks that lead out" in text or "above 3 m" in text for text in warnings) == 2


def test_circular_links_are_followed_once(changed: Callable[..., Path]) -> None:
    top = changed(lambda item: None)
    child = top.parent / "acquisition_collections/1040010pre000_collection.json"
    content = json.loads(child.read_text())
    content["links"] += [{"rel": "child", "href": "../collection.json"}, {"rel": "child", "href": child.name}]
    child.write_text(json.dumps(content))
    acquisitions, _, _ = read_stac(top)
    assert len(acquisitions) == 2


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"type": "FeatureCollection"}', "[" * 100_000])
def test_a_file_that_is_not_a_catalogue_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "catalog.json").write_text(text)
    with pytest.raises(DataError, match="is not a STAC catalogue"):
        read_stac(tmp_path / "catalog.json")


def test_a_wrong_event_date_is_refused(changed: Callable[..., Path]) -> None:
    top = changed(lambda item: None)
    top.write_text(top.read_text().replace(EVENT, "last week"))
    with pytest.raises(DataError, match="'last week', which is not a date"):
        read_stac(top)


@pytest.fixture
def two_events(small: Path, tmp_path: Path) -> Path:
    """A root catalogue over two events, one of 2021: root → collection of an event → acquisitions → items."""
    for event, date in (("quake", EVENT), ("flood", "2021-08-14T12:29:08Z")):
        shutil.copytree(small, tmp_path / event)
        path = tmp_path / event / "collection.json"
        path.write_text(path.read_text(encoding="utf-8").replace(EVENT, date), encoding="utf-8")
    return write_root(tmp_path, {})


def write_root(folder: Path, fields: dict[str, str]) -> Path:
    links = [{"rel": "child", "href": f"./{event}/collection.json"} for event in ("quake", "flood")]
    root = {"type": "Catalog", "stac_version": "1.0.0", "id": "events", "description": "events", "links": links}
    (folder / "catalog.json").write_text(json.dumps(root | fields), encoding="utf-8")
    return folder / "catalog.json"


def test_two_events_in_one_catalogue_are_refused(two_events: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_stac(two_events)
    folder = two_events.parent
    for fact in (folder / "quake/collection.json", EVENT, folder / "flood/collection.json", "2021-08-14T12:29:08Z"):
        assert str(fact) in caught.value.message
    assert "--event-date" in str(caught.value.hint)
    _, event, warnings = read_stac(folder / "flood/collection.json")
    assert (event, [*warnings]) == ("2021-08-14T12:29:08Z", [])


def test_a_given_event_date_overrides_the_catalogue(two_events: Path) -> None:
    catalogue = read_catalogue(two_events, "2023-02-06T01:17")
    assert (catalogue.event, len(catalogue.before), len(catalogue.after)) == (EVENT, 1, 1)
    assert [text for text in catalogue.warnings if "2021-08-14T12:29:08Z" in text and ": 1 (first: " in text]
    top = two_events.parent / "quake/collection.json"
    top.write_text(top.read_text(encoding="utf-8").replace(EVENT, "last week"), encoding="utf-8")
    assert read_stac(top, EVENT)[1] == EVENT


def test_one_date_at_several_levels_is_one_event(two_events: Path) -> None:
    root = write_root(two_events.parent, {"event_date": "2023-02-06T04:17:00+03:00"})
    flood = two_events.parent / "flood/collection.json"
    flood.write_text(flood.read_text(encoding="utf-8").replace("2021-08-14T12:29:08Z", EVENT), encoding="utf-8")
    _, event, warnings = read_stac(root)
    assert (event, [*warnings]) == (EVENT, [])
