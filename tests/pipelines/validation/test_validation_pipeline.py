"""`kedro validate` and `kedro estimate` on the folder of an assessment."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
from assessed_roofs import TRUTH, roofs
from click.testing import CliRunner, Result

from xview2_siamese_unet import assessment
from xview2_siamese_unet.cli.validate import estimate_command, validate_command
from xview2_siamese_unet.errors import DataError, StaleError
from xview2_siamese_unet.inference.buildings import SHARES
from xview2_siamese_unet.labelling.labels import validation_ids
from xview2_siamese_unet.validation.estimation import COLUMNS

pytestmark = pytest.mark.usefixtures("project")


def run(command: object, *words: object) -> Result:
    done = CliRunner().invoke(command, [str(word) for word in words])  # type: ignore[arg-type]
    if done.exception is not None:
        raise done.exception
    return done


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"building_id": str})


def label(folder: Path, path: Path) -> Path:
    """Label the sample with the true classes, except for one building that is labelled cannot-tell."""
    ids = read(folder / "validation" / "sample.csv")["building_id"]
    words = [str(TRUTH[int(one[1:])]) for one in ids]
    words[3] = "cannot-tell"
    pd.DataFrame({"building_id": ids, "label": words}).to_csv(path, index=False)
    return path


def test_an_assessment_is_sampled_and_estimated_with_intervals(folder: Path, zones: Path, tmp_path: Path) -> None:
    done = run(validate_command, folder, "--count", 30)
    assert f"{folder / 'validation' / 'label.html'}: label in a browser" in done.output
    sample = read(folder / "validation" / "sample.csv")
    assert list(sample.columns) == ["building_id", "stratum", "weight", "seed"]
    assert len(sample) == 30
    assert "r59" not in set(sample["building_id"])
    assert validation_ids(folder) == list(sample["building_id"])
    done = run(estimate_command, folder, "--labels", label(folder, tmp_path / "labels.csv"), "--zones", zones)
    damaged = sum(code > 1 for code in TRUTH[:59])
    found = re.search(r"(\d+) to (\d+) of 59 buildings are damaged \(95 % interval, 29 labelled\)", done.output)
    assert found is not None, done.output
    assert int(found[1]) <= damaged <= int(found[2])
    table = pd.read_csv(folder / "validation" / "estimates.csv")
    assert list(table.columns) == list(COLUMNS)
    assert set(table["level"]) == {"all", "cell", "zone"}
    numbers = json.loads((folder / "validation" / "estimates.json").read_text())
    assert numbers["not_included"] == 1
    again = run(estimate_command, folder, "--labels", tmp_path / "labels.csv", "--zones", zones, "--json")
    assert json.loads(again.stdout) == numbers
    assert {row["name"] for row in numbers["zones"]} == {"<script>alert(1)</script>", "east"}
    page = (folder / "validation" / "estimate.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert all(sentence in page for sentence in numbers["sentences"])
    (share,) = (sentence for sentence in numbers["sentences"] if "right predicted class" in sentence)
    assert f'<span class="interval">{share.partition(" of ")[0]}</span>' in page


def test_the_page_and_the_layer_to_label_show_no_prediction(folder: Path) -> None:
    assessment.validate(folder, count=20)
    page = (folder / "validation" / "label.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'id="data">(.*?)</script>', page)
    entries = json.loads(data)["buildings"]
    assert [entry["id"] for entry in entries] == validation_ids(folder)
    assert all(entry["prediction"] is None for entry in entries)
    layer = gpd.read_file(folder / "validation" / "sample.gpkg", layer="sample")
    assert set(layer.columns) == {"building_id", "label", "geometry"}
    assert layer["label"].isna().all()


@pytest.mark.slow
def test_equal_samples_have_equal_bytes(folder: Path) -> None:
    files = ("sample.csv", "population.csv", "sample.gpkg", "label.html")
    assessment.validate(folder, count=20)
    before = [(folder / "validation" / name).read_bytes() for name in files]
    assessment.validate(folder, count=20)
    assert [(folder / "validation" / name).read_bytes() for name in files] == before
    shutil.rmtree(folder / "validation")
    assessment.validate(folder, count=20)
    assert [(folder / "validation" / name).read_bytes() for name in files] == before


@pytest.mark.slow
def test_a_larger_sample_keeps_buildings_labels_and_page(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    validation = assessment.validate(folder, count=20)
    before, page = validation_ids(folder), (validation / "label.html").read_bytes()
    layer = gpd.read_file(validation / "sample.gpkg", layer="sample")
    layer.loc[layer["building_id"] == before[0], "label"] = "destroyed"
    pyogrio.write_dataframe(layer, validation / "sample.gpkg", layer="sample", driver="GPKG")
    assessment.validate(folder, count=35)
    assert set(before) < set(validation_ids(folder))
    assert (validation / "label.earlier.html").read_bytes() == page
    assert "label.html is kept as label.earlier.html" in caplog.text
    entered = gpd.read_file(validation / "sample.gpkg", layer="sample").set_index("building_id")["label"]
    assert entered.dropna().to_dict() == {before[0]: "destroyed"}
    numbers = assessment.estimate(folder, validation / "sample.gpkg")  # labels may come from QGIS
    assert numbers["labelled"] == 1


def enter(validation: Path, layer: gpd.GeoDataFrame) -> None:
    (validation / "sample.gpkg").unlink()
    pyogrio.write_dataframe(layer, validation / "sample.gpkg", layer="sample", driver="GPKG")


@pytest.mark.slow
def test_labels_entered_into_the_layer_are_cleaned_and_kept(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A repeated feature, a building outside of the sample, a column of notes, and a number for a class."""
    caplog.set_level("INFO")
    validation = assessment.validate(folder, count=20)
    ids = validation_ids(folder)
    other = next(f"r{number}" for number in range(59) if f"r{number}" not in ids)
    layer = gpd.read_file(validation / "sample.gpkg", layer="sample").assign(
        note=[f"n{number}" for number in range(20)]
    )
    layer.loc[:2, "label"] = ["4", "no-building", "u"]
    enter(validation, pd.concat([layer, layer.iloc[[0]], layer.iloc[[5]].assign(building_id=other, label="2")]))
    before = (validation / "sample.gpkg").read_bytes()
    assessment.validate(folder, count=20)
    assert (validation / "sample.earlier.gpkg").read_bytes() == before
    now = gpd.read_file(validation / "sample.gpkg", layer="sample")
    assert list(now["building_id"]) == ids
    assert now["label"].iloc[:3].tolist() == ["destroyed", "no-building", "cannot-tell"]
    assert now["label"].iloc[3:].isna().all()
    assert list(now["note"]) == list(layer["note"])
    assert "sample.gpkg: 3 of 4 labels are kept" in caplog.text
    assert "sample.gpkg is kept as sample.earlier.gpkg" in caplog.text
    assessment.validate(folder, count=20)  # no further label is dropped, so there is no further copy
    assert not (validation / "sample.earlier1.gpkg").exists()
    enter(validation, now.assign(label=["4", "1", *[None] * 18], building_id=[ids[0], ids[0], *ids[2:]]))
    with pytest.raises(DataError, match="labels that disagree"):
        assessment.validate(folder, count=20)


