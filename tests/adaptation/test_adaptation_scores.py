"""Cross-validated scores against scikit-learn, and a head that is no better than the majority class."""

from __future__ import annotations

import numpy as np
import pytest
from made_embedding import BLOCKS, labelled, make_features
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from xview2_siamese_unet.adaptation import scores
from xview2_siamese_unet.adaptation.fitting import grouped_folds
from xview2_siamese_unet.adaptation.head import no_head
from xview2_siamese_unet.adaptation.report import describe_head, head_warnings
from xview2_siamese_unet.adaptation.scores import cross_validated

CODES = np.tile([1, 1, 4, 2], 20)


def test_scores_equal_those_of_scikit_learn() -> None:
    one = labelled(make_features(CODES, 2.0), CODES)
    result = cross_validated(one, BLOCKS, 1.0)
    predicted = scores._predict_left_out(one, BLOCKS, 1.0)
    assert result is not None
    assert predicted is not None
    assert (predicted > 0).all()
    assert result.values["macro_f1"] == f1_score(CODES, predicted, average="macro")
    assert result.values["accuracy"] == accuracy_score(CODES, predicted)
    assert result.values["damaged_f1"] == f1_score(CODES > 1, predicted > 1)
    assert result.values["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(CODES, predicted))
    assert result.values["majority_accuracy"] == 0.5
    assert result.values["majority_balanced_accuracy"] == pytest.approx(1 / 3)
    for key in ("macro_f1", "accuracy", "damaged_f1"):
        low, high = result.intervals[key]
        assert low <= result.values[key] <= high
    assert result.beats_majority
    assert result.labels == 80
    assert result.blocks == 20
    assert list(result.curve) == [40, 60, 80]


def test_noise_is_no_better_than_the_majority() -> None:
    codes = np.random.default_rng(3).choice([1, 4], 60, p=[0.8, 0.2])
    one = labelled(make_features(codes, 0.0), codes)
    result = cross_validated(one, BLOCKS, 1.0)
    assert result is not None
    assert not result.beats_majority
    head = no_head(BLOCKS)
    text = " ".join(describe_head(head, result, codes.tolist()))
    assert "no better than always predicting the most frequent class" in text
    assert any("no better" in warning for warning in head_warnings(head, result))


@pytest.mark.parametrize("damaged", [0.5, 0.3, 0.17])
def test_noise_rarely_beats_the_majority(damaged: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "_learning_curve", lambda *_: {})
    better = 0
    for seed in range(12):
        codes = np.where(np.arange(48) < round(48 * damaged), 4, 1)
        np.random.default_rng(seed).shuffle(codes)
        result = cross_validated(labelled(make_features(codes, 0.0, seed), codes), BLOCKS, 1.0)
        assert result is not None
        better += result.beats_majority
    assert better <= 1


def test_the_calibration_of_a_prediction_ignores_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    one = labelled(make_features(CODES, 2.0), CODES)
    calibrated: list[np.ndarray] = []
    calibrate = scores.calibrate
    monkeypatch.setattr(
        scores, "calibrate", lambda logits, codes: calibrated.append(logits) or calibrate(logits, codes)
    )
    assert scores._predict_left_out(one, BLOCKS, 1.0) is not None
    folds = grouped_folds(one)
    assert len(calibrated) == len(folds)
    for logits, (train, test) in zip(calibrated, folds, strict=True):
        assert np.isnan(logits[test]).all()
        assert np.isfinite(logits[train]).all()


def test_too_few_labels_for_folds_give_no_scores() -> None:
    codes = np.array([1, 1, 1, 4])
    one = labelled(make_features(codes, 2.0), codes)
    assert cross_validated(one, BLOCKS, 1.0) is None
    assert any("unknown" in warning for warning in head_warnings(no_head(BLOCKS), None))
