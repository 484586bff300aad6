"""The one place where a name becomes a module, and where first weights come from."""

from __future__ import annotations

import difflib
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn

from xview2_siamese_unet.config.modelling import EncoderParams, EncoderWeightsParams, ModelParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.models.seed import SeedNet, SeedUNet
from xview2_siamese_unet.models.siamese_unet import NarrowedDecoder, SiameseUNet, UNet
from xview2_siamese_unet.models.weights_file import read_weights

DamageNet = SiameseUNet | SeedNet
_log = logging.getLogger(__name__)
_DEPTH: Final = 5
"""Levels of an encoder below the image itself, each half as large as the one above."""


def build_net(params: ModelParams, damage_classes: int) -> DamageNet:
    """Return the net with random weights; never downloads, so that inference works offline.

    Raises:
        ConfigError: no such encoder, or none that gives five levels of any image.
    """
    if params.architecture == "seed":
        pre, post = (SeedUNet(_pyramid(params.encoder.name), classes) for classes in (2, damage_classes))
        return SeedNet(pre, post, damage_classes)
    first = _unet(params)
    second = first if params.share_weights else _unet(params)
    at_all_levels = params.fusion_levels == "all"
    return SiameseUNet(first, second, damage_classes, params.fusion, at_all_levels=at_all_levels)


def load_encoder_weights(net: DamageNet, params: EncoderParams) -> dict[str, str]:
    """Put pretrained weights into the encoder(s) of a new net, as the parameters ask; return which these are.

    Returns:
        `source`, `name` and `sha256`, of the file where there is one, else of the tensors in the order of their names;
        empty where the encoder stays random.

    Raises:
        ConfigError: weights that do not exist or cannot be had offline.
        CheckpointError: a file whose weights do not fit the encoder.
    """
    weights = params.weights
    if weights.source == "none":
        return {}
    state = _read_weights(weights.path) if weights.path and weights.source == "file" else read_from_hub(params)
    for unet in {net.pre, net.post}:
        _fit(unet.encoder, state, weights.path or Path(weights.name))
    name = weights.path.name if weights.path else f"{params.name} {weights.name}"
    return {"source": weights.source, "name": name, "sha256": _digest(state, weights)}


def _digest(state: dict[str, Tensor], weights: EncoderWeightsParams) -> str:
    """Return the SHA-256 of the file, as `sha256sum` gives it, or of the tensors where the hub keeps the file."""
    if weights.path and weights.source == "file":
        with weights.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _unet(params: ModelParams) -> UNet:
    encoder, widths = _pyramid(params.encoder.name), params.decoder_channels
    levels = {"encoder_channels": encoder.out_channels}
    match params.decoder:
        case "unet" | "unetplusplus":
            kind = UnetDecoder if params.decoder == "unet" else UnetPlusPlusDecoder
            full = {"decoder_channels": widths, "n_blocks": len(widths)}
            decoder, stride = _narrowed(kind, encoder, params.bottleneck, full), 2 ** (_DEPTH - len(widths))
            # Only the plain one brings each level to the size of the next, whatever that is.
            return UNet(encoder, decoder, widths[-1], stride, None if params.decoder == "unet" else 2**_DEPTH)
        case "fpn":
            pyramid = FPNDecoder(**levels, pyramid_channels=widths[0], segmentation_channels=widths[1])
            return UNet(encoder, pyramid, widths[1], 4, 2**_DEPTH)
        case "upernet":
            return UNet(encoder, UPerNetDecoder(**levels, decoder_channels=widths[0]), widths[0], 4)
        case "segformer":
            return UNet(encoder, SegformerDecoder(**levels, segmentation_channels=widths[0]), widths[0], 4)


def _narrowed(
    kind: Callable[..., nn.Module], encoder: nn.Module, bottleneck: int | None, full: dict[str, Any]
) -> nn.Module:
    """Return a decoder over features whose deepest level is first brought down to `bottleneck`, where it is wider."""
    channels: tuple[int, ...] = tuple(encoder.out_channels)  # type: ignore[arg-type]
    if bottleneck is None or channels[-1] <= bottleneck:
        return kind(encoder_channels=channels, **full)
    narrow = kind(encoder_channels=(*channels[:-1], bottleneck), **full)
    return NarrowedDecoder(narrow, channels[-1], bottleneck)


