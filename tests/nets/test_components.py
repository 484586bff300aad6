from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xview2_siamese_unet.nets.components import connect, sum_shares, vote

CODES = arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 0, 1, 2, 3, 4, 5]))


def shares_of(codes: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(5), codes.shape).astype(np.float32).transpose(2, 0, 1)


def test_buildings_touch_by_corners() -> None:
    codes = np.array([[1, 0, 0, 0], [0, 2, 0, 3], [0, 0, 0, 3]], np.uint8)
    numbers, count = connect(codes)
    assert count == 2
    assert numbers[0, 0] == numbers[1, 1] != numbers[1, 3]


def test_the_sure_pixels_win_and_weights_can_turn_the_vote() -> None:
    codes = np.array([[1, 1, 2]], np.uint8)
    shares = np.zeros((5, 1, 3), np.float32)
    shares[1], shares[2] = [[0.6, 0.6, 0.0]], [[0.4, 0.4, 1.0]]
    assert vote(codes, shares, (1, 1, 1, 1)).tolist() == [[2, 2, 2]]
    assert vote(codes, shares, (2, 1, 1, 1)).tolist() == [[1, 1, 1]]


@given(CODES, st.integers(0, 99))
def test_a_vote_keeps_the_mask_and_gives_each_building_one_class(codes: np.ndarray, seed: int) -> None:
    shares = shares_of(codes, seed)
    elected = vote(codes, shares, (1.0, 3.0, 2.0, 1.0))
    assert elected.dtype == np.uint8
    assert np.array_equal(elected > 0, codes > 0)
    numbers, count = connect(codes)
    for number in range(1, count + 1):
        sums = shares[1:, numbers == number].sum(axis=1) * (1, 3, 2, 1)
        own = elected[numbers == number]
        assert set(own.tolist()) == {int(sums.argmax()) + 1}
    np.testing.assert_allclose(sum_shares(numbers, count, shares).sum(), shares[1:, codes > 0].sum(), rtol=1e-5)


def test_a_scene_without_buildings_stays_empty() -> None:
    codes = np.zeros((3, 3), np.uint8)
    assert not vote(codes, shares_of(codes, 0), (1, 1, 1, 1)).any()
