"""Products and errors of `kedro assess --model none` and `kedro adapt`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import torch
from click.testing import CliRunner, Result

from onnx_nets import FIVE_CLASSES, Coarse, write_card, write_onnx
from small_nets import small_checkpoint
from xview2_siamese_unet import assessment
from xview2_siamese_unet.adaptation.head import read_head
from xview2_siamese_unet.cli.adapt import adapt_command
from xview2_siamese_unet.cli.assess import assess_command
from xview2_siamese_unet.errors import CheckpointError, ConfigError, DataError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Accessing the 'model_fields'"),  # Kedro's own
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),  # rasterio's own
]
PRODUCTS = {"buildings.gpkg", "head.safetensors", "map.html", "report.html", "run.json", "summary.csv", "summary.json"}


def assess(town: Path, out: Path, pre: str = "pre.tif", *more: str) -> Result:
    given = pre if pre == "none" else str(town / pre)
    footprints = ("--footprints", str(town / "houses.gpkg"))
    words = [given, str(town / "post.tif"), "--out", str(out), "--model", "none", *footprints, *more]
    return CliRunner().invoke(assess_command, words)


def adapt(folder: Path, *words: object) -> Result:
    return CliRunner().invoke(adapt_command, [str(folder), *map(str, words)])


def buildings(folder: Path) -> gpd.GeoDataFrame:
    return pyogrio.read_dataframe(folder / "buildings.gpkg", layer="buildings")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(autouse=True)
def _inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


@pytest.fixture(scope="module")
def assessed(town: Path, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        out = tmp_path_factory.mktemp("assessed") / "out"
        done = assess(town, out, "pre.tif", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads((out / "run.json").read_text())
    return out


@pytest.fixture(scope="module")
def adapted(town: Path, assessed: Path, project: Path) -> Path:
    before = contents(assessed)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        done = adapt(assessed, "--labels", town / "labels.csv", "--json")
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout) == json.loads((assessed / "adapted" / "run.json").read_text())
    assert contents(assessed) == before
    return assessed / "adapted"


def test_without_a_model_buildings_have_no_class_but_a_visible_fraction(assessed: Path) -> None:
    frame = buildings(assessed)
    assert frame["damage"].isna().all()
    assert frame["reason"].value_counts().to_dict() == {
        "no model": len(frame) - 1,
        "outside the overlap of the images": 1,
    }
    assert (frame["status"] == "not_assessed").all()
    assert (frame["visible_fraction"][:-1] == 1).all()
    assert (frame["basis"] == "pair").all()
    record = json.loads((assessed / "run.json").read_text())
    assert record["model"]["id"] == "none"


def test_labels_of_a_few_buildings_give_classes_to_all(town: Path, assessed: Path, adapted: Path) -> None:
    assert {path.name for path in adapted.iterdir() if path.is_file()} == PRODUCTS
    frame, truth = buildings(adapted), pd.read_csv(town / "truth.csv")
    assert frame["building_id"].tolist() == buildings(assessed)["building_id"].tolist()
    assert (frame["damage_label"][:-1].to_numpy() == truth["label"].to_numpy()).mean() > 0.98
    assert frame["damage"][-1:].isna().all()
    assert frame["reason"].iloc[-1] == "outside the overlap of the images"
    shares = frame[["p_none", "p_minor", "p_major", "p_destroyed"]].to_numpy()[:-1]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert frame["label"].notna().sum() == 36
    assert frame["model_id"].str.endswith("36 labels").all()
    record = json.loads((adapted / "run.json").read_text())
    assert record["products"].keys() == PRODUCTS - {"run.json"}
    assert record["head"]["labels"] == 36
    assert record["head"]["scores"]["values"]["damaged_f1"] > 0.9
    for name in ("report.html", "map.html", "summary.json", "run.json"):
        assert "rest on 36 labels of this event" in (adapted / name).read_text()
    digest = hashlib.sha256((town / "labels.csv").read_bytes()).hexdigest()
    assert record["labels"] == [{"name": "labels.csv", "layer": None, "sha256": digest}]
    assert "Learning curve" in (adapted / "report.html").read_text()


def test_the_same_labels_give_the_same_bytes(town: Path, assessed: Path, adapted: Path) -> None:
    before = contents(adapted)
    assert adapt(assessed, "--labels", town / "labels.csv").exit_code == 0
    after = contents(adapted)
    for name in PRODUCTS - {"run.json"}:
        assert after[name] == before[name], name


def test_a_head_is_applied_to_another_folder(town: Path, adapted: Path, tmp_path: Path) -> None:
    assert assess(town, tmp_path / "other").exit_code == 0
    done = adapt(tmp_path / "other", "--head", adapted / "head.safetensors")
    assert done.exit_code == 0, done.exception
    columns = ["damage", "p_none", "p_destroyed"]
    one, two = buildings(tmp_path / "other" / "adapted")[columns], buildings(adapted)[columns]
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(two))


def test_a_post_disaster_image_alone_can_be_adapted(town: Path, tmp_path: Path) -> None:
    done = assess(town, tmp_path / "out", "none")
    assert done.exit_code == 0, done.output
    (tmp_path / "out" / "adapted").mkdir()
    done = adapt(tmp_path / "out" / "adapted", "--labels", town / "labels.csv")  # same as its parent folder
    assert done.exit_code == 0, done.exception
    assert not (tmp_path / "out" / "adapted" / "adapted").exists()
    frame, truth = buildings(tmp_path / "out" / "adapted"), pd.read_csv(town / "truth.csv")
    assert (frame["basis"] == "post").all()
    assert (frame["damage_label"][:-1].to_numpy() == truth["label"].to_numpy()).mean() > 0.98
    head = read_head(tmp_path / "out" / "adapted" / "head.safetensors")
    assert not any("difference" in block.name for block in head.blocks)
    assert "Pre-disaster image" not in (tmp_path / "out" / "report.html").read_text()


def test_a_checkpoint_can_provide_the_features(town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert assess(town, tmp_path / "out", "none").exit_code == 0
    torch.save(small_checkpoint(), tmp_path / "own.pth")
    monkeypatch.chdir(tmp_path)
    given = {"labels": town / "labels.csv", "features": ["own.pth"]}
    assessment.adapt("out", **given)
    head = read_head(tmp_path / "out" / "adapted" / "head.safetensors")
    digest = hashlib.sha256((tmp_path / "own.pth").read_bytes()).hexdigest()
    assert (head.facts["features"], head.facts["encoders"]) == (["own.pth"], {"own.pth": digest})
    assert str(tmp_path) not in (tmp_path / "out" / "adapted" / "run.json").read_text()


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A model card of an ONNX network."""
    return write_card(tmp_path / "net.yml", {**write_onnx(Coarse(6, 5, 0), tmp_path / "net.onnx", 6), **FIVE_CLASSES})


