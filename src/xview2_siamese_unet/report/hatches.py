"""Classes painted with colour and hatch, so that nothing depends on colour alone."""

from __future__ import annotations

import numpy as np

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.types import UInt8Array


def hatch(codes: UInt8Array, ground: UInt8Array) -> UInt8Array:
    """Return `ground`, uint8 (h, w, 3), with each class in its colour and hatch."""
    y, x = np.indices(codes.shape)
    rising, falling = (x + y) % 6 == 0, (x - y) % 6 == 0
    lines = {
        Damage.NO_DAMAGE: np.zeros(codes.shape, bool),
        Damage.MINOR_DAMAGE: rising,
        Damage.MAJOR_DAMAGE: rising | falling,
        Damage.DESTROYED: y % 3 == 0,
        Damage.UNCLASSIFIED: (x % 4 == 0) & (y % 4 == 0),
    }
    painted = ground.copy()
    for code, dark in lines.items():
        painted[codes == code] = code.rgb
        painted[(codes == code) & dark] = [channel // 3 for channel in code.rgb]
    return painted


def chequer(shape: tuple[int, ...]) -> UInt8Array:
    """Return the light grey chequer, uint8 (h, w, 3), that stands for no data."""
    y, x = np.indices(shape) // 8
    grey = np.where((x + y) % 2 == 0, 232, 208).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
