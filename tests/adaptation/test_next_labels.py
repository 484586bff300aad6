"""Suggested labels and training labels: label files, ids, and buildings without features."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from made_embedding import make_features, write_embedding

from xview2_siamese_unet.adaptation import next_labels as module
from xview2_siamese_unet.adaptation.buildings import NO_FEATURES, adapt_buildings
from xview2_siamese_unet.adaptation.embedding import Embedding
from xview2_siamese_unet.adaptation.head import no_head, write_head
from xview2_siamese_unet.adaptation.next_labels import embed_assessed, labelled_buildings, next_labels
from xview2_siamese_unet.adaptation.suggest import feature_space
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.buildings import SHARES
from xview2_siamese_unet.labelling.labels import read_label_files, training_labels

CODES = np.tile([1, 1, 4, 4], 15)
IDS: list[str | None] = [None, None, *(f"b{number}" for number in range(2, 60))]


@pytest.fixture
def embedding(tmp_path: Path) -> Embedding:
    features = make_features(CODES, 3.0)
    features[2:4] = np.nan
    return write_embedding(tmp_path, features)


@pytest.fixture
def buildings() -> gpd.GeoDataFrame:
    """Sixty buildings: the first two have no id, and b2 and b3 no features."""
    shapes = [shapely.box(20 * number, 0, 20 * number + 10, 10) for number in range(60)]
    columns = {"building_id": pd.array(IDS, dtype=object), "status": "assessed", "reason": None, "damage": 1}
    return gpd.GeoDataFrame({**columns, **dict.fromkeys(SHARES, np.nan)}, geometry=shapes, crs="EPSG:32633")


def labels(numbers: list[int]) -> pd.DataFrame:
    codes = pd.array(CODES[numbers], dtype="Int8")
    return pd.DataFrame({"building_id": [f"b{number}" for number in numbers], "damage": codes})


def test_buildings_without_an_id_do_not_shift_the_labels(embedding: Embedding, buildings: gpd.GeoDataFrame) -> None:
    training = labelled_buildings(embedding, buildings, labels([7, 4, 2]), feature_space(embedding))
    assert training.classes.tolist() == CODES[[7, 4]].tolist()
    np.testing.assert_array_equal(training.features, embedding.rows(np.array([7, 4])))


def test_a_label_of_an_unknown_building_is_refused(embedding: Embedding, buildings: gpd.GeoDataFrame) -> None:
    with pytest.raises(DataError, match="1 of 2 ids belong to no building; the first is 'b99'"):
        labelled_buildings(
            embedding, buildings, labels([7, 4]).assign(building_id=["b7", "b99"]), feature_space(embedding)
        )


def test_labels_of_hidden_buildings_only_are_refused(embedding: Embedding, buildings: gpd.GeoDataFrame) -> None:
    with pytest.raises(DataError, match="None of the 2 labelled buildings is visible"):
        labelled_buildings(embedding, buildings, labels([2, 3]), feature_space(embedding))


def test_suggestions_have_the_features_of_the_adapted_head(
    embedding: Embedding,
    buildings: gpd.GeoDataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    used = []
    monkeypatch.setattr(module, "embed_with", lambda features, *_: used.append(features) or embedding)

    def embed(*features: str) -> None:
        embed_assessed(tmp_path, SimpleNamespace(), buildings, features)  # type: ignore[arg-type]

    embed()
    head = no_head(embedding.blocks)
    head.facts["features"] = ["random", "package"]
    write_head(head, tmp_path / "adapted" / "head.safetensors")
    embed()
    embed("random")
    head.facts["features"] = ["own.pth"]  # its folder is not recorded
    write_head(head, tmp_path / "adapted" / "head.safetensors")
    with caplog.at_level(logging.WARNING):
        embed()
    assert "does not record the path of own.pth" in caplog.text
    assert used == [("package",), ("random", "package"), ("random",), ("package",)]


def test_buildings_without_features_are_not_suggested(embedding: Embedding, buildings: gpd.GeoDataFrame) -> None:
    unlabelled = [f"b{number}" for number in (2, *range(34, 60))]
    known = labels(list(range(4, 34)))
    one = known.assign(damage=pd.array([4] * len(known), dtype="Int8"))  # suggestions represent all buildings
    for table in (known, one):
        suggested = next_labels(embedding, buildings, unlabelled, 5, table)
        assert len(suggested) == 5
        assert set(suggested) <= set(unlabelled) - {"b2"}


def test_a_visible_building_without_features_has_no_class(
    buildings: gpd.GeoDataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    shares = np.tile([0.1, 0.1, 0.1, 0.7], (60, 1))
    shares[2:4] = np.nan
    with caplog.at_level(logging.WARNING):
        adapted = adapt_buildings(buildings, shares, labels([7]), abstain_below=0.0, head_id="head")
    assert "2 of 60 visible buildings have no features" in caplog.text
    assert adapted["damage"].isna().tolist() == [2 <= number < 4 for number in range(60)]
    assert (adapted["reason"][2:4] == NO_FEATURES).all()
    assert (adapted["status"][2:4] == "not_assessed").all()
    assert (adapted["cems_grade"][2:4] == "Not analysed").all()


def test_labels_without_a_class_or_of_the_validation_sample_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "sample.csv").write_text("building_id\nb4\n")
    all_labels = labels([4, 5, 6, 7]).assign(damage=pd.array([1, 0, None, 4], dtype="Int8"))
    with caplog.at_level(logging.WARNING):
        training = training_labels(all_labels, tmp_path)
    assert training["building_id"].tolist() == ["b7"]
    assert "1 of 4 labels belong to the validation sample" in caplog.text
    assert "2 of 3 labels name no damage class and are not used for training" in caplog.text


def test_equal_labels_are_merged_and_contradicting_ones_refused(buildings: gpd.GeoDataFrame, tmp_path: Path) -> None:
    for name, rows in (("one", "b4,1\nb5,4\n"), ("two", "b5,4\nb6,2\n"), ("three", "b4,4\n")):
        (tmp_path / name).with_suffix(".csv").write_text(f"building_id,label\n{rows}")
    one, two, three = (tmp_path / f"{name}.csv" for name in ("one", "two", "three"))
    assert read_label_files([one, two], buildings)["damage"].tolist() == [1, 4, 2]
    assert read_label_files([], buildings).empty
    with pytest.raises(DataError, match="disagree about 1 buildings; the first is b4"):
        read_label_files([one, three], buildings)
