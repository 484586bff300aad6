"""The net of the university project: two nets without skips, fused at their logits.

After ElenaScholz/xView2SiameseUNet at 80b7726: a ResNet, four transposed convolutions from 1/32 to 1/2, bilinear to
full size; no normalisation in the decoder and no shared weights. The damage net gets the post-disaster image alone; a
3 × 3 and a 1 × 1 convolution fuse the logits of both.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from xview2_siamese_unet.models.postprocess import Logits
from xview2_siamese_unet.models.tensors import BuildingLogits, ClassLogits, ImageTensor


class SeedUNet(nn.Module):
    """Encoder and transposed convolutions: images → logits."""

    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        deepest = int(encoder.out_channels[-1])  # type: ignore[index]
        widths = [deepest // share for share in (1, 2, 4, 8, 32)]
        steps: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            steps += [nn.ConvTranspose2d(wide, narrow, 2, stride=2), nn.ReLU(inplace=True)]
        self.decoder = nn.Sequential(*steps, nn.Conv2d(widths[-1], classes, 1))

    def forward(self, image: ImageTensor) -> ClassLogits:
        """Return logits at full size."""
        logits = self.decoder(self.encoder(image)[-1])
        return functional.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


class SeedNet(nn.Module):
    """Two `SeedUNet`s and the fusion of their logits."""

    def __init__(self, pre: SeedUNet, post: SeedUNet, damage_classes: int) -> None:
        super().__init__()
        self.pre = pre
        self.post = post
        both = 2 + damage_classes
        self.fusion = nn.Sequential(
            nn.Conv2d(both, both, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(both, damage_classes, 1)
        )

    def localise(self, pre: ImageTensor) -> BuildingLogits:
        """Return the building logits alone, without the cost of the other image."""
        logits: Tensor = self.pre(pre)
        return logits

    def forward(self, pre: ImageTensor, post: ImageTensor) -> Logits:
        """Return the logits of both heads for normalised images."""
        building = self.pre(pre)
        return Logits(building, self.fusion(torch.cat([building, self.post(post)], dim=1)))