@pytest.mark.slow
def test_numeric_ids_in_the_layer_are_accepted(folder: Path) -> None:
    numbered = roofs().assign(building_id=[str(number) for number in range(60)])
    rewrite(folder, numbered)
    validation = assessment.validate(folder, count=20)
    layer = gpd.read_file(validation / "sample.gpkg", layer="sample")
    layer = layer.assign(building_id=layer["building_id"].astype(int), label=[3, *[None] * 19])
    enter(validation, layer.astype({"label": "Int64"}))
    assessment.validate(folder, count=30)
    now = gpd.read_file(validation / "sample.gpkg", layer="sample").set_index("building_id")["label"]
    assert now.dropna().to_dict() == {str(layer["building_id"].iloc[0]): "major-damage"}


@pytest.mark.slow
def test_the_strata_of_an_earlier_sample_stay_after_a_killed_run(
    folder: Path, zones: Path, caplog: pytest.LogCaptureFixture
) -> None:
    validation = assessment.validate(folder, count=20, zones=zones)
    before = (validation / "sample.csv").read_bytes()
    assert read(validation / "sample.csv")["stratum"].str.startswith("east: ").any()
    (validation / "sample.csv").unlink()
    assert "keeps its strata" not in caplog.text
    assessment.validate(folder, count=20, zones=zones)
    assert (validation / "sample.csv").read_bytes() == before
    assert "the sample keeps its strata and its seed" in caplog.text


@pytest.mark.slow
def test_adapted_products_share_the_sample_and_have_their_own_estimates(folder: Path, tmp_path: Path) -> None:
    assessment.validate(folder, count=30)
    labels = label(folder, tmp_path / "labels.csv")
    (folder / "adapted").mkdir()
    better = roofs().assign(damage=pd.array(TRUTH, dtype="Int8"))
    pyogrio.write_dataframe(better, folder / "adapted" / "buildings.gpkg", layer="buildings")
    (folder / "adapted" / "run.json").write_text('{"run_id": "aaaaaaaaaaaa", "products": {}}')
    zero_shot = assessment.estimate(folder, labels)
    adapted = assessment.estimate(folder / "adapted", labels)
    assert (folder / "adapted" / "validation" / "estimates.csv").is_file()
    assert not (folder / "adapted" / "validation" / "sample.csv").exists()
    assert adapted["accuracy"]["overall"]["estimate"] == 1
    assert (zero_shot["run_id"], adapted["run_id"]) == ("f" * 12, "a" * 12)
    assert "Run aaaaaaaaaaaa:" in (folder / "adapted" / "validation" / "estimate.html").read_text()
    digest = hashlib.sha256(labels.read_bytes()).hexdigest()
    assert adapted["labels"] == [{"name": "labels.csv", "sha256": digest}]
    assert adapted["seed"] == 0
    assert zero_shot["accuracy"]["overall"]["estimate"] < 1
    assert json.loads((folder / "validation" / "estimates.json").read_text()) == zero_shot


