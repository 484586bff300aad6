"""The sampler of training crops, reproducible from seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from xview2_siamese_unet.config.modelling import TrainingParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.training.distributed import get_rank, get_world_size


class CropIndex(NamedTuple):
    """The scene of a crop, and the seed of its position."""

    scene: int
    seed: int


class CropSampler(Sampler[CropIndex]):
    """The crops of one epoch.

    All ranks draw the same list and rank r takes every n-th of it, so the batch of all ranks together holds the same
    crops whatever their number.

    Args:
        weights: sampling weights of the scenes, (n,); only for the sampler `weighted`.
        params: seed, sampler, batch size and crops per scene.

    Raises:
        ConfigError: all weights are 0.
    """

    def __init__(self, weights: Sequence[float], params: TrainingParams) -> None:
        self._weights = np.asarray(weights, float)
        if params.sampler == "weighted" and not self._weights.sum():
            raise ConfigError(
                f"All {len(weights)} training scenes have a sample weight of 0, because none holds a building.",
                hint="Raise feature_statistics.sample_weights.empty, or set training.sampler to uniform.",
            )
        self._params = params
        self._rank, self._world_size = get_rank(), get_world_size()
        self._epoch = 0
        wanted = len(weights) * params.crops_per_scene
        full = wanted // params.batch_size * params.batch_size
        # Whole batches; if there is not even one, as many crops as give each rank the same number.
        self._total = full or -(-wanted // self._world_size) * self._world_size

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that the next iteration draws; Lightning calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._total // self._world_size

    def __iter__(self) -> Iterator[CropIndex]:
        random = np.random.default_rng([self._params.seed, self._epoch])
        scenes = self._scenes(random)
        seeds = random.integers(2**62, size=self._total)
        own = slice(self._rank, None, self._world_size)
        return (CropIndex(int(scene), int(seed)) for scene, seed in zip(scenes[own], seeds[own], strict=True))

    def _scenes(self, random: np.random.Generator) -> np.ndarray:
        n = len(self._weights)
        if self._params.sampler == "weighted":
            return random.choice(n, self._total, p=self._weights / self._weights.sum())
        # Several shuffled passes, so that each scene comes equally often.
        passes = [random.permutation(n) for _ in range(-(-self._total // n))]
        return np.concatenate(passes)[: self._total]
