"""Build a net from its parameters: architectures and encoders."""

from __future__ import annotations

import difflib

import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn

from xview2_siamese_unet.config.modelling import ModelParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models.decoders import DEPTH, find_decoder
from xview2_siamese_unet.models.seed import SeedNet, SeedUNet
from xview2_siamese_unet.models.siamese_unet import BottleneckDecoder, SiameseUNet, UNet

DamageNet = SiameseUNet | SeedNet


def build_net(params: ModelParams, damage_classes: int) -> DamageNet:
    """Return the net with random weights; never downloads, so it works offline.

    Raises:
        ConfigError: no such encoder or decoder, or an encoder without five levels for any image size.
    """
    if params.architecture == "seed":
        pre, post = (SeedUNet(_encoder(params.encoder.name), classes) for classes in (2, damage_classes))
        return SeedNet(pre, post, damage_classes)
    first = _unet(params)
    second = first if params.share_weights else _unet(params)
    at_all_levels = params.fusion_levels == "all"
    return SiameseUNet(first, second, damage_classes, params.fusion, at_all_levels=at_all_levels)


def _unet(params: ModelParams) -> UNet:
    kind, encoder = find_decoder(params), _encoder(params.encoder.name)
    channels: list[int] = [*encoder.out_channels]  # type: ignore[misc]
    wide = channels[-1]
    narrow = min(wide, params.bottleneck or wide) if kind.narrows else wide
    built = kind.build((*channels[:-1], narrow), params)
    decoder = BottleneckDecoder(built.module, wide, narrow) if narrow < wide else built.module
    return UNet(encoder, decoder, built.channels, built.stride, built.multiple)


def _encoder(name: str) -> nn.Module:
    """Return an encoder with random weights.

    Encoders of timm are tested, because some lack levels or accept only one image size.
    """
    try:
        encoder = smp_encoder(name, None)
        if is_timm(name):
            _test_levels(encoder)
    except (AssertionError, AttributeError, IndexError, RuntimeError, ValueError) as error:  # each model raises another
        raise ConfigError(
            f"model.encoder.name {name} cannot be used ({error}). An encoder needs features at 1/2 or 1/4 to 1/32 of "
            "an image whose sides are any multiples of 32.",
            hint="Choose for example resnet50, mit_b2 or tu-convnext_tiny.",
        ) from error
    return encoder


def _test_levels(encoder: nn.Module) -> None:
    height, width = 64, 96
    with torch.no_grad():
        levels = [tuple(level.shape[-2:]) for level in encoder.eval()(torch.zeros(1, 3, height, width))]
    encoder.train()
    if levels != [(height >> k, width >> k) for k in range(DEPTH + 1)]:
        raise ValueError(f"levels of {levels} pixels for an image of {(height, width)}")


def smp_encoder(name: str, weights: str | bool | None) -> nn.Module:
    """Return an encoder of segmentation-models-pytorch with its weights of that name, `None` for random ones.

    Raises:
        ConfigError: no such encoder.
    """
    if name not in smp.encoders.get_encoder_names() and not is_timm(name):
        known = [*smp.encoders.get_encoder_names(), *(f"tu-{model}" for model in timm.list_models())]
        near = difflib.get_close_matches(name, known, 3) or known[:3]
        raise ConfigError(
            f"model.encoder.name {name} is neither an encoder of segmentation-models-pytorch nor tu-<name> of timm.",
            hint=f"Choose for example {' or '.join(near)}.",
        )
    encoder: nn.Module = smp.encoders.get_encoder(name, in_channels=3, depth=DEPTH, weights=weights)
    return encoder


def is_timm(name: str) -> bool:
    """Return whether the encoder is one of timm."""
    return name.startswith("tu-") and timm.is_model(name.removeprefix("tu-"))
