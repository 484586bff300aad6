"""Feature maps of an image: a packaged, published or trained encoder, or random convolutions of the images."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from xview2_siamese_unet.adaptation.embedding import PATCH
from xview2_siamese_unet.atomic import sha256
from xview2_siamese_unet.config.modelling import EncoderParams, EncoderWeightsParams
from xview2_siamese_unet.models.checkpoint_file import read_checkpoint
from xview2_siamese_unet.models.predictor import fuse_encoder, restore
from xview2_siamese_unet.models.pretrained import pretrained_encoder
from xview2_siamese_unet.types import Float32Array, Float64Array, Image

PACKAGED: Final = "tu-tf_efficientnet_lite0"
"""Encoder of the source `package`, whose ImageNet weights are a dependency."""
FILTERS: Final = 256
"""Random convolutions; each gives two channels, of its positive and of its negative part."""
_IMAGENET: Final = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_STRIDE: Final = 4
_WHITENING: Final = 0.1
_CONTRAST: Final = 10.0
"""Grey values squared, added to the variance of a patch: flat patches hold nothing but noise."""


class _Levels:
    """All levels of a convolutional encoder.

    Args:
        encoder: in evaluation mode: image → levels, the image itself first.
        normalise: grey values → input of the encoder.
        name: of the source.
        digest: of the weights.
    """

    def __init__(self, encoder: nn.Module, normalise: nn.Module, name: str, digest: str) -> None:
        self.name, self.digest = name, digest
        self._encoder = fuse_encoder(encoder).to(memory_format=torch.channels_last)
        self._normalise = normalise
        with torch.inference_mode():
            levels = self._levels(torch.zeros(1, 3, 64, 64))
        self.channels = tuple(level.shape[1] for level in levels)
        self.strides = tuple(64 // level.shape[-1] for level in levels)

    def _levels(self, image: Tensor) -> list[Tensor]:
        # The first is the image itself; some encoders have an empty level in its place at stride 2.
        return [level for level in self._encoder(image)[1:] if level.shape[1]]

    @torch.inference_mode()
    def __call__(self, image: Image) -> list[Float32Array]:
        """Return the maps."""
        grey = torch.from_numpy(np.moveaxis(image, 2, 0)[None])
        normalised = self._normalise(grey.float()).contiguous(memory_format=torch.channels_last)
        return [level[0].float().numpy() for level in self._levels(normalised)]


class PretrainedEncoder(_Levels):
    """An encoder with pretrained weights, strides 2 to 32.

    Args:
        name: `package`, or the name of a model of timm, which is downloaded unless it is in the cache.

    Raises:
        ConfigError: no such model, or weights that cannot be read.
    """

    def __init__(self, name: str = "package") -> None:
        packaged = name == "package"
        params = EncoderParams(
            name=PACKAGED if packaged else f"tu-{name}",
            weights=EncoderWeightsParams(source="package" if packaged else "hub"),
        )
        net, origin = pretrained_encoder(params)
        super().__init__(net, _ImageNet(), name, origin["sha256"])


class CheckpointEncoder(_Levels):
    """The encoder for post-disaster images of a trained net, for both images.

    Args:
        path: of a checkpoint; its name is that of the source.

    Raises:
        CheckpointError: a file that cannot be used.
    """

    def __init__(self, path: Path) -> None:
        net, normalise, _ = restore(read_checkpoint(path))
        super().__init__(net.eval().post.encoder, normalise, path.name, sha256(path))


class _ImageNet(nn.Module):
    """Normalisation of ImageNet, also of black pixels."""

    def __init__(self) -> None:
        super().__init__()
        self._mean, self._std = (torch.tensor(each).view(1, 3, 1, 1) for each in _IMAGENET)

    def forward(self, image: Tensor) -> Tensor:
        """Return the normalised image."""
        return (image - self._mean) / self._std


class RandomEncoder:
    """Random convolutions without any weights: whitened patches of the images as filters (MOSAIKS).

    One map of plain responses, one of responses divided by the contrast of their patch. Of each filter the positive and
    the negative part are channels of their own.
    Source: Rolf et al. 2021, "A generalizable and accessible approach to machine learning with global satellite
    imagery", Nature Communications 12.

    Args:
        patches: (n, PATCH, PATCH, 3) grey values, `FILTERS` or more.
    """

    name = "random"
    strides: tuple[int, ...] = (_STRIDE, _STRIDE)
    channels: tuple[int, ...] = (2 * FILTERS, 2 * FILTERS)

    def __init__(self, patches: Float32Array) -> None:
        filters = _whitened(patches)
        self.digest = hashlib.sha256(filters.tobytes()).hexdigest()
        self._filters = torch.from_numpy(filters)
        self._mean = torch.full((1, 3, PATCH, PATCH), 1 / (3 * PATCH**2))

    @torch.inference_mode()
    def __call__(self, image: Image) -> list[Float32Array]:
        """Return both maps."""
        grey = torch.from_numpy(np.moveaxis(image, 2, 0)[None].astype(np.float32))
        grey = functional.pad(grey, (PATCH // 2,) * 4, mode="reflect")
        plain = functional.conv2d(grey, self._filters, stride=_STRIDE)
        mean, square = (functional.conv2d(each, self._mean, stride=_STRIDE) for each in (grey, grey**2))
        contrast = torch.sqrt((square - mean**2).clamp(min=0) + _CONTRAST)
        maps = (torch.cat([each.relu(), (-each).relu()], dim=1) for each in (plain, plain / contrast))
        return [each[0].numpy() for each in maps]


def _whitened(patches: Float32Array) -> Float32Array:
    """Return filters (FILTERS, 3, PATCH, PATCH) without mean: whitened patches, by whitening applied once more."""
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
