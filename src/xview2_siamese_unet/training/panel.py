"""A picture of one scene for TensorBoard: what was seen, what is true, what is predicted."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.damage import Damage

UInt8Array = npt.NDArray[np.uint8]
_PALETTE: Final = np.array([code.rgb for code in Damage], np.uint8)
_SIDE: Final = 256


def draw_panel(scene: UInt8Array, predicted: UInt8Array) -> UInt8Array:
    """Return pre, post, truth and prediction beside each other, (h, 4 w, 3), thinned to 256 rows or a little more.

    Args:
        scene: (h, w, 8) of the store.
        predicted: damage codes (h, w).
    """
    truth, answer = _PALETTE[scene[..., 7]], _PALETTE[predicted]
    step = max(1, scene.shape[0] // _SIDE)
    return np.concatenate([scene[..., :3], scene[..., 3:6], truth, answer], axis=1)[::step, ::step]
