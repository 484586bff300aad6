"""Class codes over an image, as pixels: every class has a colour and a weave, so that no colour alone carries one."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.raster.io import LEVELS, NO_DATA

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
_SHARES: Final = colormaps["cividis"](np.arange(256) / LEVELS, bytes=True)[:, :3]
"""Dark to light at an even pace, in any kind of colour vision and in print."""


def fit(array: UInt8Array, side: int, resample: Image.Resampling) -> UInt8Array:
    """Return an image or a mask scaled so that its longer side measures `side` pixels."""
    height, width = array.shape[:2]
    scale = side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(Image.fromarray(np.ascontiguousarray(array)).resize(size, resample))


def show_image(image: UInt8Array, side: int) -> UInt8Array:
    """Return an image, uint8 (h, w, 3), scaled to `side`, with pixels that hold no data as a light chequer."""
    shown = fit(image, side, Image.Resampling.BOX).copy()
    nothing = _no_data(image, side)
    shown[nothing] = chequer(nothing.shape)[nothing]
    return shown


def show_codes(codes: UInt8Array, image: UInt8Array, side: int) -> UInt8Array:
    """Return class codes over a dimmed grey image; both scaled to `side`, weaves drawn after scaling so that they stay.

    Args:
        codes: uint8 (h, w), codes of `Damage`.
        image: uint8 (h, w, 3).
        side: longer side of the result in pixels.
    """
    grey = fit(image, side, Image.Resampling.BOX).mean(axis=2, keepdims=True)
    shown = np.broadcast_to(40 + 0.35 * grey, (*grey.shape[:2], 3)).astype(np.uint8)
    nothing = _no_data(image, side)
    shown[nothing] = chequer(nothing.shape)[nothing]
    return weave(fit(codes, side, Image.Resampling.NEAREST), shown)


def show_shares(shares: UInt8Array, side: int) -> UInt8Array:
    """Return probabilities in steps of 1/254, uint8 (h, w), as dark blue to yellow; 255 as the chequer of no data."""
    small = fit(shares, side, Image.Resampling.NEAREST)
    shown = _SHARES[small]
    nothing = small == NO_DATA
    shown[nothing] = chequer(nothing.shape)[nothing]
    return shown


def weave(codes: UInt8Array, ground: UInt8Array) -> UInt8Array:
    """Return `ground`, uint8 (h, w, 3), with each class painted in its colour and the threads of its weave."""
    painted = ground.copy()
    for code in Damage:
        if code is Damage.BACKGROUND:
            continue
        here = codes == code
        painted[here] = code.rgb
        painted[here & _threads(code, codes.shape)] = [channel // 3 for channel in code.rgb]
    return painted


def _threads(code: Damage, shape: tuple[int, ...]) -> BoolArray:
    y, x = np.indices(shape)
    rising, falling = (x + y) % 6 == 0, (x - y) % 6 == 0
    weaves: dict[Damage, BoolArray] = {
        Damage.NO_DAMAGE: np.zeros(shape, bool),
        Damage.MINOR_DAMAGE: rising,
        Damage.MAJOR_DAMAGE: rising | falling,
        Damage.DESTROYED: y % 3 == 0,
        Damage.UNCLASSIFIED: (x % 4 == 0) & (y % 4 == 0),
    }
    return weaves[code]


def _no_data(image: UInt8Array, side: int) -> BoolArray:
    nothing = (image == 0).all(axis=2).astype(np.uint8)
    return fit(nothing, side, Image.Resampling.NEAREST) > 0


def chequer(shape: tuple[int, ...]) -> UInt8Array:
    """Return the light grey chequer, uint8 (h, w, 3), that stands for no data."""
    y, x = np.indices(shape) // 8
    grey = np.where((x + y) % 2 == 0, 232, 208).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
