"""`kedro label`: the buildings on the page, errors, and the agreement of two labellers."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
from click.testing import CliRunner, Result
from roofs import IDS

from assessed_folder import write_assessment
from xview2_siamese_unet.adaptation import next_labels
from xview2_siamese_unet.cli.label import label_command
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.vector_formats import plain_path
from xview2_siamese_unet.raster.reader import Pair


@pytest.fixture
def folder(pair: Pair, roofs: gpd.GeoDataFrame, tmp_path: Path) -> Path:
    return write_assessment(tmp_path / "output!", pair, buildings=roofs)


def run(*words: object) -> Result:
    return CliRunner().invoke(label_command, [str(word) for word in words])


def ids_on(page: Path) -> list[str]:
    (data,) = re.findall(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    return [each["id"] for each in json.loads(data)["buildings"]]


@pytest.mark.slow
def test_the_page_has_visible_unlabelled_buildings_outside_the_validation_sample(folder: Path, tmp_path: Path) -> None:
    assert run(folder).exit_code == 0
    assert sorted(ids_on(folder / "label.html")) == sorted(set(IDS) - {"7"})  # only a tenth of it is visible
    (folder / "validation").mkdir()
    (folder / "validation" / "sample.csv").write_text("building_id,stratum\nb1,0\nb2,0\n")
    (tmp_path / "so far.csv").write_text('building_id,damage\n"a,1",destroyed\nb0,u\n')
    page = tmp_path / "next.html"
    done = run(folder, "--labels", tmp_path / "so far.csv", "--out", page)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{page}: 7 buildings to label, open it in a browser\n"
    again = json.loads(run(folder, "--out", tmp_path / "again.html", "--json").stdout)
    assert again == {"page": str(tmp_path / "again.html"), "building_ids": ids_on(tmp_path / "again.html")}
    assert sorted(ids_on(page)) == sorted(set(IDS) - {"7", "b1", "b2", "a,1", "b0"})


def test_fewer_buildings_than_requested_are_explained(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "validation").mkdir()
    (folder / "validation" / "sample.csv").write_text("building_id,stratum\nb1,0\nb2,0\n")
    (tmp_path / "labels.csv").write_text('building_id,damage\n"a,1",destroyed\nb0,u\nb1,4\n')
    with caplog.at_level(logging.WARNING):
        assert run(folder, "--labels", tmp_path / "labels.csv").exit_code == 0
    (line,) = (each for each in caplog.messages if each.startswith("only"))
    assert line == (
        f"only 7 buildings to label: of {len(IDS)}, 1 are not visible or have no id, 3 have a label, "
        "1 are in the validation sample, 0 have no features"
    )


def test_labels_of_the_validation_sample_do_not_affect_suggestions(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "validation").mkdir()
    (folder / "validation" / "sample.csv").write_text("building_id,stratum\nb1,0\nb2,0\n")
    (tmp_path / "labels.csv").write_text("building_id,damage\nb1,4\nb2,1\nb3,4\n")
    trained = []
    monkeypatch.setattr(next_labels, "next_labels", lambda *arguments: trained.append(arguments[-1]) or ["b4"])
    assert run(folder, "--labels", tmp_path / "labels.csv").exit_code == 0
    assert trained[0]["building_id"].tolist() == ["b3"]


def test_files_of_labels_that_disagree_are_refused(folder: Path, tmp_path: Path) -> None:
    for name, code in (("one", 1), ("two", 4)):
        (tmp_path / f"{name}.csv").write_text(f"building_id,damage\nb1,{code}\n")
    refused = run(folder, "--labels", tmp_path / "one.csv", "--labels", tmp_path / "two.csv").exception
    assert isinstance(refused, DataError)
    assert "disagree about 1 buildings" in str(refused)


def test_a_folder_of_adapted_products_is_labelled_as_its_assessment(folder: Path, roofs: gpd.GeoDataFrame) -> None:
    adapted = folder / "adapted"
    adapted.mkdir()
    (adapted / "run.json").write_text('{"run_id": "a", "products": {}}')
    with plain_path(adapted / "buildings.gpkg") as path:
        pyogrio.write_dataframe(roofs.assign(confidence=0.31), path, layer="buildings")
    assert run(adapted, "--show-prediction").exit_code == 0
    page = (folder / "label.html").read_text(encoding="utf-8")
    assert "confidence 0.31" in page
    assert not (adapted / "adapted").exists()


def test_a_count_selects_the_same_buildings_in_every_run(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run(folder, "--count", 4, "--out", tmp_path / f"{name}.html").exit_code == 0
    assert len(set(ids_on(tmp_path / "one.html"))) == 4
    assert ids_on(tmp_path / "one.html") == ids_on(tmp_path / "two.html")


def test_a_page_is_never_replaced(folder: Path) -> None:
    assert run(folder).exit_code == 0
    before = (folder / "label.html").read_bytes()
    refused = run(folder, "--count", 3).exception
    assert isinstance(refused, DataError)
    assert "label.html already exists" in str(refused)
    assert (folder / "label.html").read_bytes() == before


def test_refusals_write_nothing(folder: Path, tmp_path: Path) -> None:
    everything = tmp_path / "all.csv"
    everything.write_text("building_id,label\n" + "".join(f'"{one.replace(chr(34), chr(34) * 2)}",1\n' for one in IDS))
    for words, sentence in (
        ((tmp_path,), "holds no finished assessment"),
        ((folder, "--labels", everything), "no visible building without a label"),
        ((folder, "--post", tmp_path / "pre.tif"), "is not the post-disaster image that was assessed"),
    ):
        refused = run(*words).exception
        assert sentence in str(refused)
    assert sorted(path.name for path in folder.iterdir()) == [".inputs.json", "buildings.gpkg", "run.json"]


def test_an_assessment_of_a_post_disaster_image_alone_is_labelled(
    pair: Pair, roofs: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    folder = write_assessment(tmp_path / "alone", replace(pair, pre=pair.post, post_only=True), buildings=roofs)
    assert run(folder).exit_code == 0
    (data,) = re.findall(r'id="data">(.*?)</script>', (folder / "label.html").read_text(encoding="utf-8"))
    assert json.loads(data)["pre"] is False


def test_predictions_are_shown_only_on_request(folder: Path, tmp_path: Path) -> None:
    for options, shown in (((), False), (("--show-prediction",), True)):
        page = tmp_path / f"{shown}.html"
        assert run(folder, *options, "--out", page).exit_code == 0
        assert ("confidence 0.77" in page.read_text(encoding="utf-8")) is shown


def test_the_agreement_of_two_labellers_is_printed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    files = [tmp_path / "anna.csv", tmp_path / "ben.csv"]
    files[0].write_text("building_id,damage\nb0,1\nb1,1\nb2,4\nb3,4\n")
    files[1].write_text("building_id,damage\nb0,1\nb1,1\nb2,4\nb3,u\n")
    done = run(folder, "--compare", *files)
    assert done.exit_code == 0, done.output
    assert "Cohen's kappa 0.600 · 75.0% of 4 buildings have equal labels" in done.output  # (3/4 - 3/8) / (1 - 3/8)
    assert re.search(r"destroyed +│ 0 +│ 0 +│ 0 +│ 1 +│ 0 +│ 1", done.output)
    result = json.loads(run(folder, "--compare", *files, "--json").stdout)
    assert (result["kappa"], result["agreement"], result["buildings"]) == (pytest.approx(0.6), 0.75, 4)
    assert sum(map(sum, result["confusion"]["counts"])) == 4
    assert not (folder / "label.html").exists()
