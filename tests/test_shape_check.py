"""While the tests run, calls of the package fail if a dtype or shape differs from the signature."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xview2_siamese_unet.models.postprocess import Logits
from xview2_siamese_unet.models.siamese_unet import Normalise
from xview2_siamese_unet.models.vote import Block, connected_components, vote


def test_another_dtype_or_number_of_axes_is_refused() -> None:
    connected_components(np.zeros((4, 5), np.uint8))
    for wrong in (np.zeros((4, 5), np.int64), np.zeros((4, 5, 3), np.uint8)):
        with pytest.raises(AssertionError, match=r"connected_components: codes is .* not .*'h w'"):
            connected_components(wrong)


def test_an_axis_name_has_one_length_within_a_call() -> None:
    vote(np.zeros((4, 6), np.uint8), np.zeros((5, 4, 6), np.uint8), (1, 1, 1, 1))
    with pytest.raises(AssertionError, match=r"vote: shares is uint8\(5, 6, 4\)"):
        vote(np.zeros((4, 6), np.uint8), np.zeros((5, 6, 4), np.uint8), (1, 1, 1, 1))


def test_methods_and_named_tuples_are_checked() -> None:
    with pytest.raises(AssertionError, match=r"forward: image is torch.float32\(1, 4, 8, 8\)"):
        Normalise([0.0] * 3, [1.0] * 3)(torch.zeros(1, 4, 8, 8))
    with pytest.raises(AssertionError, match=r"damage is torch.float32\(1, 4, 8, 9\)"):
        Logits(torch.zeros(1, 2, 8, 8), torch.zeros(1, 4, 8, 9))
    with pytest.raises(AssertionError, match="codes is"):
        Block(slice(0, 2), slice(0, 2), np.zeros((2, 2), bool), np.zeros((5, 2, 2), np.uint8))
