from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine
from shapely import Polygon, box

from xview2_siamese_unet.campaign.acquisition import WGS84, date_in_name, is_after, read_date
from xview2_siamese_unet.campaign.catalogue import read_catalogue
from xview2_siamese_unet.campaign.plan import make_plan
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.raster.grid import reproject

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a raster of 100 m by 100 m, shifted east by some metres."""

    def make(name: str, taken: str | None = None, east: float = 0.0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        georeference = {"crs": "EPSG:32637", "transform": Affine(0.5, 0, 300_000 + east, 0, -0.5, 4_100_000)}
        profile = {"count": 3, "dtype": "uint8", "width": 200, "height": 200, "photometric": "RGB", **georeference}
        with rasterio.open(path, "w", driver="GTiff", **profile) as raster:
            raster.write(np.ones((3, 200, 200), np.uint8))
            if taken:
                raster.update_tags(TIFFTAG_DATETIME=taken)
        return path

    return make


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2023-02-08", "2023-02-08"),
        (" 2023-02-08T08:30:15Z ", "2023-02-08T08:30:15Z"),
        ("2023-02-08T08:30:15.123456+03:00", "2023-02-08T05:30:15Z"),
        ("2023-02-08 01:00+03", "2023-02-07T22:00:00Z"),
        ("2023:02:08 08:30:15", "2023-02-08T08:30:15Z"),
        ("2023-02-30", None),
        ("08/02/2023", None),
        ("", None),
    ],
)
def test_dates_are_normalised_to_utc(text: str, date: str | None) -> None:
    assert read_date(text) == date


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("2023-02-08_city", "2023-02-08"),
        ("20230208_083015_a1", "2023-02-08"),
        ("20230208T083015", "2023-02-08"),
        ("20230208083015", "2023-02-08"),
        ("scene_2023_02_08", "2023-02-08"),
        ("104001007E20230208", None),
        ("2023-0208", None),
        ("2023-02-30", None),
        ("2023-02-08_2023-02-09", None),
        ("1040010082988200", None),
    ],
)
def test_a_date_is_read_from_a_name(name: str, date: str | None) -> None:
    assert date_in_name(name) == date


@pytest.mark.parametrize(
    ("taken", "event", "after"),
    [
        ("2023-02-05", "2023-02-06", False),
        ("2023-02-07", "2023-02-06T01:17:00Z", True),
        ("2023-02-06", "2023-02-06T01:17:00Z", None),
        ("2023-02-06T08:00:00Z", "2023-02-06", None),
        ("2023-02-06T08:00:00Z", "2023-02-06T01:17:00Z", True),
        ("2023-02-06T01:17:00Z", "2023-02-06T01:17:00Z", True),
        ("2023-02-06T01:16:59Z", "2023-02-06T01:17:00Z", False),
    ],
)
def test_an_acquisition_is_before_or_after_the_event_or_neither(taken: str, event: str, after: bool | None) -> None:
    assert is_after(taken, event) is after


def test_a_folder_is_read_as_acquisitions(write: Write, tmp_path: Path) -> None:
    write("scenes/2023-01-01.tif")
    write("scenes/b.tif", "2023:02:08 10:00:00")
    write("scenes/2023-02-09/west.tif")
    write("scenes/2023-02-09/east.tif", east=100)
    write("scenes/2023-02-10_c.tif", "2024:01:01 00:00:00")
    write("scenes/undated.tif")
    write("scenes/20230206.tif")
    (tmp_path / "scenes/2023-02-11.tif").write_bytes(b"no raster")
    (tmp_path / "scenes/notes.txt").write_text("")
    catalogue = read_catalogue(tmp_path / "scenes", "2023-02-06T01:17")
    assert {name: each.taken for name, each in catalogue.before.items()} == {"2023-01-01.tif": "2023-01-01"}
    assert {name: (each.taken, len(each.images)) for name, each in catalogue.after.items()} == {
        "b.tif": ("2023-02-08T10:00:00Z", 1),
        "2023-02-09": ("2023-02-09", 2),
        "2023-02-10_c.tif": ("2023-02-10", 1),
    }
    warnings = [*catalogue.warnings]
    assert len(warnings) == 4
    for words in ("without a date", "on the day of the event", "another date", "cannot be used"):
        (text,) = [text for text in warnings if words in text]
        assert ": 1 (first: " in text


def test_a_missing_or_wrong_event_date_is_refused(write: Write, tmp_path: Path) -> None:
    write("scenes/2023-01-01.tif")
    with pytest.raises(ConfigError, match="no date of the event"):
        read_catalogue(tmp_path / "scenes")
    with pytest.raises(ConfigError, match="'soon' is not a date"):
        read_catalogue(tmp_path / "scenes", "soon")
    with pytest.raises(DataError, match="no usable acquisition after the event of 2023-02-06"):
        read_catalogue(tmp_path / "scenes", "2023-02-06")


@pytest.mark.parametrize("name", ["missing", "missing.csv", "missing.json", "file.txt"])
def test_a_path_that_is_not_a_catalogue_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(DataError, match="is not a catalogue"):
        read_catalogue(tmp_path / name)


def test_images_that_do_not_overlap_are_refused(write: Write, tmp_path: Path) -> None:
    write("scenes/2023-01-01.tif")
    write("scenes/2023-02-08.tif", east=1000)
    with pytest.raises(DataError, match="No image before the event overlaps"):
        make_plan(read_catalogue(tmp_path / "scenes", "2023-02-06"))


def test_only_pairs_of_the_table_are_planned(write: Write, tmp_path: Path) -> None:
    for name in ("a/before.tif", "b/before.tif", "a/after.tif", "b/after.tif"):
        write(name)
    (tmp_path / "pairs.csv").write_text(
        "Pre;Post;post_date;note\na/before.tif;a/after.tif;2023-02-08;x\nb/before.tif;b/after.tif;2023-02-09;y\n"
    )
    catalogue = read_catalogue(tmp_path / "pairs.csv")
    assert [*catalogue.before] == ["before.tif", "before.tif_2"]
    plan = make_plan(catalogue)
    assert [(p.job.pre.id, p.job.post.id) for p in plan.jobs if p.job.pre] == [("before.tif_2", "after.tif_2")]
    assert [text for text in plan.warnings if "note" in text]


def test_a_pair_may_lack_its_pre_disaster_image(write: Write, tmp_path: Path) -> None:
    write("before.tif")
    write("after.tif", east=50)
    (tmp_path / "pairs.csv").write_text("pre,post\nbefore.tif,after.tif\nnone,after.tif\n")
    plan = make_plan(read_catalogue(tmp_path / "pairs.csv"))
    assert [(p.job.pre and p.job.pre.id, round(p.square_km * 1e6)) for p in plan.jobs] == [
        ("before.tif", 5000),
        (None, 5000),
    ]


def test_pairs_of_a_geoparquet_are_limited_to_their_areas(write: Write, tmp_path: Path) -> None:
    for name in ("before.tif", "late.tif", "early.tif"):
        write(name)
    west = box(300_000, 4_099_950, 300_040, 4_100_000)
    rows = {"pre": ["before.tif"] * 2, "post": ["late.tif", "early.tif"], "post_date": ["2023-02-09", "2023-02-08"]}
    frame = gpd.GeoDataFrame(rows, geometry=[west, box(300_000, 4_099_900, 300_100, 4_100_000)], crs="EPSG:32637")
    frame.to_parquet(tmp_path / "pairs.parquet")
    plan = make_plan(read_catalogue(tmp_path / "pairs.parquet"))
    assert [(p.job.post.id, p.square_km * 1e6) for p in plan.jobs] == [
        ("late.tif", pytest.approx(2000, rel=1e-4)),
        ("early.tif", pytest.approx(8000, rel=1e-4)),
    ]
    ground = reproject(plan.jobs[0].ground, WGS84, rasterio.CRS.from_epsg(32637))
    assert ground.symmetric_difference(west).area < 0.1


def test_crossing_areas_are_repaired_and_missing_ones_left_out(write: Write, tmp_path: Path) -> None:
    for name in ("before.tif", "crossed.tif", "nowhere.tif"):
        write(name)
    corners = [(300_000, 4_099_900), (300_040, 4_099_940), (300_040, 4_099_900), (300_000, 4_099_940)]
    rows = {"pre": ["before.tif"] * 2, "post": ["crossed.tif", "nowhere.tif"]}
    frame = gpd.GeoDataFrame(rows, geometry=[Polygon(corners), None], crs="EPSG:32637").rename_geometry("geom")
    frame.to_parquet(tmp_path / "pairs.parquet")
    catalogue = read_catalogue(tmp_path / "pairs.parquet")
    (job,) = make_plan(catalogue).jobs
    assert job.square_km * 1e6 == pytest.approx(800, rel=1e-3)  # two triangles of a square of 40 m
    assert any("without a polygon, left out: 1" in warning for warning in catalogue.warnings)


def test_a_pair_in_the_wrong_order_is_left_out(write: Write, tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif", "c.tif"):
        write(name)
    (tmp_path / "pairs.csv").write_text(
        "pre,post,pre_date,post_date\na.tif,b.tif,2023-02-09,2023-02-08\nc.tif,b.tif,2023-02-01,2023-02-08\n"
    )
    catalogue = read_catalogue(tmp_path / "pairs.csv")
    assert list(catalogue.pairs or {}) == [("c.tif", "b.tif")]
    assert any("later than their post, left out: 1 (first: line 2)" in warning for warning in catalogue.warnings)


def test_an_area_outside_the_images_is_refused(write: Write, tmp_path: Path) -> None:
    for name in ("before.tif", "after.tif"):
        write(name)
    elsewhere = gpd.GeoDataFrame({"pre": ["before.tif"], "post": ["after.tif"]}, geometry=[box(0, 0, 1, 1)], crs=4326)
    elsewhere.to_parquet(tmp_path / "pairs.parquet")
    with pytest.raises(DataError, match="No image before the event overlaps"):
        make_plan(read_catalogue(tmp_path / "pairs.parquet"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("before,after\na.tif,b.tif\n", "no column post and pre"),
        ("pre,post\n,b.tif\n", "line 2: pre is empty"),
        ("pre,post,pre_date\na.tif,b.tif,spring\n", "line 2: pre_date 'spring' is not a date"),
        ("pre,post,pre_date\na.tif,b.tif,2023-01-01\na.tif,c.tif,2023-01-02\n", "line 3: a.tif has another date"),
        ("pre,post\na.tif,b.tif\na.tif,b.tif\n", "line 3 repeats a pair"),
        ("pre,post,event\na.tif,b.tif,fire\na.tif,c.tif,flood\n", "2 events .fire, flood"),
        ("pre,post\na.tif,missing.tif\n", "no usable pair"),
        ("pre,post\n", "no usable pair"),
        ("", "no column post and pre"),
        ("pre,post\na,b.tif,c.tif\n", "line 2 has more cells"),
        ("pre,post,Pre\na,b,c\n", "repeats a column"),
    ],
)
def test_unusable_tables_are_refused(write: Write, tmp_path: Path, text: str, words: str) -> None:
    for name in ("a.tif", "b.tif", "c.tif"):
        write(name)
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read_catalogue(tmp_path / "pairs.csv")


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("pre,post\nfür.tif,b.tif\n", encoding="latin-1")
    with pytest.raises(DataError, match="cannot be read"):
        read_catalogue(tmp_path / "pairs.csv")


def test_an_event_date_is_refused_with_pairs(write: Write, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("pre,post\n")
    with pytest.raises(ConfigError, match="names pairs"):
        read_catalogue(tmp_path / "pairs.csv", "2023-02-06")


def test_a_geoparquet_without_georeferenced_polygons_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"pre": ["a"], "post": ["b"]}).to_parquet(tmp_path / "pairs.parquet")
    with pytest.raises(DataError, match="cannot be read"):
        read_catalogue(tmp_path / "pairs.parquet")
    gpd.GeoDataFrame({"pre": ["a"]}, geometry=[shapely.Point(0, 0)]).to_parquet(tmp_path / "pairs.parquet")
    with pytest.raises(DataError, match="cannot be read"):  # a geometry without a coordinate reference system
        read_catalogue(tmp_path / "pairs.parquet")
