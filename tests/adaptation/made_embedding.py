"""An embedding on disk with known features."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xview2_siamese_unet.adaptation.embedding import Block, Embedding
from xview2_siamese_unet.adaptation.fitting import Labelled

BLOCKS = (Block("made 0 outline", 1.0, 0, 4), Block("made 1 outline", 0.5, 4, 10))


def write_embedding(folder: Path, features: np.ndarray, seed: int = 0) -> Embedding:
    """Write the features in another order than that of the buildings."""
    position = np.random.default_rng(seed).permutation(len(features))
    rows = np.empty(features.shape, np.float16)
    rows[position] = features
    np.save(folder / "made.npy", rows)
    return Embedding(folder / "made.npy", position, BLOCKS, "d" * 64)


def make_features(codes: np.ndarray, separation: float, seed: int = 0) -> np.ndarray:
    """Return random features (n, 10), shifted in column 0 for damaged and in column 5 for destroyed buildings."""
    features = np.random.default_rng(seed).normal(size=(len(codes), 10))
    features[:, 0] += separation * (codes > 1)
    features[:, 5] -= separation * (codes == 4)
    return features.astype(np.float16).astype(np.float32)


def labelled(features: np.ndarray, codes: np.ndarray, zero_shot: np.ndarray | None = None) -> Labelled:
    return Labelled(features, codes, np.arange(len(codes)) // 4, np.ones(len(codes)), zero_shot)
