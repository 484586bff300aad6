from __future__ import annotations

import numpy as np
import pytest

from xview2_siamese_unet.metrics.confusion import Counts
from xview2_siamese_unet.metrics.scores import mean_scores
from xview2_siamese_unet.training.shrinkage import Shrunk, shrink
from xview2_siamese_unet.types import BoolArray, CountRows, Numbers

SETTINGS = 30


def tuned(hits: CountRows, scenes: int) -> Shrunk[int]:
    """Tune settings by their counts, with axes setting, block and 40 columns; setting 0 is the default."""

    def score(counts: Counts) -> Numbers:
        return mean_scores(counts)["damage_f1"]

    def search(blocks: BoolArray) -> int:
        return int(np.argmax([score(Counts.from_rows(rows[blocks].sum(axis=0))) for rows in hits]))

    return shrink(
        tune=search,
        between=lambda setting, strength: setting if strength > 0.5 else 0,
        count=lambda setting: hits[setting],
        score=score,
        blocks=np.arange(20) < scenes,
    )


def settings(random: np.random.Generator, scenes: int, better: float) -> CountRows:
    """Return counts of settings that differ by noise, except number 7, which is better."""
    hits = np.zeros((SETTINGS, 20, 40), np.int64)
    recall = np.clip(random.normal(0.5, 0.15, (SETTINGS, scenes, 2)), 0.05, 0.95)
    recall[7] = np.clip(recall[7] + better, 0.05, 0.99)
    for number, code in enumerate((1, 4)):
        right = (100 * recall[..., number]).astype(np.int64)
        hits[:, :scenes, 4 + 7 * code] = right
        hits[:, :scenes, 4 + 6 * code] = 100 - right  # missed
    return hits


@pytest.mark.parametrize("scenes", [4, 10, 20])
def test_settings_that_differ_only_by_chance_are_mostly_refused(scenes: int) -> None:
    kept = [tuned(settings(np.random.default_rng(seed), scenes, 0.0), scenes) for seed in range(30)]
    assert sum(each.strength > 0 for each in kept) <= 8
    assert all(each.gain > each.error for each in kept if each.strength)


@pytest.mark.parametrize("scenes", [4, 10, 20])
def test_a_better_setting_is_found(scenes: int) -> None:
    kept = [tuned(settings(np.random.default_rng(seed), scenes, 0.35), scenes) for seed in range(30)]
    assert sum(each.setting == 7 for each in kept) >= 25


def test_the_gain_is_measured_on_held_out_blocks() -> None:
    hits = settings(np.random.default_rng(0), 10, 0.4)
    found = tuned(hits, 10)
    f1 = [[2 * h / (100 * 10 + h) for h in hits[each, :, [11, 32]].sum(axis=1)] for each in (0, 7)]
    assert found.setting == 7
    assert found.gain == pytest.approx(np.mean(f1[1]) - np.mean(f1[0]))


def test_with_one_block_the_default_is_kept() -> None:
    assert tuned(settings(np.random.default_rng(0), 1, 0.4), 1) == Shrunk(0, 0.0, 0.0, 0.0)
