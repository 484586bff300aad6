"""Feature maps of an image from a packaged, published or trained encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from xview2_siamese_unet.atomic import sha256
from xview2_siamese_unet.config.modelling import EncoderParams, EncoderWeightsParams
from xview2_siamese_unet.models.checkpoint_file import read_checkpoint
from xview2_siamese_unet.models.predictor import fuse_encoder, restore
from xview2_siamese_unet.models.pretrained import pretrained_encoder
from xview2_siamese_unet.types import Float32Array, Image

PACKAGED: Final = "tu-tf_efficientnet_lite0"
"""Encoder of the source `package`, whose ImageNet weights are a dependency."""
_IMAGENET: Final = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


class _Levels:
    """All levels of a convolutional encoder.

    Args:
        encoder: in evaluation mode; returns the image itself, then the levels.
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
        """Return the feature maps."""
        grey = torch.from_numpy(np.moveaxis(image, 2, 0)[None])
        normalised = self._normalise(grey.float()).contiguous(memory_format=torch.channels_last)
        return [level[0].float().numpy() for level in self._levels(normalised)]


class PretrainedEncoder(_Levels):
    """An encoder with pretrained weights, strides 2 to 32.

    Args:
        name: `package`, or the name of a model of timm, which is downloaded unless it is in the cache.

    Raises:
        ConfigError: there is no such model, or its weights cannot be read.
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
    """Normalisation with the statistics of ImageNet, also of black pixels."""

    def __init__(self) -> None:
        super().__init__()
        self._mean, self._std = (torch.tensor(each).view(1, 3, 1, 1) for each in _IMAGENET)

    def forward(self, image: Tensor) -> Tensor:
        """Return the normalised image."""
        return (image - self._mean) / self._std
