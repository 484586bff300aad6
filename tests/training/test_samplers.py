from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import chisquare

from xview2_siamese_unet.config.modelling import TrainingParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.training.samplers import CropIndex, CropSampler

Launch = Callable[[int, int], None]
WEIGHTS = [0.5, 1.0, 2.0, 3.0, 1.5]


def sampler(**values: object) -> CropSampler:
    return CropSampler(WEIGHTS, TrainingParams.model_validate({"batch_size": 5, **values}))


def scenes(crops: CropSampler) -> list[int]:
    return [index.scene for index in crops]


def test_scenes_are_drawn_in_proportion_to_their_weights() -> None:
    counts = np.bincount(scenes(sampler(crops_per_scene=4000)), minlength=5)
    assert chisquare(counts, counts.sum() * np.array(WEIGHTS) / sum(WEIGHTS)).pvalue > 0.001
    assert chisquare(counts).pvalue < 1e-6


def test_the_uniform_sampler_draws_each_scene_equally_often_in_random_order() -> None:
    drawn = scenes(sampler(crops_per_scene=3, sampler="uniform"))
    assert np.bincount(drawn).tolist() == [3] * 5
    assert drawn[:5] != drawn[5:10]


def test_an_epoch_repeats_and_differs_from_the_next() -> None:
    one, other = (sampler(crops_per_scene=8) for _ in range(2))
    first = list(one)
    assert first == list(one)
    one.set_epoch(1)
    assert list(one) != first
    other.set_epoch(1)
    assert list(other) == list(one)
    assert list(sampler(crops_per_scene=8, seed=1)) != first


def test_only_complete_batches_are_drawn_unless_there_is_none(launch: Launch) -> None:
    assert len(sampler(batch_size=2)) == 4
    assert len(sampler(batch_size=8)) == 5
    launch(0, 2)
    assert len(sampler(batch_size=8)) == 3


@pytest.mark.parametrize("kind", ["weighted", "uniform"])
def test_ranks_share_each_batch(launch: Launch, kind: str) -> None:
    def of_rank(rank: int, world: int) -> list[CropIndex]:
        launch(rank, world)
        return list(sampler(batch_size=6, crops_per_scene=6, sampler=kind))

    alone, parts = of_rank(0, 1), [of_rank(rank, 3) for rank in range(3)]
    for step in range(len(alone) // 6):
        together = [index for part in parts for index in part[2 * step : 2 * step + 2]]
        assert sorted(together) == sorted(alone[6 * step : 6 * step + 6])


def test_weights_of_0_are_refused_only_by_the_weighted_sampler() -> None:
    with pytest.raises(ConfigError, match=r"2 training scenes.* weight of 0") as caught:
        CropSampler([0.0, 0.0], TrainingParams(batch_size=1))
    assert "feature_statistics.sample_weights.empty" in caught.value.hint
    assert scenes(CropSampler([0.0, 0.0], TrainingParams(batch_size=1, sampler="uniform")))
