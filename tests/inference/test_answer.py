"""What a net does when memory runs out: smaller batches, then smaller windows, and the same answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from xview2_siamese_unet.inference.answer import NetAnswer


class Cramped(NetAnswer):
    """A stand-in that looks 8 pixels far and has memory for `room` pixels."""

    def __init__(self, room: int, error: Exception) -> None:
        self.device, self.room, self.error = "cpu", room, error
        self.shapes: list[tuple[int, ...]] = []

    def _answer(self, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
        if pre[..., 0].size > self.room:
            raise self.error
        self.shapes.append(pre.shape[:3])
        light = uniform_filter((pre.astype(np.float32) - post).mean(axis=3), (1, 17, 17), mode="constant")
        return np.repeat(light[..., None], 5, axis=3)


ERRORS = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]


@pytest.mark.parametrize("error", ERRORS, ids=["gpu", "cpu"])
def test_halves_of_batch_and_window_give_the_answer_of_the_whole(error: Exception) -> None:
    pre, post = np.random.default_rng(0).integers(0, 255, (2, 3, 320, 416, 3), dtype=np.uint8)
    whole = Cramped(10**9, error)(pre, post)
    cramped = Cramped(320 * 300, error)
    np.testing.assert_allclose(cramped(pre, post), whole, atol=1e-4)
    assert {shape[0] for shape in cramped.shapes} == {1}
    assert len(cramped.shapes) == 6
    assert all(side % 32 == 0 for shape in cramped.shapes for side in shape[1:])


def test_memory_that_is_not_enough_for_anything_ends_the_run() -> None:
    pre = np.zeros((2, 320, 320, 3), np.uint8)
    with pytest.raises(torch.OutOfMemoryError):
        Cramped(100, ERRORS[0])(pre, pre)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        Cramped(100, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))(pre, pre)
