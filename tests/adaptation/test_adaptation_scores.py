"""Cross-validated scores against scikit-learn, and a head that has learnt nothing."""

from __future__ import annotations

import numpy as np
from made_embedding import BLOCKS, draw, labelled
from sklearn.metrics import accuracy_score, f1_score

from xview2_siamese_unet.adaptation import scores
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
    assert found.values["majority_accuracy"] == 0.5
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


def test_too_few_labels_for_folds() -> None:
    codes = np.array([1, 1, 1, 4])
    one = labelled(draw(codes, 2.0), codes)
    assert cross_validated(one, BLOCKS, 1.0) is None
    assert any("unknown" in warning for warning in head_warnings(no_head(BLOCKS), None))