def _pyramid(name: str) -> nn.Module:
    """Return an encoder with random weights, once it has shown that it gives what decoders need.

    Those of segmentation-models-pytorch do; of the others some know one size, or have levels of their own.
    """
    try:
        encoder = _encoder(name, None)
        if _is_timm(name):
            _look_at_levels(encoder)
    except (AssertionError, AttributeError, IndexError, RuntimeError, ValueError) as error:  # each model has its own
        raise ConfigError(
            "model.encoder.name",
            found=f"{name}, which cannot be used ({error})",
            allowed="an encoder with features at 1/2 or 1/4 to 1/32 of an image whose sides are any multiples of 32",
            remedy="take for example resnet50, mit_b2 or tu-convnext_tiny",
        ) from error
    return encoder


def _look_at_levels(encoder: nn.Module) -> None:
    height, width = 64, 96
    with torch.no_grad():
        levels = [tuple(level.shape[-2:]) for level in encoder.eval()(torch.zeros(1, 3, height, width))]
    encoder.train()
    if levels != [(height >> k, width >> k) for k in range(_DEPTH + 1)]:
        raise ValueError(f"levels of {levels} pixels for an image of {(height, width)}")


def _encoder(name: str, weights: str | bool | None) -> nn.Module:
    if name not in smp.encoders.get_encoder_names() and not _is_timm(name):
        known = [*smp.encoders.get_encoder_names(), *(f"tu-{model}" for model in timm.list_models())]
        near = difflib.get_close_matches(name, known, 3) or known[:3]
        raise ConfigError(
            "model.encoder.name",
            found=name,
            allowed="an encoder of segmentation-models-pytorch, or tu-<name> of timm",
            remedy=f"take for example {' or '.join(near)}",
        )
    encoder: nn.Module = smp.encoders.get_encoder(name, in_channels=3, depth=_DEPTH, weights=weights)
    return encoder


def _is_timm(name: str) -> bool:
    return name.startswith("tu-") and timm.is_model(name.removeprefix("tu-"))


def read_from_hub(params: EncoderParams) -> dict[str, Tensor]:
    """Return pretrained weights out of the cache; downloads what is not in it, unless only the cache is asked for.

    Raises:
        ConfigError: weights that do not exist or cannot be had offline.
    """
    with _offline(params.weights):
        try:
            # A model of timm carries the name of its weights in its own name, after a dot.
            return _encoder(params.name, _is_timm(params.name) or params.weights.name).state_dict()
        except (OSError, KeyError, RuntimeError) as error:
            raise ConfigError(
                "model.encoder.weights",
                found=f"{params.weights.name} of {params.name}, which cannot be had here ({type(error).__name__})",
                allowed="weights in the local cache (cache), on a reachable hub (hub) or in a file (file)",
                remedy="set model.encoder.weights.source to file with a path, or to none",
            ) from error


@contextmanager
def _offline(weights: EncoderWeightsParams) -> Iterator[None]:
    """Hold back every download while only the cache is asked for."""
    # Its flag is the variable HF_HUB_OFFLINE as the hub reads it, once: 0 is not offline.
    from huggingface_hub import constants  # noqa: PLC0415

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or weights.source == "cache"
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return {str(name): tensor for name, tensor in read_weights(path).items() if isinstance(tensor, Tensor)}
    except Exception as error:  # torch and safetensors raise half a dozen kinds for one cause: a bad file
        raise CheckpointError(
            str(path),
            found=f"a file that holds no weights ({type(error).__name__})",
            allowed="a .safetensors file, or a .pth file of plain tensors",
            remedy="save the encoder's state_dict with safetensors.torch.save_file or torch.save",
        ) from error


def _fit(encoder: nn.Module, state: dict[str, Tensor], where: Path) -> None:
    wanted = encoder.state_dict()
    kept = {name: tensor for name, tensor in state.items() if name in wanted}
    missing = [name for name in wanted if name not in kept or kept[name].shape != wanted[name].shape]
    if missing:
        raise CheckpointError(
            str(where),
            found=f"{len(missing)} of {len(wanted)} tensors missing or of another shape, {missing[0]} the first",
            allowed="all weights of the encoder",
            remedy="take weights of the encoder that model.encoder.name names",
        )
    if other := [name for name in state if name not in wanted]:
        _log.warning("%d tensors of %s are not part of the encoder and are not used: %s", len(other), where, other[0])
    encoder.load_state_dict(kept)
