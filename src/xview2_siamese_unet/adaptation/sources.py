"""Sources of features by their names, and the features of the buildings of an assessment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd

from xview2_siamese_unet.adaptation.embedding import Embedding, Encoder, embed, sample_patches
from xview2_siamese_unet.adaptation.random_convolutions import FILTERS, RandomEncoder
from xview2_siamese_unet.config.adaptation import is_checkpoint, source_names
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.inference.reopen import ADAPTED
from xview2_siamese_unet.packages import TORCH
from xview2_siamese_unet.raster.reader import Pair


def make_encoders(features: Sequence[str], outlines: gpd.GeoSeries, pair: Pair) -> list[Encoder]:
    """Return the encoders of some sources.

    Args:
        features: `package`, `random`, files of checkpoints, or names of timm.
        outlines: of the buildings, near which `random` samples its patches.
        pair: both images.

    Raises:
        ConfigError: torch or the model is missing, weights cannot be read, or a source is named twice.
        CheckpointError: a checkpoint cannot be used.
        DataError: too few buildings are visible for random convolutions.
    """
    names = source_names(features)
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"The features {twice[0]} are named twice.", hint="Name each source once.")
    return [_make_encoder(name, outlines, pair) for name in features]


def _make_encoder(name: str, outlines: gpd.GeoSeries, pair: Pair) -> Encoder:
    if name == "random":
        patches = sample_patches(outlines, pair)
        if len(patches) < FILTERS:
            raise DataError(
                "Too few buildings are visible for random convolutions.",
                hint="Use --features package (needs torch).",
            )
        return RandomEncoder(patches)
    if "torch" in TORCH.missing:
        raise ConfigError(
            f"The features {name} need torch, which is not installed.",
            hint=f"Use --features random, or install it: {TORCH.install}.",
        )
    # torch is slow to import
    from xview2_siamese_unet.adaptation.encoders import CheckpointEncoder, PretrainedEncoder  # noqa: PLC0415

    return CheckpointEncoder(Path(name).expanduser()) if is_checkpoint(name) else PretrainedEncoder(name)


def embed_with(features: Sequence[str], outlines: gpd.GeoSeries, pair: Pair, folder: Path) -> Embedding:
    """Return the features of all buildings, reused from disk for the same images, outlines and sources.

    Args:
        features: names of the sources.
        outlines: of the buildings.
        pair: both images.
        folder: of the assessment; `kedro label` and `kedro adapt` share the files below it.
    """
    encoders = make_encoders(features, outlines, pair)
    return embed(outlines, pair, encoders, folder / ADAPTED / ".embedding", post_only=pair.post_only)
