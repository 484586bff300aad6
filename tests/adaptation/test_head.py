"""The head: its fit, its use of zero-shot probabilities, and its file."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_embedding import BLOCKS, labelled, make_features, write_embedding
from sklearn.linear_model import LogisticRegression

from xview2_siamese_unet.adaptation.fitting import fit_blocks, fit_head, grouped_folds, merge_rare, spatial_blocks
from xview2_siamese_unet.adaptation.head import (
    Calibration,
    Head,
    calibrated,
    no_head,
    prior_of,
    read_head,
    require_encoders,
    write_head,
)
from xview2_siamese_unet.errors import CheckpointError, ConfigError, DataError

CODES = np.tile([1, 1, 1, 4], 100)


@pytest.fixture
def fitted(tmp_path: Path) -> tuple[Head, np.ndarray]:
    features = make_features(CODES, 3.0)
    return fit_head(write_embedding(tmp_path, features), labelled(features[:48], CODES[:48])), features


def test_a_head_of_two_classes_gives_the_others_a_probability_of_zero(fitted: tuple[Head, np.ndarray]) -> None:
    head, features = fitted
    shares = head.probabilities(features[48:])
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares[:, [1, 2]] == 0).all()
    damaged = CODES == 4
    plain = LogisticRegression(class_weight="balanced").fit(features[:48], damaged[:48])
    assert ((shares[:, 3] > 0.5) == damaged[48:]).mean() > plain.score(features[48:], damaged[48:]) - 0.02
    error = np.sqrt(0.25 * 0.75 / 48)  # standard error of a share of 0.25 from 48 labels
    assert abs(shares[:, 3].mean() - 0.25) < 2 * error


def test_averaged_classifiers_are_one_linear_map() -> None:
    codes = np.repeat([1, 2, 4], 20)
    features = make_features(codes, 1.0)
    slopes, starts = fit_blocks(features, codes, BLOCKS, 1.0)
    expected = np.zeros((len(codes), 3))
    for block in BLOCKS:
        part = features[:, block.start : block.stop]
        model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=500)
        above_1, above_2 = (model.fit(part, codes > code).decision_function(part) for code in (1, 2))
        expected += block.weight / 1.5 * np.column_stack([0 * above_1, above_1, above_1 + above_2])
    np.testing.assert_allclose(features @ slopes + starts, expected, atol=1e-4)


def test_without_labels_the_zero_shot_probabilities_are_unchanged() -> None:
    zero_shot = np.random.default_rng(0).dirichlet(np.ones(4), 20)
    assert no_head(BLOCKS).probabilities(np.zeros((20, 10), np.float32), zero_shot).tobytes() == zero_shot.tobytes()
    with pytest.raises(DataError, match="neither labels nor a model"):
        no_head(BLOCKS).probabilities(np.zeros((20, 10), np.float32))


def test_a_class_without_labels_keeps_its_zero_shot_probability() -> None:
    zero_shot = np.array([[0.2, 0.3, 0.1, 0.4]])
    shares = calibrated(np.array([[0.0, 0.0]]), (1, 4), Calibration(1.0, (0.0, 0.0), 1.0), zero_shot)
    np.testing.assert_allclose(shares, zero_shot)  # logits of 0 add nothing to the offset
    shares = calibrated(np.array([[0.0, 50.0]]), (1, 4), Calibration(1.0, (0.0, 0.0), 1.0), zero_shot)
    np.testing.assert_allclose(shares, [[0, 0.3, 0.1, 0.6]], atol=1e-9)


def test_only_correct_zero_shot_probabilities_get_weight(tmp_path: Path) -> None:
    features = make_features(CODES, 0.5)
    embedding = write_embedding(tmp_path, features)
    correct = np.where((CODES == 4)[:, None], [0.02, 0.02, 0.02, 0.94], [0.94, 0.02, 0.02, 0.02])
    for zero_shot, low, high in ((correct, 0.8, 2.0), (correct[:, [3, 1, 2, 0]], 0.0, 0.4)):
        head = fit_head(embedding, labelled(features[:96], CODES[:96], zero_shot[:96]))
        assert low <= head.calibration.zero_shot <= high
        predicted = head.probabilities(features[96:], zero_shot[96:]).argmax(axis=1) + 1
        assert (predicted == CODES[96:]).mean() > (0.98 if low else 0.55)


def test_the_same_labels_give_the_same_file_and_it_restores_the_head(
    fitted: tuple[Head, np.ndarray], tmp_path: Path
) -> None:
    head, features = fitted
    again = fit_head(write_embedding(tmp_path, features), labelled(features[:48], CODES[:48]))
    for name, each in (("one", head), ("two", again)):
        write_head(each, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    read = read_head(tmp_path / "one")
    assert (read.codes, read.calibration, read.blocks, read.facts["labels"]) == ((1, 4), head.calibration, BLOCKS, 48)
    np.testing.assert_array_equal(read.probabilities(features), head.probabilities(features))


def test_a_file_that_is_not_a_head_is_refused(tmp_path: Path) -> None:
    (tmp_path / "head.safetensors").write_bytes(b"\x80\x04pickle")
    for name in ("head.safetensors", "missing"):
        with pytest.raises(CheckpointError, match="is not a head file"):
            read_head(tmp_path / name)


@pytest.mark.parametrize(
    "change",
    [
        {"codes": (1, 5)},
        {"codes": (4, 1)},
        {"codes": (1, 2, 4)},
        {"blocks": BLOCKS[:1]},
        {"blocks": BLOCKS[1:]},
        {"facts": {"labels": "48"}},
        {"facts": {}},
        {"scale": np.zeros(10, np.float32)},
        {"centre": np.full(10, np.nan, np.float32)},
        {"calibration": Calibration(1.0, (0.0,), 1.0)},
    ],
)
def test_a_head_with_inconsistent_parts_is_refused(
    change: dict[str, Any], fitted: tuple[Head, np.ndarray], tmp_path: Path
) -> None:
    write_head(replace(fitted[0], **change), tmp_path / "head")
    with pytest.raises(CheckpointError, match="is not a head file"):
        read_head(tmp_path / "head")


def test_a_head_of_random_convolutions_is_refused_for_other_images(
    fitted: tuple[Head, np.ndarray], tmp_path: Path
) -> None:
    embedding = write_embedding(tmp_path, fitted[1])
    head = replace(fitted[0], facts={"labels": 48, "features": ["random"], "encoders": {"random": "a"}})
    require_encoders(head, replace(embedding, encoders={"random": "a"}), tmp_path / "head")
    with pytest.raises(ConfigError, match="patches of other images"):
        require_encoders(head, replace(embedding, encoders={"random": "b"}), tmp_path / "head")
    with pytest.raises(ConfigError, match="needs other features"):
        require_encoders(head, replace(embedding, encoders={"package": "a"}), tmp_path / "head")
    with pytest.raises(ConfigError, match="needs other features"):
        require_encoders(fitted[0], replace(embedding, encoders={"package": "a"}), tmp_path / "head")


def test_zero_shot_probabilities_of_zero_count_as_missing() -> None:
    logits = np.array([[1.0, -1.0]] * 2)
    missing, zero = calibrated(logits, (1, 4), Calibration(), np.array([[np.nan] * 4, [0.0] * 4]))
    np.testing.assert_allclose(zero, missing)
    assert zero.sum() == pytest.approx(1)
    assert prior_of(np.array([[0.0, 0.5, 0.5, 0.0]])).tolist() == [[0.0, 0.5, 0.5, 0.0]]


def test_rare_damage_classes_join_the_most_frequent_one(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert merge_rare(np.array([1, 1, 2, 4, 4, 4])).tolist() == [1, 1, 4, 4, 4, 4]
    assert "1 labels of minor-damage are too few" in caplog.text
    assert merge_rare(np.array([1, 1, 4])).tolist() == [1, 1, 4]


def test_one_class_is_refused_and_one_label_of_a_class_is_not_calibrated(tmp_path: Path) -> None:
    features = make_features(CODES, 3.0)
    embedding = write_embedding(tmp_path, features)
    with pytest.raises(DataError, match="of one class"):
        fit_head(embedding, labelled(features[:3], CODES[:3]))
    assert fit_head(embedding, labelled(features[:4], CODES[:4])).calibration == Calibration()


def test_no_block_is_on_both_sides_of_a_fold() -> None:
    one = labelled(make_features(CODES, 1.0), CODES)
    for train, test in grouped_folds(one):
        assert not set(one.groups[train]) & set(one.groups[test])


def test_neighbours_share_a_block() -> None:
    towns = np.repeat([[0.0, 0.0], [9000.0, 0.0], [0.0, 9000.0], [9000.0, 9000.0], [5000.0, 5000.0]], 4, axis=0)
    blocks = spatial_blocks(towns + np.random.default_rng(0).uniform(0, 50, towns.shape))
    assert [len(set(blocks[first : first + 4])) for first in range(0, 20, 4)] == [1] * 5
    assert len(set(blocks)) == 5