@pytest.mark.parametrize("model", ["none", "card"])
def test_without_labels_the_classes_of_the_assessment_stay(town: Path, tmp_path: Path, card: Path, model: str) -> None:
    out = tmp_path / "out"
    assert assess(town, out, "pre.tif", *(("--model", str(card)) if model == "card" else ())).exit_code == 0
    assert adapt(out).exit_code == 0
    before, after = buildings(out), buildings(out / "adapted")
    assert before["damage"].notna().any() == (model == "card")
    pd.testing.assert_frame_equal(pd.DataFrame(after.drop(columns="label")), pd.DataFrame(before), check_exact=True)


def test_labels_start_from_the_predictions_of_a_model_card(town: Path, tmp_path: Path, card: Path) -> None:
    out = tmp_path / "out"
    assert assess(town, out, "pre.tif", "--model", str(card)).exit_code == 0
    assert adapt(out, "--labels", town / "labels.csv").exit_code == 0
    before, after = buildings(out)[:-1], buildings(out / "adapted")[:-1]
    unlabelled = ["p_minor", "p_major"]  # classes without a label keep the probability of the networks
    np.testing.assert_allclose(after[unlabelled], before[unlabelled], atol=1e-9)
    assert before[unlabelled].to_numpy().max() > 0.1
    assert np.abs(after["p_destroyed"] - before["p_destroyed"]).max() > 0.1


def test_invalid_inputs_are_refused_and_results_stay(town: Path, assessed: Path, adapted: Path, tmp_path: Path) -> None:
    for name, rows in (("one", "house 0,1\nhouse 1,1\n"), ("disagrees", "house 0,4\n")):
        (tmp_path / f"{name}.csv").write_text(f"building_id,label\n{rows}")
    (tmp_path / "junk").write_bytes(b"junk")
    one, other = tmp_path / "one.csv", tmp_path / "disagrees.csv"
    for words, kind, sentence in (
        ((tmp_path, "--labels", one), DataError, "holds no finished assessment"),
        ((assessed, "--labels", one), DataError, "two classes are needed"),
        ((assessed, "--labels", one, "--labels", other), DataError, "disagree about 1 buildings; the first is house 0"),
        ((assessed, "--labels", one, "--head", adapted / "head.safetensors"), ConfigError, "labels and a head"),
        ((assessed, "--head", tmp_path / "junk"), CheckpointError, "is not a head file"),
        (
            (assessed, "--head", adapted / "head.safetensors", "--features", "random"),
            ConfigError,
            "needs other features",
        ),
    ):
        before = contents(adapted)
        refused = adapt(*words).exception
        assert isinstance(refused, kind), refused
        assert sentence in str(refused)
        assert contents(adapted) == before
    done = CliRunner().invoke(
        assess_command, ["none", str(town / "post.tif"), "--out", str(tmp_path / "x"), "--model", "none"]
    )
    assert done.exit_code == 2
    assert "needs footprints" in done.output
    done = CliRunner().invoke(assess_command, ["none", str(town / "post.tif"), "--out", str(tmp_path / "x")])
    assert done.exit_code == 2
    assert "A model needs both images" in done.output
    assert not (tmp_path / "x").exists()


def test_labels_of_the_validation_sample_are_not_used_for_training(
    town: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert assess(town, tmp_path / "out").exit_code == 0
    (tmp_path / "out" / "validation").mkdir()
    held = pd.read_csv(town / "labels.csv")["building_id"][:6]
    held.to_frame().to_csv(tmp_path / "out" / "validation" / "sample.csv", index=False)
    assert adapt(tmp_path / "out", "--labels", town / "labels.csv").exit_code == 0
    assert read_head(tmp_path / "out" / "adapted" / "head.safetensors").facts["labels"] == 30
