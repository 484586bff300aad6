"""From logits to damage codes: thresholds, un-classified, and the vote of a building's pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from xview2_siamese_unet.models.postprocess import Logits, Thresholds, decide, probabilities, scored_bytes
from xview2_siamese_unet.models.vote import Block, connected_components, vote, vote_blocks

CODES = arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 0, 1, 2, 3, 4, 5]))


def pixel(building: float, damage: list[float]) -> torch.Tensor:
    """Return probabilities of one pixel from the probability of a building and the logits of the damage head."""
    one = torch.tensor([1 - building, building]).log().view(1, 2, 1, 1)
    return probabilities(Logits(one, torch.tensor(damage).view(1, -1, 1, 1)))


def test_the_building_head_decides_where_and_the_damage_head_which_class() -> None:
    assert decide(pixel(0.9, [0.0, 1.0, 5.0, 2.0, 3.0])).item() == 2
    assert decide(pixel(0.4, [0.0, 1.0, 5.0, 2.0, 3.0])).item() == 0
    assert decide(pixel(0.4, [0.0, 1.0, 5.0, 2.0, 3.0]), Thresholds(0.3)).item() == 2


def test_damaged_pixels_may_have_a_lower_threshold() -> None:
    thresholds = Thresholds(building=0.5, damaged=0.2)
    assert decide(pixel(0.3, [0.0, 1.0, 5.0, 2.0, 3.0]), thresholds).item() == 2
    assert decide(pixel(0.3, [0.0, 5.0, 1.0, 2.0, 3.0]), thresholds).item() == 0
    assert decide(pixel(0.3, [0.0, 0.0, 1.0, 2.0, 3.0, 9.0]), thresholds).item() == 0


def test_background_of_the_damage_head_is_ignored() -> None:
    assert decide(pixel(0.9, [9.0, 1.0, 0.0, 0.0, 0.0])).item() == 1


def test_unclassified_as_a_class_can_be_predicted_and_has_no_band() -> None:
    shares = pixel(0.9, [0.0, 1.0, 1.0, 0.0, 0.0, 9.0])
    code = decide(shares)
    assert (code.item(), code.dtype) == (5, torch.uint8)
    parts = np.exp([1, 1, 0, 0]) / np.exp([1, 1, 0, 0]).sum()
    np.testing.assert_allclose(scored_bytes(shares)[0, :, 0, 0] / 254, [0.1, *(0.9 * parts)], atol=0.5 / 254)


@pytest.mark.parametrize("classes", [5, 6])
def test_torch_and_numpy_decide_alike(classes: int) -> None:
    heads = np.random.default_rng(classes).normal(size=(2, 2 + classes, 16, 16)).astype(np.float32)
    arrays_of = Logits(heads[:, :2], heads[:, 2:])
    one, other = probabilities(arrays_of), probabilities(Logits(*map(torch.from_numpy, arrays_of)))
    assert (type(one), one.dtype) == (np.ndarray, np.float32)
    np.testing.assert_allclose(one, other.numpy(), atol=1e-6, rtol=0)
    # From equal probabilities, torch and numpy compute equal bytes.
    tensor = torch.from_numpy(one)
    for thresholds in (Thresholds(), Thresholds(0.6, 0.3)):
        codes = decide(one, thresholds)
        assert codes.dtype == np.uint8
        assert len(np.unique(codes)) == classes
        np.testing.assert_array_equal(codes, decide(tensor, thresholds).numpy())
    np.testing.assert_array_equal(scored_bytes(one), scored_bytes(tensor))


def test_the_first_of_equally_probable_classes_is_predicted() -> None:
    shares = np.full((1, 5, 1, 1), 0.2, np.float32)
    assert decide(shares).item() == decide(torch.from_numpy(shares)).item() == 1


def shares_of(shape: tuple[int, int], seed: int) -> np.ndarray:
    shares = np.random.default_rng(seed).dirichlet(np.ones(5), shape).transpose(2, 0, 1)
    return np.rint(shares * 254).astype(np.uint8)


def by_hand(codes: np.ndarray, shares: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    numbers, count = ndimage.label((codes > 0) & (codes < 255))
    voted = codes.copy()
    for number in range(1, count + 1):
        sums = shares[1:, numbers == number].astype(int).sum(axis=1) * weights
        voted[numbers == number] = sums.argmax() + 1
    return voted


def test_pixels_that_share_only_a_corner_are_not_connected() -> None:
    numbers, count = connected_components(np.array([[1, 0, 0, 0], [0, 2, 3, 255], [0, 0, 0, 3]], np.uint8))
    assert count == 3
    assert numbers[1, 1] == numbers[1, 2] != numbers[0, 0]
    assert numbers[1, 3] == 0


def test_confident_pixels_win_and_weights_can_change_the_vote() -> None:
    codes = np.array([[1, 1, 2]], np.uint8)
    shares = np.zeros((5, 1, 3), np.uint8)
    shares[1], shares[2] = [[150, 150, 0]], [[100, 100, 254]]
    assert vote(codes, shares, (1, 1, 1, 1)).tolist() == [[2, 2, 2]]
    assert vote(codes, shares, (2, 1, 1, 1)).tolist() == [[1, 1, 1]]


@given(CODES, st.integers(0, 99))
def test_the_vote_equals_one_building_at_a_time(codes: np.ndarray, seed: int) -> None:
    shares = shares_of(codes.shape, seed)
    voted = vote(codes, shares, (1.0, 3.0, 2.0, 1.0))
    assert voted.dtype == np.uint8
    np.testing.assert_array_equal(voted, by_hand(codes, shares, (1.0, 3.0, 2.0, 1.0)))


@pytest.mark.parametrize("side", [1, 2, 7, 16, 64])
@pytest.mark.parametrize("density", [0.3, 0.6, 0.95])
def test_the_vote_in_blocks_equals_the_vote_of_the_whole_image(side: int, density: float) -> None:
    random = np.random.default_rng(side)
    codes = np.where(random.random((50, 61)) < density, random.integers(1, 5, (50, 61)), 0).astype(np.uint8)
    codes[10:30, 20:40] = 255  # with small blocks, some hold no data and are left out
    shares = shares_of(codes.shape, side)

    class Blocks:
        def __iter__(self) -> Iterator[Block]:
            for top in range(0, 50, side):
                for left in range(0, 61, side):
                    rows, columns = slice(top, min(top + side, 50)), slice(left, min(left + side, 61))
                    if (codes[rows, columns] != 255).any():
                        yield Block(rows, columns, codes[rows, columns], shares[:, rows, columns])

    voted = np.full_like(codes, 255)
    for rows, columns, part in vote_blocks(Blocks(), (1.0, 1.5, 2.0, 1.0)):
        voted[rows, columns] = part
    np.testing.assert_array_equal(voted, by_hand(codes, shares, (1.0, 1.5, 2.0, 1.0)))


def test_a_vote_without_buildings_is_background() -> None:
    codes = np.zeros((3, 3), np.uint8)
    assert not vote(codes, shares_of(codes.shape, 0), (1, 1, 1, 1)).any()
