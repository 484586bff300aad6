"""Suggestions: all kinds of buildings first, then uncertain ones; weights of suggested labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_embedding import labelled, make_features, write_embedding

from xview2_siamese_unet.adaptation.fitting import fit_head
from xview2_siamese_unet.adaptation.suggest import feature_space, representative, resemblance, suggest

RNG = np.random.default_rng(0)
KINDS = np.repeat([0, 1, 2, 3], [200, 60, 30, 10])
POSITIONS = (RNG.normal(size=(300, 3)) * 0.1 + 5 * np.eye(4)[KINDS][:, :3]).astype(np.float32)


def test_each_kind_is_suggested_once_the_most_frequent_first() -> None:
    chosen = representative(POSITIONS, np.arange(300), 4)
    assert KINDS[chosen].tolist() == [0, 1, 2, 3]
    assert (suggest(POSITIONS, np.arange(300), 4) == chosen).all()


def test_only_visible_candidates_are_suggested() -> None:
    positions = POSITIONS.copy()
    positions[:150] = np.nan
    chosen = suggest(positions, np.arange(100, 180), 50)
    assert len(chosen) == 30
    assert set(chosen) == set(range(150, 180))
    assert len(suggest(positions, np.arange(100), 5)) == 0


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_equal_buildings_still_fill_the_requested_number() -> None:
    chosen = suggest(np.repeat(POSITIONS[:3], 10, axis=0), np.arange(30), 12)
    assert len(set(chosen)) == 12


def test_a_head_makes_uncertain_buildings_the_next_suggestions(tmp_path: Path) -> None:
    codes = np.tile([1, 1, 1, 4], 75)
    features = make_features(codes, 3.0)
    head = fit_head(write_embedding(tmp_path, features), labelled(features[:24], codes[:24]))
    margins = np.abs(2 * head.probabilities(features)[:, 0] - 1)
    chosen = suggest(POSITIONS, np.arange(24, 300), 10, head, margins)
    assert margins[chosen].max() <= np.sort(margins[24:])[29]
    assert len(set(chosen)) == 10


def test_a_label_is_weighted_by_the_buildings_nearest_to_it() -> None:
    weights = resemblance(POSITIONS, np.array([0, 200, 260]))  # of the kinds with 200, 60 and 30 + 10 buildings
    counts = np.array([200, 60, 30], float)
    nearest = np.linalg.norm(POSITIONS[290:, None] - POSITIONS[[0, 200, 260]][None], axis=2).argmin(axis=1)
    counts += np.bincount(nearest, minlength=3)
    expected = (counts / counts.mean()).clip(0.25, 4)
    np.testing.assert_allclose(weights, expected / expected.mean())


def test_hidden_buildings_have_no_position_in_feature_space(tmp_path: Path) -> None:
    features = make_features(np.tile([1, 4], 50), 3.0)
    features[7] = np.nan
    points = RNG.uniform(0, 1000, (100, 2))
    positions = feature_space(write_embedding(tmp_path, features), points)
    assert np.isnan(positions[7, 0])
    assert np.isfinite(np.delete(positions, 7, axis=0)).all()
    assert positions[:, :-2].shape[1] == 10
    assert np.nanstd(positions[:, :-2]) == pytest.approx(1, abs=1e-3)
