"""An assessment replaces only files that an assessment has written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from kedro.io import DatasetError

from xview2_siamese_unet.atomic import sha256, write_atomically, written
from xview2_siamese_unet.datasets.assessment import FormatsDataset, Layers, LayersDataset, RecordDataset
from xview2_siamese_unet.errors import ConfigError, DataError, StorageError, cause_of
from xview2_siamese_unet.inference.buildings import read_building_layer
from xview2_siamese_unet.inference.products import begin, check_out, products

PRODUCTS = products()
TEXTS = ("damage.tif", "buildings.gpkg", "summary.csv")


def write(folder: Path, word: str = "ours") -> None:
    """Write products as a running assessment does."""
    for name in TEXTS:
        write_atomically(folder / name, f"{word} {name}")


def finish(folder: Path) -> None:
    digests = {name: sha256(folder / name) for name in PRODUCTS[1:] if (folder / name).exists()}
    RecordDataset(filepath=str(folder / "run.json")).save({"run_id": "1", "products": digests})


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    begin(folder)
    write(folder)
    finish(folder)
    return folder


@pytest.mark.parametrize("below", ["", "a", "a/b"])
def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path, below: str) -> None:
    file = tmp_path / "output"
    file.write_text("")
    with pytest.raises(DataError, match=rf"{file} is a file, not a folder"):
        check_out(file / below, None, overwrite=True)


def test_an_assessment_is_replaced_only_with_overwrite(finished: Path) -> None:
    with pytest.raises(DataError, match=r"already holds an assessment \(run\.json, damage\.tif.*--overwrite"):
        check_out(finished, None, overwrite=False)
    check_out(finished, None, overwrite=True)


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_of_the_user_is_never_replaced(tmp_path: Path, name: str, overwrite: bool) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(DataError, match=f"not written by an assessment: {name}") as refused:
        check_out(tmp_path, None, overwrite=overwrite)
    assert "--overwrite" not in str(refused.value)
    assert (tmp_path / name).read_text() == "{}"


def test_a_file_that_the_user_has_added_is_not_replaced(finished: Path) -> None:
    (finished / "buildings.geojson").write_text("mine")
    with pytest.raises(DataError, match=r"not written by an assessment: buildings.geojson\."):
        check_out(finished, None, overwrite=True)


def test_a_product_that_was_changed_since_is_kept_under_another_name(
    finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("my notes", "more notes"):
        (finished / "summary.csv").write_text(text)
        check_out(finished, None, overwrite=True)
        begin(finished)
        write(finished, "again")
        finish(finished)
    assert (finished / "summary.changed.csv").read_text() == "my notes"
    assert (finished / "summary.changed1.csv").read_text() == "more notes"
    assert (finished / "summary.csv").read_text() == "again summary.csv"
    assert sum("kept as summary.changed" in message for message in caplog.messages) == 2


@pytest.mark.parametrize("ending", ["wal", "journal", "shm"])
def test_a_geopackage_that_is_open_elsewhere_is_not_replaced(finished: Path, ending: str) -> None:
    (finished / f"buildings.gpkg-{ending}").touch()
    with pytest.raises(DataError, match=f"gpkg-{ending}"):
        check_out(finished, None, overwrite=True)


def test_a_folder_of_the_user_named_work_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work" / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match=r": \.work"):
        check_out(tmp_path, None, overwrite=True)


def test_a_stopped_assessment_resumes_with_its_own_files_only(finished: Path) -> None:
    begin(finished)  # removes only the record of the finished assessment
    write_atomically(finished / "damage.tif", "new")
    for overwrite in (True, False):
        check_out(finished, None, overwrite=overwrite)
    (finished / "summary.csv").write_text("mine")
    with pytest.raises(DataError, match=r"not written by an assessment: summary\.csv"):
        check_out(finished, None, overwrite=True)


def test_a_file_that_appears_during_the_run_is_not_replaced(tmp_path: Path) -> None:
    begin(tmp_path)
    for name in ("buildings.gpkg", "buildings.geojson", "summary.csv"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(OSError, match="no assessment has written") as refused:
        write_atomically(tmp_path / "summary.csv", "ours")
    assert isinstance(cause_of(refused.value), StorageError)
    frame = gpd.GeoDataFrame({"id": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    with pytest.raises(Exception, match="no assessment has written"):
        LayersDataset(filepath=str(tmp_path / "buildings.gpkg")).save(Layers({"a": frame}, {}, "2026-01-01T00:00:00Z"))
    FormatsDataset(filepath=str(tmp_path / "buildings")).save({})
    assert {path.read_text() for path in tmp_path.iterdir() if path.is_file()} == {"mine"}


def test_formats_of_an_earlier_assessment_are_removed(tmp_path: Path) -> None:
    begin(tmp_path)
    formats = FormatsDataset(filepath=str(tmp_path / "buildings"))
    frame = gpd.GeoDataFrame({"id": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    formats.save({"geojson": frame, "geoparquet": frame})
    assert len(written(tmp_path)) == 2
    formats.save({"geojson": frame})
    assert formats.load() == [tmp_path / "buildings.geojson"]


def test_inputs_among_the_products_are_refused(finished: Path) -> None:
    for name in ("buildings.gpkg", "damage.tif", "buildings.gpkg|layername=buildings"):
        with pytest.raises(DataError, match="lies where the assessment writes") as refused:
            check_out(finished, None, overwrite=True, inputs=[None, finished / name])
        assert "--overwrite" not in str(refused.value)
    shutil.copy(finished / "buildings.gpkg", finished / "mine.gpkg")
    check_out(finished, None, overwrite=True, inputs=[finished / "mine.gpkg", finished.parent / "other"])


def test_a_folder_inside_of_the_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pre").mkdir()
    for folder in (tmp_path / "pre", tmp_path / "pre" / "a" / "out"):
        with pytest.raises(DataError, match="lies in the folder of input images"):
            check_out(folder, None, overwrite=True, inputs=[tmp_path / "pre"])
    check_out(tmp_path / "out", None, overwrite=True, inputs=[tmp_path / "pre"])


def test_inputs_that_are_linked_to_products_are_refused(finished: Path) -> None:
    (finished.parent / "link").symlink_to(finished)
    (finished.parent / "hard.gpkg").hardlink_to(finished / "buildings.gpkg")
    for path in (finished.parent / "link" / "buildings.gpkg", finished.parent / "hard.gpkg"):
        with pytest.raises(DataError, match="lies where the assessment writes"):
            check_out(finished, None, overwrite=True, inputs=[path])


def test_exclamation_marks_in_the_path_are_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "wow!" / "output"
    check_out(folder, None, overwrite=False)
    frame = gpd.GeoDataFrame({"id": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    package = LayersDataset(filepath=str(folder / "buildings.gpkg"))
    package.save(Layers({"a": frame, "b": frame}, {"a": "<qgis/>"}, "2026-01-01T00:00:00Z"))
    assert read_building_layer(package.load())["id"].tolist() == package.preview()["data"][0] == [1]
    FormatsDataset(filepath=str(folder / "buildings")).save({"geojson": frame, "geoparquet": frame})
    assert len(json.loads((folder / "buildings.geojson").read_text())["features"]) == 1
    names = {"buildings.gpkg", "buildings.geojson", "buildings.parquet"}
    assert {path.name for path in folder.iterdir()} == names


def test_names_of_products_are_unique() -> None:
    assert len(set(PRODUCTS)) == len(PRODUCTS) == 11


def test_an_unknown_format_is_refused_before_any_is_written(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"id": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    with pytest.raises(DatasetError, match="formats must be one of geojson, geoparquet, got 'kml'") as refused:
        FormatsDataset(filepath=str(tmp_path / "buildings")).save({"geojson": frame, "kml": frame})
    assert isinstance(cause_of(refused.value), ConfigError)
    assert list(tmp_path.iterdir()) == []
