"""Decoders by name.

This module does not import torch, so that a wrong name or width is refused before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

from xview2_siamese_unet.config.modelling import ModelParams
from xview2_siamese_unet.config.validation import look_up
from xview2_siamese_unet.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

DEPTH: Final = 5
"""Levels of an encoder below the image itself, each half as large as the one above."""


class Built(NamedTuple):
    """A decoder for the features of one encoder.

    Attributes:
        module: features of all levels, the image itself first → features (b, channels, h / stride, w / stride).
        channels: of the features that it returns.
        stride: pixels of the image for each of these features.
        multiple: height and width of an image must be multiples of it; `stride` if `None`.
    """

    module: nn.Module
    channels: int
    stride: int
    multiple: int | None = None


class Decoder(NamedTuple):
    """An entry of `DECODERS`.

    Attributes:
        build: channels of all levels, the image itself first, and the parameters → the decoder.
        narrows: whether `model.bottleneck` reduces the deepest level that `build` is given.
        problem: `model.decoder_channels` → what the decoder needs instead; `None` if they fit.
    """

    build: Callable[[Sequence[int], ModelParams], Built]
    narrows: bool = False
    problem: Callable[[tuple[int, ...]], str | None] = lambda _: None


def find_decoder(params: ModelParams) -> Decoder:
    """Return the decoder that the parameters name.

    Raises:
        ConfigError: no such decoder, or channels that do not fit it.
    """
    decoder = look_up(DECODERS, params.decoder, "model.decoder")
    if problem := decoder.problem(params.decoder_channels):
        raise ConfigError(
            f"model needs {problem} for decoder {params.decoder}, got {list(params.decoder_channels)}.",
            hint="Correct model.decoder_channels.",
        )
    return decoder


def smp_decoder(package: str, kind: str, **options: object) -> nn.Module:
    """Return a decoder of segmentation-models-pytorch, which takes seconds to import."""
    decoder: nn.Module = getattr(import_module(f"segmentation_models_pytorch.decoders.{package}.decoder"), kind)(
        **options
    )
    return decoder


def _unet(levels: Sequence[int], params: ModelParams) -> Built:
    return _with_skips("unet", "UnetDecoder", levels, params)


def _unetplusplus(levels: Sequence[int], params: ModelParams) -> Built:
    # Only the plain U-Net resizes each level to the next, whatever its size.
    return _with_skips("unetplusplus", "UnetPlusPlusDecoder", levels, params)._replace(multiple=2**DEPTH)


def _with_skips(package: str, kind: str, levels: Sequence[int], params: ModelParams) -> Built:
    widths = params.decoder_channels
    module = smp_decoder(package, kind, encoder_channels=levels, decoder_channels=widths, n_blocks=len(widths))
    return Built(module, widths[-1], 2 ** (DEPTH - len(widths)))


def _fpn(levels: Sequence[int], params: ModelParams) -> Built:
    pyramid, width = params.decoder_channels[:2]
    options = {"encoder_channels": levels, "pyramid_channels": pyramid, "segmentation_channels": width}
    return Built(smp_decoder("fpn", "FPNDecoder", **options), width, 4, 2**DEPTH)


def _upernet(levels: Sequence[int], params: ModelParams) -> Built:
    width = params.decoder_channels[0]
    return Built(smp_decoder("upernet", "UPerNetDecoder", encoder_channels=levels, decoder_channels=width), width, 4)


def _segformer(levels: Sequence[int], params: ModelParams) -> Built:
    width = params.decoder_channels[0]
    options = {"encoder_channels": levels, "segmentation_channels": width}
    return Built(smp_decoder("segformer", "SegformerDecoder", **options), width, 4)


DECODERS: Final[dict[str, Decoder]] = {
    "unet": Decoder(_unet, narrows=True),
    "unetplusplus": Decoder(
        _unetplusplus, narrows=True, problem=lambda widths: "five decoder_channels" if len(widths) < 5 else None
    ),
    "fpn": Decoder(
        _fpn, problem=lambda widths: "a multiple of 32 as second of decoder_channels" if widths[1] % 32 else None
    ),
    "upernet": Decoder(_upernet),
    "segformer": Decoder(_segformer),
}
"""Names for `model.decoder`; the last three predict at a quarter of the size."""
