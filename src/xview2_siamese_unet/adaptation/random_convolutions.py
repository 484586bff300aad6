"""Random convolutions: feature maps of an image without any weights, in numpy alone."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from xview2_siamese_unet.adaptation.embedding import PATCH
from xview2_siamese_unet.types import Float32Array, Float64Array, Image

FILTERS: Final = 256
"""Number of random convolutions; each gives two channels, its positive and its negative part."""
_STRIDE: Final = 4
_WHITENING: Final = 0.1
_CONTRAST: Final = 10.0
"""Grey values squared, added to the variance of a patch: flat patches hold nothing but noise."""


class RandomEncoder:
    """Random convolutions without any weights: whitened patches of the images as filters (MOSAIKS).

    One map of plain responses, one of responses divided by the contrast of their patch. The positive and
    the negative part of each filter are separate channels.
    Source: Rolf et al. 2021, "A generalizable and accessible approach to machine learning with global satellite
    imagery", Nature Communications 12.

    Args:
        patches: (n, PATCH, PATCH, 3) grey values, `FILTERS` or more.
    """

    name = "random"
    strides: tuple[int, ...] = (_STRIDE, _STRIDE)
    channels: tuple[int, ...] = (2 * FILTERS, 2 * FILTERS)

    def __init__(self, patches: Float32Array) -> None:
        self._filters = _whitened(patches)
        self.digest = hashlib.sha256(self._filters.tobytes()).hexdigest()

    def __call__(self, image: Image) -> list[Float32Array]:
        """Return both maps."""
        rim = PATCH // 2
        grey = np.pad(image.astype(np.float32), ((rim, rim), (rim, rim), (0, 0)), mode="reflect")
        windows = sliding_window_view(grey, (PATCH, PATCH), axis=(0, 1))[::_STRIDE, ::_STRIDE]
        patches = windows.reshape(-1, self._filters[0].size)
        plain = patches @ self._filters.reshape(FILTERS, -1).T
        contrast = np.sqrt(patches.var(axis=1, keepdims=True) + _CONTRAST)
        maps = (np.concatenate([each, -each], axis=1).clip(0).T for each in (plain, plain / contrast))
        return [each.reshape(-1, *windows.shape[:2]) for each in maps]


def _whitened(patches: Float32Array) -> Float32Array:
    """Return zero-mean filters (FILTERS, 3, PATCH, PATCH): whitened patches, multiplied by the whitening matrix."""
    rows: Float64Array = patches.reshape(len(patches), -1).astype(float)
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows /= np.sqrt(rows.var(axis=1, keepdims=True) + _CONTRAST)
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    zca = vectors @ np.diag(1 / np.sqrt(values.clip(0) + _WHITENING)) @ vectors.T
    chosen = (rows[:FILTERS] - rows.mean(axis=0)) @ zca
    chosen /= np.linalg.norm(chosen, axis=1, keepdims=True)
    filters = (chosen @ zca).reshape(-1, PATCH, PATCH, 3)
    filters -= filters.mean(axis=(1, 2, 3), keepdims=True)
    return np.ascontiguousarray(np.moveaxis(filters, 3, 1), np.float32)
