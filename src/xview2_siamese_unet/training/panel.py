"""A picture of scenes for TensorBoard: what was seen, what is true, what is predicted."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from xview2_siamese_unet.damage import Damage

UInt8Array = npt.NDArray[np.uint8]
_PALETTE: Final = np.array([code.rgb for code in Damage], np.uint8)
_DAMAGED: Final = (Damage.MINOR_DAMAGE, Damage.MAJOR_DAMAGE, Damage.DESTROYED)
_SIDE: Final = 256
_SHOWN: Final = 4


class Panels:
    """The scenes with most damage in the truth, of those that are offered: the same ones in every epoch."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, UInt8Array]] = []

    def offer(self, scene: UInt8Array, predicted: UInt8Array) -> None:
        """Keep a panel of the scene if few have more damage; arguments as in `draw_panel`."""
        damaged = int(np.isin(scene[..., 7], _DAMAGED).sum())
        if len(self._kept) < _SHOWN or damaged > self._kept[-1][0]:
            self._kept.append((damaged, draw_panel(scene, predicted)))
            self._kept = sorted(self._kept, key=lambda kept: -kept[0])[:_SHOWN]

    def picture(self) -> UInt8Array:
        """Return the panels below each other, the one with most damage first."""
        return np.concatenate([panel for _, panel in self._kept])


def draw_panel(scene: UInt8Array, predicted: UInt8Array) -> UInt8Array:
    """Return pre, post, truth and prediction beside each other, (h, 4 w, 3), thinned to 256 rows or a little more.

    Args:
        scene: (h, w, 8) of the store.
        predicted: damage codes (h, w).
    """
    truth, answer = _PALETTE[scene[..., 7]], _PALETTE[predicted]
    step = max(1, scene.shape[0] // _SIDE)
    return np.concatenate([scene[..., :3], scene[..., 3:6], truth, answer], axis=1)[::step, ::step]
