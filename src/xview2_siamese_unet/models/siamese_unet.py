"""The Siamese U-Net: one U-Net looks at both dates, two heads answer.

Shapes: b scenes, c channels of the last decoder level, k damage classes, h × w pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

Fusion = Literal["concat", "difference", "both"]
_TIMES = {"concat": 2, "difference": 1, "both": 3}


class Logits(NamedTuple):
    """What the two heads say: `building` (b, 2, h, w) on the pre image, `damage` (b, k, h, w) on both."""

    building: Tensor
    damage: Tensor


class UNet(nn.Module):
    """An encoder and a decoder of segmentation-models-pytorch: (b, 3, h, w) → (b, c, h / stride, w / stride).

    Args:
        encoder: gives features of each level, the image itself first.
        decoder: over these.
        channels: c.
        stride: pixels of the image to one of the decoder.
        multiple: of what h and w must be; `stride` where it is `None`.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, channels: int, stride: int, multiple: int | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.channels = channels
        self.stride = stride
        self.multiple = multiple or stride

    def forward(self, image: Tensor) -> Tensor:
        """Return the features of the last decoder level."""
        features: Tensor = self.decoder(self.encoder(image))
        return features


class NarrowedDecoder(nn.Module):
    """A decoder behind a 1 × 1 convolution that brings the deepest features down to fewer channels.

    The first convolution of a U-Net over ResNet50 takes 2048 channels beside 1024, more than any other takes.

    Args:
        decoder: over levels whose deepest has `narrow` channels.
        wide: channels of the deepest level.
        narrow: channels that are left of it.
    """

    def __init__(self, decoder: nn.Module, wide: int, narrow: int) -> None:
        super().__init__()
        self.bottleneck = nn.Sequential(
            nn.Conv2d(wide, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)
        )
        self.decoder = decoder

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the features of the last decoder level."""
        features: Tensor = self.decoder([*levels[:-1], self.bottleneck(levels[-1])])
        return features


class SiameseUNet(nn.Module):
    """Localisation from the pre-disaster features alone, damage from those of both dates.

    So the building mask never depends on the post-disaster image.

    Args:
        pre: U-Net for the pre-disaster image.
        post: U-Net for the post-disaster image; the same object shares its weights.
        damage_classes: k.
        fusion: what the damage head sees.
        at_all_levels: join the dates at each level of the encoder, and decode what is joined; otherwise only behind
            the decoder.
    """

    def __init__(self, pre: UNet, post: UNet, damage_classes: int, fusion: Fusion, *, at_all_levels: bool) -> None:
        super().__init__()
        self.pre = pre
        self.post = post
        self.fusion = fusion
        channels, times = pre.channels, _TIMES[fusion]
        if at_all_levels:
            # Back to the width of each level, so that the same decoder takes one date and both alike.
            self.widths: Sequence[int] = pre.encoder.out_channels  # type: ignore[assignment]
            self.joints = nn.ModuleList(nn.Conv2d(times * width, width, 1) for width in self.widths[1:] if width)
        self.building_head = nn.Conv2d(channels, 2, 3, padding=1)
        self.damage_head = nn.Sequential(
            nn.Conv2d(channels if at_all_levels else times * channels, 2 * channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * channels, damage_classes, 3, padding=1),
        )

    def localise(self, pre: Tensor) -> Tensor:
        """Return the building logits alone, without the cost of the other date."""
        return self._enlarge(self.building_head(self.pre(pad(pre, self.pre.multiple))), pre)

    def forward(self, pre: Tensor, post: Tensor) -> Logits:
        """Return the logits of both heads for normalised images (b, 3, h, w)."""
        padded = pad(pre, self.pre.multiple), pad(post, self.pre.multiple)
        if hasattr(self, "joints"):
            before, both = self._decode_joined(*padded)
        else:
            before, after = self._decode_each(*padded)
            both = fuse(before, after, self.fusion)
        return Logits(self._enlarge(self.building_head(before), pre), self._enlarge(self.damage_head(both), pre))

    def _decode_each(self, pre: Tensor, post: Tensor) -> tuple[Tensor, Tensor]:
        if self.pre is not self.post:
            return self.pre(pre), self.post(post)
        # One pass over both dates: twice the batch costs less than two passes.
        before, after = self.pre(torch.cat([pre, post])).chunk(2)
        return before, after

    def _decode_joined(self, pre: Tensor, post: Tensor) -> tuple[Tensor, Tensor]:
        if self.pre is self.post:
            stacked = self.pre.encoder(torch.cat([pre, post]))
            levels = [level.chunk(2) for level in stacked]
        else:
            levels = [*zip(self.pre.encoder(pre), self.post.encoder(post), strict=True)]
        joints = iter(self.joints)
        # No decoder looks at the image itself, and a level without channels, which some encoders have, stays as it is.
        joined = [levels[0][0]]
        for (before, after), width in zip(levels[1:], self.widths[1:], strict=True):
            joined.append(next(joints)(fuse(before, after, self.fusion)) if width else before)
        if self.pre is not self.post:
            return self.pre.decoder([before for before, _ in levels]), self.post.decoder(joined)
        twice = [torch.cat([before, both]) for (before, _), both in zip(levels, joined, strict=True)]
        first, second = self.pre.decoder(twice).chunk(2)
        return first, second

    def _enlarge(self, logits: Tensor, image: Tensor) -> Tensor:
        """Bring logits to the size of the image, without what it was padded by."""
        if self.pre.stride > 1:
            logits = functional.interpolate(logits, scale_factor=self.pre.stride, mode="bilinear", align_corners=False)
        return logits[..., : image.shape[-2], : image.shape[-1]]


@torch.fx.wrap  # which lets a net be traced although this looks at sizes
def pad(image: Tensor, multiple: int) -> Tensor:
    """Return the image with zeros below and to the right, up to sides that are multiples."""
    height, width = image.shape[-2:]
    more = (0, -width % multiple, 0, -height % multiple)
    return functional.pad(image, more) if any(more) else image


def fuse(before: Tensor, after: Tensor, fusion: Fusion) -> Tensor:
    """Join the features of both dates, each (b, c, h, w), along the channels."""
    match fusion:
        case "concat":
            return torch.cat([before, after], dim=1)
        case "difference":
            return (after - before).abs()
        case "both":
            return torch.cat([before, after, (after - before).abs()], dim=1)
