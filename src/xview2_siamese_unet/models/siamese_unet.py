"""The Siamese U-Net: a U-Net for both images, and two heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from xview2_siamese_unet.models.postprocess import Logits
from xview2_siamese_unet.models.tensors import BuildingLogits, ClassLogits, Features, FusedFeatures, ImageTensor

Fusion = Literal["concat", "difference", "both"]
_TIMES = {"concat": 2, "difference": 1, "both": 3}


class Normalise(nn.Module):
    """Subtract the mean, divide by the standard deviation, in grey values.

    Black in all three bands means no data and becomes the mean, like the zeros by which convolutions pad a crop.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, image: ImageTensor) -> ImageTensor:
        """Return the normalised images."""
        normalised: Tensor = (image - self.mean) / self.std
        return normalised * image.any(dim=1, keepdim=True)


class UNet(nn.Module):
    """Encoder and decoder: h × w pixels → features, h / stride × w / stride.

    Args:
        encoder: image → features of each level, the image itself first.
        decoder: features of all levels → those of its last level.
        channels: of the features.
        stride: pixels of the image for each of the decoder.
        multiple: h and w must be multiples of it; `stride` if `None`.
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

    def forward(self, image: ImageTensor) -> Features:
        """Return the features of the last decoder level."""
        features: Tensor = self.decoder(self.encoder(image))
        return features


class BottleneckDecoder(nn.Module):
    """A decoder behind a 1 × 1 convolution that narrows the deepest features.

    With ResNet50 the first convolution of a U-Net takes 2048 + 1024 channels, by far the most of all.

    Args:
        decoder: for levels whose deepest has `narrow` channels.
        wide: channels of the deepest level of the encoder.
        narrow: channels it is reduced to.
    """

    def __init__(self, decoder: nn.Module, wide: int, narrow: int) -> None:
        super().__init__()
        self.bottleneck = nn.Sequential(
            nn.Conv2d(wide, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)
        )
        self.decoder = decoder

    def forward(self, levels: Sequence[Tensor]) -> Features:
        """Return the features of the last decoder level."""
        features: Tensor = self.decoder([*levels[:-1], self.bottleneck(levels[-1])])
        return features


class SiameseUNet(nn.Module):
    """Localisation from pre-disaster features alone, damage from fused features.

    Therefore the building mask never depends on the post-disaster image.

    Args:
        pre: U-Net for the pre-disaster image.
        post: U-Net for the post-disaster image; the same object to share weights.
        damage_classes: of the damage head.
        fusion: of the features of both images.
        at_all_levels: fuse at each level of the encoder, then decode; otherwise fuse what the decoder returns.

    Attributes:
        in_one_pass: U-Nets that share weights take both images as one batch; if `False`, one after the other, unless
            their levels are fused.
    """

    in_one_pass = True

    def __init__(self, pre: UNet, post: UNet, damage_classes: int, fusion: Fusion, *, at_all_levels: bool) -> None:
        super().__init__()
        self.pre = pre
        self.post = post
        self.fusion = fusion
        channels, times = pre.channels, _TIMES[fusion]
        if at_all_levels:
            # Back to the width of each level, so that the same decoder takes the features of one image or both.
            self.widths: Sequence[int] = pre.encoder.out_channels  # type: ignore[assignment]
            self.joints = nn.ModuleList(nn.Conv2d(times * width, width, 1) for width in self.widths[1:] if width)
        self.building_head = nn.Conv2d(channels, 2, 3, padding=1)
        self.damage_head = nn.Sequential(
            nn.Conv2d(channels if at_all_levels else times * channels, 2 * channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * channels, damage_classes, 3, padding=1),
        )

    def localise(self, pre: ImageTensor) -> BuildingLogits:
        """Return the building logits alone, without the cost of the other image."""
        return self._enlarge(self.building_head(self.pre(pad(pre, self.pre.multiple))), pre)

    def forward(self, pre: ImageTensor, post: ImageTensor) -> Logits:
        """Return the logits of both heads for normalised images."""
        padded = pad(pre, self.pre.multiple), pad(post, self.pre.multiple)
        if hasattr(self, "joints"):
            before, both = self._fuse_then_decode(*padded)
            buildings = self.building_head(before)
        else:
            before, after = self._decode_both(*padded)
            buildings = self.building_head(before)
            both = fuse(before, after, self.fusion)
            del after
        del before  # the damage head takes most memory of all
        return Logits(self._enlarge(buildings, pre), self._enlarge(self.damage_head(both), pre))

    def _decode_both(self, pre: ImageTensor, post: ImageTensor) -> tuple[Features, Features]:
        if self.pre is not self.post or not self.in_one_pass:
            return self.pre(pre), self.post(post)
        before, after = self.pre(torch.cat([pre, post])).chunk(2)
        return before, after

    def _fuse_then_decode(self, pre: ImageTensor, post: ImageTensor) -> tuple[Features, Features]:
        if self.pre is self.post:
            stacked = self.pre.encoder(torch.cat([pre, post]))
            levels = [level.chunk(2) for level in stacked]
        else:
            levels = [*zip(self.pre.encoder(pre), self.post.encoder(post), strict=True)]
        joints = iter(self.joints)
        # No decoder uses the image itself, and a level without channels, which some encoders have, stays as it is.
        joined = [levels[0][0]]
        for (before, after), width in zip(levels[1:], self.widths[1:], strict=True):
            joined.append(next(joints)(fuse(before, after, self.fusion)) if width else before)
        if self.pre is not self.post:
            return self.pre.decoder([before for before, _ in levels]), self.post.decoder(joined)
        twice = [torch.cat([before, both]) for (before, _), both in zip(levels, joined, strict=True)]
        first, second = self.pre.decoder(twice).chunk(2)
        return first, second

    def _enlarge(self, logits: Features, image: ImageTensor) -> ClassLogits:
        """Resize logits to the padded image and crop them to the image."""
        if self.pre.stride > 1:
            logits = functional.interpolate(logits, scale_factor=self.pre.stride, mode="bilinear", align_corners=False)
        return logits[..., : image.shape[-2], : image.shape[-1]]


@torch.fx.wrap  # so that a net can be traced although this depends on sizes
def pad(image: Tensor, multiple: int) -> Tensor:
    """Return the image with zeros added below and to the right, up to multiples."""
    height, width = image.shape[-2:]
    more = (0, -width % multiple, 0, -height % multiple)
    return functional.pad(image, more) if any(more) else image


def fuse(before: Features, after: Features, fusion: Fusion) -> FusedFeatures:
    """Fuse the features of both images along the channels."""
    match fusion:
        case "concat":
            return torch.cat([before, after], dim=1)
        case "difference":
            return (after - before).abs()
        case "both":
            return torch.cat([before, after, (after - before).abs()], dim=1)
