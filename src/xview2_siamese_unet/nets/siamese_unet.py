"""The Siamese U-Net: one U-Net looks at both dates, two heads answer.

Shapes: b scenes, c channels of the last decoder level, k damage classes, h × w pixels (multiples of 32).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn

Fusion = Literal["concat", "difference", "both"]


class Logits(NamedTuple):
    """What the two heads say: `building` (b, 2, h, w) on the pre image, `damage` (b, k, h, w) on both."""

    building: Tensor
    damage: Tensor


class UNet(nn.Module):
    """An encoder of segmentation-models-pytorch and the U-Net decoder over its skips: (b, 3, h, w) → (b, c, h, w)."""

    def __init__(self, encoder: nn.Module, decoder_channels: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = UnetDecoder(
            encoder_channels=encoder.out_channels, decoder_channels=decoder_channels, n_blocks=len(decoder_channels)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the features of the last decoder level at full size."""
        features: Tensor = self.decoder(self.encoder(image))
        return features


class SiameseUNet(nn.Module):
    """Localisation from the pre-disaster features alone, damage from those of both dates.

    So the building mask never depends on the post-disaster image.

    Args:
        pre: U-Net for the pre-disaster image.
        post: U-Net for the post-disaster image; the same object shares its weights.
        channels: c.
        damage_classes: k.
        fusion: what the damage head sees.
    """

    def __init__(self, pre: UNet, post: UNet, channels: int, damage_classes: int, fusion: Fusion) -> None:
        super().__init__()
        self.pre = pre
        self.post = post
        self.fusion = fusion
        fused = channels * {"concat": 2, "difference": 1, "both": 3}[fusion]
        self.building_head = nn.Conv2d(channels, 2, 3, padding=1)
        self.damage_head = nn.Sequential(
            nn.Conv2d(fused, 2 * channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * channels, damage_classes, 3, padding=1),
        )

    def localise(self, pre: Tensor) -> Tensor:
        """Return the building logits alone, without the cost of the other date."""
        logits: Tensor = self.building_head(self.pre(pre))
        return logits

    def forward(self, pre: Tensor, post: Tensor) -> Logits:
        """Return the logits of both heads for normalised images (b, 3, h, w)."""
        if self.pre is self.post:
            # One pass over both dates: twice the batch costs less than two passes.
            before, after = self.pre(torch.cat([pre, post])).chunk(2)
        else:
            before, after = self.pre(pre), self.post(post)
        return Logits(self.building_head(before), self.damage_head(fuse(before, after, self.fusion)))


def fuse(before: Tensor, after: Tensor, fusion: Fusion) -> Tensor:
    """Join the features of both dates, each (b, c, h, w), along the channels."""
    match fusion:
        case "concat":
            return torch.cat([before, after], dim=1)
        case "difference":
            return (after - before).abs()
        case "both":
            return torch.cat([before, after, (after - before).abs()], dim=1)
