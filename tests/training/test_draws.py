from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from xview2_siamese_unet.config.training import TrainingParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.training.draws import Draws
from xview2_siamese_unet.training.processes import Shard

WEIGHTS = [0.5, 1.0, 2.0, 3.0, 1.5]


def indices(draws: Draws) -> list[int]:
    return [draw.scene for draw in draws]


def params(**values: object) -> TrainingParams:
    return TrainingParams.model_validate({"batch_size": 5, **values})


def test_scenes_are_drawn_as_often_as_their_weights_say() -> None:
    draws = Draws(WEIGHTS, params(crops_per_scene=4000), Shard())
    counts = np.bincount(indices(draws), minlength=5)
    assert chisquare(counts, counts.sum() * np.array(WEIGHTS) / sum(WEIGHTS)).pvalue > 0.001
    assert chisquare(counts).pvalue < 1e-6


def test_the_uniform_sampler_shows_each_scene_equally_often_and_in_another_order() -> None:
    draws = Draws(WEIGHTS, params(crops_per_scene=3, sampler="uniform"), Shard())
    drawn = indices(draws)
    assert np.bincount(drawn).tolist() == [3] * 5
    assert drawn[:5] != drawn[5:10]


def test_an_epoch_is_the_same_each_time_and_differs_from_the_next() -> None:
    draws, other = (Draws(WEIGHTS, params(crops_per_scene=8), Shard()) for _ in range(2))
    first = list(draws)
    assert first == list(draws)
    draws.set_epoch(1)
    assert list(draws) != first
    other.set_epoch(1)
    assert list(other) == list(draws)
    assert list(Draws(WEIGHTS, params(crops_per_scene=8, seed=1), Shard())) != first


def test_only_whole_batches_are_drawn_unless_there_is_not_even_one() -> None:
    assert len(Draws(WEIGHTS, params(batch_size=2), Shard())) == 4
    assert len(Draws(WEIGHTS, params(batch_size=8), Shard())) == 5
    assert len(Draws(WEIGHTS, params(batch_size=8), Shard(0, 2))) == 3


@pytest.mark.parametrize("sampler", ["weighted", "uniform"])
def test_processes_share_each_batch_among_them(sampler: str) -> None:
    settings = params(batch_size=6, crops_per_scene=6, sampler=sampler)
    alone = list(Draws(WEIGHTS, settings, Shard()))
    parts = [list(Draws(WEIGHTS, settings, Shard(rank, 3))) for rank in range(3)]
    for step in range(len(alone) // 6):
        together = [draw for part in parts for draw in part[2 * step : 2 * step + 2]]
        assert sorted(together) == sorted(alone[6 * step : 6 * step + 6])


def test_weights_that_are_all_0_are_refused_where_they_are_drawn_by() -> None:
    with pytest.raises(ConfigError, match=r"feature_statistics\.sample_weights: found a weight of 0 for each"):
        Draws([0.0, 0.0], params(batch_size=1), Shard())
    assert indices(Draws([0.0, 0.0], params(batch_size=1, sampler="uniform"), Shard()))
