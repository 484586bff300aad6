"""Which scene is looked at when: a function of seed and epoch alone, so that a resumed run draws what it would have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from xview2_siamese_unet.config.training import TrainingParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.training.processes import Shard


class Draw(NamedTuple):
    """One scene, and the seed of everything random about its crop."""

    scene: int
    seed: int


class Draws(Sampler[Draw]):
    """The draws of one epoch; `set_epoch` says of which.

    All processes make the same list and each takes every n-th of it, so that a batch of all of them together holds
    the same scenes whatever their number.

    Args:
        weights: how often each scene is drawn, (n,); only for the sampler `weighted`.
        params: seed, sampler, batch and crops in an epoch.
        shard: which part of the list is this process's own.

    Raises:
        ConfigError: the sampler `weighted` has nothing to draw by.
    """

    def __init__(self, weights: Sequence[float], params: TrainingParams, shard: Shard) -> None:
        self._weights = np.asarray(weights, float)
        if params.sampler == "weighted" and not self._weights.sum():
            raise ConfigError(
                "feature_statistics.sample_weights",
                found=f"a weight of 0 for each of {len(weights)} training scenes, none of which holds a building",
                allowed="a weight above 0 for one of them at least",
                remedy="raise feature_statistics.sample_weights.empty, or set training.sampler to uniform",
            )
        self._params = params
        self._shard = shard
        self._epoch = 0
        wanted = len(weights) * params.crops_per_scene
        full = wanted // params.batch_size * params.batch_size
        # Whole batches; where there is not even one, as many as give each process the same number.
        self._total = full or -(-wanted // shard.world) * shard.world

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; the loop calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._total // self._shard.world

    def __iter__(self) -> Iterator[Draw]:
        random = np.random.default_rng([self._params.seed, self._epoch])
        scenes = self._scenes(random)
        seeds = random.integers(2**62, size=self._total)
        own = slice(self._shard.rank, None, self._shard.world)
        return (Draw(int(scene), int(seed)) for scene, seed in zip(scenes[own], seeds[own], strict=True))

    def _scenes(self, random: np.random.Generator) -> np.ndarray:
        n = len(self._weights)
        if self._params.sampler == "weighted":
            return random.choice(n, self._total, p=self._weights / self._weights.sum())
        # More draws than scenes: one shuffled pass after another, so that each scene comes equally often.
        passes = [random.permutation(n) for _ in range(-(-self._total // n))]
        return np.concatenate(passes)[: self._total]
