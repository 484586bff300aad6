"""Augmentation of a batch on the device where it is: geometry for all four alike, light for each date alone."""

from __future__ import annotations

import torch
from torch import Tensor

from xview2_siamese_unet.params.modelling import AugmentationParams
from xview2_siamese_unet.training.pairs import Batch


def augment(batch: Batch, params: AugmentationParams) -> Batch:
    """Return the batch as another flight might have seen it."""
    if params.flips:
        batch = _dihedral(batch)
    return batch._replace(pre=_relight(batch.pre, params), post=_relight(batch.post, params))


def _dihedral(batch: Batch) -> Batch:
    """Apply one of the eight symmetries of a square to the whole batch (of four, where it is not square)."""
    turns = int(torch.randint(4, ())) if batch.damage.shape[-1] == batch.damage.shape[-2] else 0
    flips = [dim for dim in (-1, -2) if torch.rand(()) < 0.5]
    return Batch(*(torch.rot90(torch.flip(part, flips), turns, (-2, -1)) for part in batch))


def _relight(image: Tensor, params: AugmentationParams) -> Tensor:
    """Scale around the mean (contrast) and shift (brightness); black pixels hold no data and stay black."""
    if params.brightness == params.contrast == 0:
        return image
    size = (image.shape[0], 1, 1, 1)
    contrast = 1 + params.contrast * (2 * torch.rand(size, device=image.device) - 1)
    brightness = 1 + params.brightness * (2 * torch.rand(size, device=image.device) - 1)
    middle = image.mean(dim=(1, 2, 3), keepdim=True)
    lit = ((image - middle) * contrast + middle * brightness).clamp(0, 255)
    return lit * (image.amax(dim=1, keepdim=True) > 0)
