"""Cross-validated scores against scikit-learn, and a head that has learnt nothing."""

from __future__ import annotations

import numpy as np
import pytest
from made_embedding import BLOCKS, draw, labelled
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from xview2_siamese_unet.adaptation import scores
from xview2_siamese_unet.adaptation.fitting import grouped_folds
from xview2_siamese_unet.adaptation.head import no_head
from xview2_siamese_unet.adaptation.report import describe_head, head_warnings
from xview2_siamese_unet.adaptation.scores import cross_validated

CODES = np.tile([1, 1, 4, 2], 20)


def test_scores_are_those_of_scikit_learn() -> None:
    one = labelled(draw(CODES, 2.0), CODES)
    found = cross_validated(one, BLOCKS, 1.0)
    predicted = scores._predict_left_out(one, BLOCKS, 1.0)
    assert found is not None
    assert predicted is not None
    assert (predicted > 0).all()
    assert found.values["macro_f1"] == f1_score(CODES, predicted, average="macro")
    assert found.values["accuracy"] == accuracy_score(CODES, predicted)
    assert found.values["damaged_f1"] == f1_score(CODES > 1, predicted > 1)
    assert found.values["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(CODES, predicted))
    assert found.values["majority_accuracy"] == 0.5
    assert found.values["majority_balanced_accuracy"] == pytest.approx(1 / 3)
    for key in ("macro_f1", "accuracy", "damaged_f1"):
        low, high = found.intervals[key]
        assert low <= found.values[key] <= high
    assert found.beats_majority
    assert found.labels == 80
    assert found.blocks == 20
    assert list(found.curve) == [40, 60, 80]


def test_noise_is_no_better_than_the_majority() -> None:
    codes = np.random.default_rng(3).choice([1, 4], 60, p=[0.8, 0.2])
    one = labelled(draw(codes, 0.0), codes)
    found = cross_validated(one, BLOCKS, 1.0)
    assert found is not None
    assert not found.beats_majority
    head = no_head(BLOCKS)
    text = " ".join(describe_head(head, found, codes.tolist()))
    assert "no better than always predicting the most frequent class" in text
    assert any("no better" in warning for warning in head_warnings(head, found))


@pytest.mark.parametrize("damaged", [0.5, 0.3, 0.17])
def test_noise_rarely_looks_better(damaged: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "_learning_curve", lambda *_: {})
    better = 0
    for seed in range(12):
        codes = np.where(np.arange(48) < round(48 * damaged), 4, 1)
        np.random.default_rng(seed).shuffle(codes)
        found = cross_validated(labelled(draw(codes, 0.0, seed), codes), BLOCKS, 1.0)
        assert found is not None
        better += found.beats_majority
    assert better <= 1


def test_no_label_decides_the_calibration_of_its_own_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    one = labelled(draw(CODES, 2.0), CODES)
    seen: list[np.ndarray] = []
    true = scores.calibrate
    monkeypatch.setattr(scores, "calibrate", lambda logits, given: seen.append(logits) or true(logits, given))
    assert scores._predict_left_out(one, BLOCKS, 1.0) is not None
    folds = grouped_folds(one)
    assert len(seen) == len(folds)
    for logits, (train, test) in zip(seen, folds, strict=True):
        assert np.isnan(logits[test]).all()
        assert np.isfinite(logits[train]).all()


def test_too_few_labels_for_folds() -> None:
    codes = np.array([1, 1, 1, 4])
    one = labelled(draw(codes, 2.0), codes)
    assert cross_validated(one, BLOCKS, 1.0) is None
    assert any("unknown" in warning for warning in head_warnings(no_head(BLOCKS), None))
