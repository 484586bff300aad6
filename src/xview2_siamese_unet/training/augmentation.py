"""Augmentation of a batch: one geometry for images and masks, separate light for each image."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from xview2_siamese_unet.config.modelling import AugmentationParams
from xview2_siamese_unet.models.tensors import ImageTensor
from xview2_siamese_unet.training.data import Batch


def augment(batch: Batch, params: AugmentationParams) -> Batch:
    """Return the augmented batch, in float32."""
    # Autocast would round the sampling grid to bfloat16, which moves the pixels of a 512-pixel crop by up to 2.
    with torch.autocast(batch.pre.device.type, enabled=False):
        if params.flips:
            batch = _dihedral(batch)
        if params.rotate or params.scale or params.shift:
            batch = _affine(batch, params)
        if params.post_shift:
            batch = batch._replace(post=_shift(batch.post, params.post_shift))
        return batch._replace(pre=_relight(batch.pre, params), post=_relight(batch.post, params))


def _dihedral(batch: Batch) -> Batch:
    """Apply one of the eight symmetries of a square (four of a rectangle) to the batch."""
    turns = int(torch.randint(4, ())) if batch.damage.shape[-1] == batch.damage.shape[-2] else 0
    flips = [dim for dim in (-1, -2) if torch.rand(()) < 0.5]
    return Batch(*(torch.rot90(torch.flip(part, flips), turns, (-2, -1)) for part in batch))


def _affine(batch: Batch, params: AugmentationParams) -> Batch:
    """Rotate, scale and shift each scene; areas from outside are black background."""
    b, _, h, w = batch.pre.shape
    device = batch.pre.device
    angle = _uniform(b, device) * math.radians(params.rotate)
    scale = 1 + _uniform(b, device) * params.scale
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    # Coordinates run from −1 to 1 over each axis, whatever its length, so a rotation depends on the shape.
    rows = [cosine, -sine * h / w, 2 * params.shift * _uniform(b, device)]
    rows += [sine * w / h, cosine, 2 * params.shift * _uniform(b, device)]
    grid = functional.affine_grid(torch.stack(rows, dim=1).view(b, 2, 3), [b, 1, h, w], align_corners=False)
    masks = torch.stack([batch.building, batch.damage], dim=1).float()
    images = functional.grid_sample(torch.cat([batch.pre, batch.post], dim=1), grid, "bilinear", align_corners=False)
    building, damage = functional.grid_sample(masks, grid, "nearest", align_corners=False).long().unbind(dim=1)
    return Batch(images[:, :3], images[:, 3:], building, damage)


def _shift(image: ImageTensor, most: float) -> ImageTensor:
    """Shift each image by up to `most` pixels along each axis."""
    b, _, h, w = image.shape
    move = torch.stack([_uniform(b, image.device) * 2 * most / side for side in (w, h)], dim=1)
    theta = torch.cat([torch.eye(2, device=image.device).expand(b, 2, 2), move.unsqueeze(2)], dim=2)
    grid = functional.affine_grid(theta, [b, 1, h, w], align_corners=False)
    return functional.grid_sample(image, grid, "bilinear", align_corners=False)


def _relight(image: ImageTensor, params: AugmentationParams) -> ImageTensor:
    """Change contrast and brightness; black means no data, and no other pixel becomes black."""
    if params.brightness == params.contrast == 0:
        return image
    contrast = 1 + params.contrast * _uniform(len(image), image.device).view(-1, 1, 1, 1)
    brightness = 1 + params.brightness * _uniform(len(image), image.device).view(-1, 1, 1, 1)
    middle = image.mean(dim=(1, 2, 3), keepdim=True)
    lit = ((image - middle) * contrast + middle * brightness).clamp(1, 255)
    return lit * (image.amax(dim=1, keepdim=True) > 0)


def _uniform(n: int, device: torch.device) -> Tensor:
    """Return n random numbers from −1 to 1."""
    return 2 * torch.rand(n, device=device) - 1