@pytest.mark.slow
def test_a_sample_drawn_after_training_causes_a_warning(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "adapted").mkdir()
    (folder / "adapted" / "run.json").write_text('{"run_id": "a", "products": {}}')
    trained = roofs().assign(label=pd.array([1] * 40 + [pd.NA] * 20, dtype="Int8"))
    pyogrio.write_dataframe(trained, folder / "adapted" / "buildings.gpkg", layer="buildings")
    assert assessment.validate(folder / "adapted", count=20) == folder / "validation"
    both = sum(int(one[1:]) < 40 for one in validation_ids(folder))
    numbers = assessment.estimate(folder / "adapted", label(folder, tmp_path / "labels.csv"))
    assert f"{both} buildings of the sample were used to fit the head: adapt again" in caplog.text
    assert numbers["trained"] == both
    assert any("accuracy is overestimated" in sentence for sentence in numbers["sentences"])


@pytest.mark.slow
def test_an_assessment_without_a_model_has_no_accuracy(folder: Path, tmp_path: Path) -> None:
    blank = roofs()
    blank["damage"] = pd.array([pd.NA] * 60, dtype="Int8")
    blank[[*SHARES, "confidence"]] = float("nan")
    blank["status"] = "not_assessed"
    blank.loc[:58, "reason"] = "no model"
    (folder / "buildings.gpkg").unlink()
    pyogrio.write_dataframe(blank, folder / "buildings.gpkg", layer="buildings")
    assessment.validate(folder, count=30)
    numbers = assessment.estimate(folder, label(folder, tmp_path / "labels.csv"))
    assert numbers["accuracy"] is None
    assert numbers["buildings"] == 59
    assert numbers["all"][0]["predicted"] == 0
    assert (folder / "validation" / "estimate.html").is_file()


def rewrite(folder: Path, buildings: gpd.GeoDataFrame) -> None:
    (folder / "buildings.gpkg").unlink()
    pyogrio.write_dataframe(buildings, folder / "buildings.gpkg", layer="buildings")


@pytest.mark.slow
def test_a_sample_of_other_buildings_is_refused(folder: Path, tmp_path: Path) -> None:
    assessment.validate(folder, count=20)
    labels = label(folder, tmp_path / "labels.csv")
    moved, later = roofs(), roofs()
    moved.loc[:4, "geometry"] = moved.geometry[:5].translate(0.1)
    later.loc[59, ["status", "reason", "damage"]] = ["assessed", None, 1]
    cases = {
        "5 of 59 are gone or have another outline, and 0 are new": moved,
        "1 of 59 are gone or have another outline, and 0 are new": roofs().iloc[1:],
        "0 of 59 are gone or have another outline, and 1 are new": later,
    }
    for message, buildings in cases.items():
        rewrite(folder, buildings)
        for refused in (lambda: assessment.estimate(folder, labels), lambda: assessment.validate(folder, count=30)):
            with pytest.raises(StaleError, match=message):
                refused()
    rewrite(folder, roofs().sample(frac=1, random_state=0))  # another order
    numbers = assessment.estimate(folder, labels)
    assert "1 more building is not visible or has no id: not included." in numbers["sentences"]


def test_missing_files_and_labels_are_refused(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("building_id,label\nr1,1\n")
    with pytest.raises(DataError, match="holds no validation sample"):
        assessment.estimate(folder, labels)
    with pytest.raises(DataError, match="holds no finished assessment"):
        assessment.validate(tmp_path)
    with pytest.raises(DataError, match=r"holds no buildings\.gpkg"):
        assessment.validate(folder / "adapted")
    assessment.validate(folder, count=20)
    ids = validation_ids(folder)
    other = next(f"r{number}" for number in range(59) if f"r{number}" not in ids)
    labels.write_text(f"building_id,label\n{other},1\n{ids[0]},2\n")
    assessment.estimate(folder, labels)
    assert "1 of 2 labels are not of the validation sample and are not used" in caplog.text
    assert "19 of 20 buildings of the sample have no label yet" in caplog.text
    labels.write_text(f"building_id,label\n{other},1\n")
    with pytest.raises(DataError, match="No building of the sample has a label"):
        assessment.estimate(folder, labels)
