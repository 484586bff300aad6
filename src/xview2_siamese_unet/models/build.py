"""Parameters → a net: architectures, encoders, and pretrained weights."""

from __future__ import annotations

import difflib
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import segmentation_models_pytorch as smp
import timm
import torch
from huggingface_hub import constants
from torch import Tensor, nn

from xview2_siamese_unet.config.modelling import EncoderParams, ModelParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.models.checkpoint import read_weights
from xview2_siamese_unet.models.decoders import DEPTH, find_decoder
from xview2_siamese_unet.models.seed import SeedNet, SeedUNet
from xview2_siamese_unet.models.siamese_unet import BottleneckDecoder, SiameseUNet, UNet

DamageNet = SiameseUNet | SeedNet
_log = logging.getLogger(__name__)


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

    Encoders of timm are tested, because some lack levels or take images of one size only.
    """
    try:
        encoder = _smp_encoder(name, None)
        if _is_timm(name):
            _test_levels(encoder)
    except (AssertionError, AttributeError, IndexError, RuntimeError, ValueError) as error:  # each model has its own
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


def _smp_encoder(name: str, weights: str | bool | None) -> nn.Module:
    if name not in smp.encoders.get_encoder_names() and not _is_timm(name):
        known = [*smp.encoders.get_encoder_names(), *(f"tu-{model}" for model in timm.list_models())]
        near = difflib.get_close_matches(name, known, 3) or known[:3]
        raise ConfigError(
            f"model.encoder.name {name} is neither an encoder of segmentation-models-pytorch nor tu-<name> of timm.",
            hint=f"Choose for example {' or '.join(near)}.",
        )
    encoder: nn.Module = smp.encoders.get_encoder(name, in_channels=3, depth=DEPTH, weights=weights)
    return encoder


def _is_timm(name: str) -> bool:
    return name.startswith("tu-") and timm.is_model(name.removeprefix("tu-"))


def load_encoder_weights(net: DamageNet, params: EncoderParams) -> dict[str, str]:
    """Load pretrained weights into the encoder(s) of a new net; return their origin.

    Returns:
        `source`, `name` and `sha256`, of the file where there is one, else of the tensors in the order of their names;
        empty where the encoder stays random.

    Raises:
        ConfigError: weights that do not exist or cannot be downloaded.
        CheckpointError: a file whose weights do not fit the encoder.
    """
    weights = params.weights
    if weights.source == "none":
        return {}
    if weights.source == "file" and weights.path is not None:
        name, state = weights.path.name, _read_file(weights.path)
        with weights.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    else:
        name, state = f"{params.name} {weights.name}", read_from_hub(params)
        digest = hashlib.sha256()
        for key in sorted(state):
            digest.update(key.encode() + state[key].contiguous().numpy().tobytes())
    for unet in {net.pre, net.post}:
        _load(unet.encoder, state, str(weights.path or weights.name))
    return {"source": weights.source, "name": name, "sha256": digest.hexdigest()}


def read_from_hub(params: EncoderParams) -> dict[str, Tensor]:
    """Return pretrained weights; downloads what is missing unless `source` is `cache`.

    Raises:
        ConfigError: weights that do not exist or cannot be downloaded.
    """
    weights = params.weights
    with _offline(weights.source == "cache"):
        try:
            # A model of timm carries the name of its weights in its own name, after a dot.
            return _smp_encoder(params.name, _is_timm(params.name) or weights.name).state_dict()
        except (OSError, KeyError, RuntimeError) as error:
            place = "the local cache" if weights.source == "cache" else "the hub"
            raise ConfigError(
                f"Weights {weights.name} of {params.name} cannot be read from {place} ({type(error).__name__}).",
                hint="Set model.encoder.weights.source to file with a path, or to none.",
            ) from error


@contextmanager
def _offline(cache_only: bool) -> Iterator[None]:
    """Prevent downloads while only the cache may be used."""
    # The constant is HF_HUB_OFFLINE as the hub parses it, once: 0 is not offline.
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or cache_only
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        return {str(name): tensor for name, tensor in read_weights(path).items() if isinstance(tensor, Tensor)}
    except Exception as error:  # torch and safetensors raise half a dozen classes for a bad file
        raise CheckpointError(
            f"{path} holds no weights ({type(error).__name__}).",
            hint="Save the encoder's state_dict with safetensors.torch.save_file or torch.save.",
        ) from error


def _load(encoder: nn.Module, state: dict[str, Tensor], name: str) -> None:
    wanted = encoder.state_dict()
    kept = {key: tensor for key, tensor in state.items() if key in wanted}
    missing = [key for key in wanted if key not in kept or kept[key].shape != wanted[key].shape]
    if missing:
        raise CheckpointError(
            f"{name} does not fit the encoder: {len(missing)} of {len(wanted)} tensors are missing or of another "
            f"shape, {missing[0]} the first.",
            hint="Use weights of the encoder that model.encoder.name names.",
        )
    if other := [key for key in state if key not in wanted]:
        _log.warning("%d tensors of %s are not part of the encoder and are not used: %s", len(other), name, other[0])
    encoder.load_state_dict(kept)
