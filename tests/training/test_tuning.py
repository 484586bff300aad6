from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.metrics.confusion import Counts, count_scene
from xview2_siamese_unet.models.postprocess import (
    Logits,
    Thresholds,
    decide,
    probabilities,
    scored_bytes,
    thresholds_of,
)
from xview2_siamese_unet.models.predictor import Predictor
from xview2_siamese_unet.models.trained import Net, as_net
from xview2_siamese_unet.models.vote import vote
from xview2_siamese_unet.training import trainer, tuning
from xview2_siamese_unet.training.calibration import calibrate, sample_logits
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.predictions import Predictions, join_logits
from xview2_siamese_unet.training.shrinkage import Shrunk
from xview2_siamese_unet.training.trainer import Folders, fit
from xview2_siamese_unet.training.tuning import (
    Buildings,
    collect_buildings,
    count_predictions,
    count_votes,
    tune_decision_rule,
    tune_thresholds,
    tune_vote_weights,
)


class Timid(nn.Module):
    """Detects every building and its class, but with probability 0.3, or 0.15 if it is damaged."""

    def forward(self, pre: Tensor, post: Tensor) -> Logits:
        truth = pre[:, 0].long()
        random = torch.Generator().manual_seed(0)
        p = torch.where(truth == 0, 0.05, torch.where((truth >= 2) & (truth <= 4), 0.15, 0.3))
        p = p + 0.02 * torch.rand(p.shape, generator=random)
        building = torch.stack([1 - p, p], dim=1).log()
        return Logits(building, nn.functional.one_hot(truth, 6).movedim(-1, 1).float())


def dense_scenes() -> Tensor:
    random = np.random.default_rng(0)
    pixels = np.zeros((3, 16, 16, 8), np.uint8)
    pixels[..., 7] = random.choice(6, (3, 16, 16), p=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    pixels[..., 0], pixels[..., 6] = pixels[..., 7], pixels[..., 7] > 0
    return torch.from_numpy(pixels)


def predicted(net: Net, pixels: Tensor, batch: int = 1) -> Predictions:
    return Predictions(net, lambda: pixels.split(batch), None)


def mean_f1(counts: Counts) -> tuple[float, float]:
    """Return the F1 of localisation and the mean F1 of the damage classes in the truth."""
    known = counts.damage[1:5]
    f1 = [2 * known[k - 1, k] / (known[k - 1].sum() + known[:, k].sum()) for k in range(1, 5) if known[k - 1].any()]
    (_, wrong), (missed, hit) = counts.localization
    return 2 * hit / (2 * hit + wrong + missed), float(np.mean(f1))


def score(thresholds: Thresholds) -> float:
    counts = Counts.zero()
    for pixels in dense_scenes():
        image = pixels.permute(2, 0, 1)[None].float()
        predicted = decide(probabilities(Timid()(image, image)), thresholds)[0].numpy()
        counts += count_scene(pixels[..., 6].numpy(), pixels[..., 7].numpy(), predicted, scene="s")
    located, damaged = mean_f1(counts)
    return 0.3 * located + 0.7 * damaged


def test_thresholds_that_help_every_scene_equal_those_of_an_exhaustive_search() -> None:
    predictions = count_predictions(predicted(as_net(Predictor(Timid(), nn.Identity())), dense_scenes(), batch=2))
    assert predictions.sum(axis=(1, 2, 3, 4)).tolist() == [16 * 16] * 3 + [0] * 17
    tuned = tune_thresholds(predictions, "ignore")
    best = tuned.setting
    tried = [Thresholds(upper / 10, lower / 10) for upper, lower in itertools.product(range(1, 9), repeat=2)]
    assert score(best) == pytest.approx(max(score(each) for each in tried), abs=1e-9)
    assert score(best) > score(Thresholds()) + 0.5
    assert best.damaged <= best.building <= 0.3
    assert tuned.strength > 0
    assert tuned.gain == pytest.approx(score(best) - score(Thresholds()), abs=1e-9)


def test_thresholds_of_one_half_stay_unless_others_are_better() -> None:
    perfect = np.zeros((20, 50, 6, 2, 6), np.int64)
    for code in range(1, 5):
        perfect[:2, 49, code, 1, code] = 10
    perfect[:2, 0, 1, 0, 0] = 100
    assert tune_thresholds(perfect, "ignore") == (Thresholds(0.5, 0.5), 0, 0, 0)


def test_thresholds_are_not_tuned_on_one_scene() -> None:
    predictions = count_predictions(predicted(as_net(Predictor(Timid(), nn.Identity())), dense_scenes()[:1]))
    assert tune_thresholds(predictions, "ignore").setting == Thresholds()


@pytest.mark.parametrize("tune", [True, False])
def test_tuned_thresholds_are_saved(
    data: TrainingData,
    folders: Folders,
    recipe: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    tune: bool,
) -> None:
    tuned = Thresholds(0.4, 0.2)
    monkeypatch.setattr(tuning, "tune_thresholds", lambda *_: Shrunk(tuned, 1.0, 0.1, 0.01))
    checkpoint = fit(data, recipe(prediction={"tune": tune}), folders, cores=1)
    assert thresholds_of(checkpoint) == (tuned if tune else Thresholds())


def test_a_checkpoint_without_thresholds_uses_one_half() -> None:
    assert thresholds_of({}) == Thresholds(0.5, 0.5)


EVEN = (1.0, 1.0, 1.0, 1.0)


class Hesitant(nn.Module):
    """Detects every building, but predicts most minor damage as no damage."""

    def forward(self, pre: Tensor, post: Tensor) -> Logits:
        truth = pre[:, 0].long()
        random = torch.Generator().manual_seed(0)
        damage = 2 * nn.functional.one_hot(truth, 6).movedim(-1, 1) + torch.randn(
            (len(pre), 6, *pre.shape[-2:]), generator=random
        )
        damage[:, 1] += 2.0
        x = torch.where(truth == 0, -3.0, 3.0)
        return Logits(torch.stack([-x, x], dim=1), damage)


def scenes() -> Tensor:
    random = np.random.default_rng(0)
    pixels = np.zeros((2, 32, 32, 8), np.uint8)
    for scene in pixels:
        for row in range(0, 32, 8):
            for column in range(0, 32, 8):
                scene[row + 1 : row + 6, column + 1 : column + 6, 7] = random.integers(0, 6)
    pixels[..., 0], pixels[..., 6] = pixels[..., 7], pixels[..., 7] > 0
    return torch.from_numpy(pixels)


def scored(weights: tuple[float, ...] | None) -> float:
    """Return the mean damage F1 from deciding, voting and counting every pixel."""
    counts = Counts.zero()
    for pixels in scenes().split(1):
        image = pixels[..., :3].permute(0, 3, 1, 2).float()
        shares = probabilities(Predictor(Hesitant(), nn.Identity())(image, image))
        codes = decide(shares)[0].numpy()
        if weights:
            codes = vote(codes, scored_bytes(shares)[0], weights)
        counts += count_scene(pixels[0, ..., 6].numpy(), pixels[0, ..., 7].numpy(), codes, scene="s")
    return mean_f1(counts)[1]


def collected() -> Buildings:
    return collect_buildings(predicted(as_net(Predictor(Hesitant(), nn.Identity())), scenes()), Thresholds())


def test_votes_are_counted_in_pixels_and_better_weights_are_found() -> None:
    for weights in (EVEN, (1.0, 3.0, 2.0, 1.5)):
        counts = count_votes(collected(), weights).damage.sum(axis=0)
        assert mean_f1(Counts(np.ones((2, 2), np.int64), counts))[1] == pytest.approx(scored(weights), abs=1e-9)
    tuned = tune_vote_weights(collected(), EVEN, "ignore")
    assert tuned.gain > tuned.error > 0
    assert scored(tuned.setting) > max(scored(EVEN), scored(None))
    assert tuned.setting[1] > tuned.setting[0]  # this net predicts minor damage as no damage


def test_weights_that_help_by_chance_are_refused() -> None:
    buildings = collected()
    noisy = buildings._replace(truth=np.random.default_rng(0).permutation(buildings.truth))
    assert tune_vote_weights(noisy, EVEN, "ignore") == (EVEN, 0, 0, 0)


@pytest.mark.parametrize(
    ("prediction", "is_tuned"),
    [
        ({"tune": True, "vote": "connected"}, True),
        ({"tune": False, "vote": "connected"}, False),
        ({"tune": True, "vote": "none"}, False),
    ],
)
def test_tuned_vote_weights_are_saved(
    *,
    data: TrainingData,
    folders: Folders,
    recipe: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    prediction: dict[str, object],
    is_tuned: bool,
) -> None:
    tuned, given = (1.0, 2.0, 3.0, 4.0), (4.0, 3.0, 2.0, 1.0)
    monkeypatch.setattr(tuning, "tune_vote_weights", lambda *_: Shrunk(tuned, 1.0, 0.1, 0.01))
    made = fit(data, recipe(prediction={**prediction, "vote_weights": given}), folders, cores=1)
    assert made["prediction"]["vote_weights"] == [*(tuned if is_tuned else given)]


def test_another_decision_rule_does_not_train_again(
    data: TrainingData, folders: Folders, recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fit(data, recipe(), folders, cores=1)
    monkeypatch.setattr(trainer.DamageModule, "training_step", lambda *_: pytest.fail("trained again"))
    again = fit(data, recipe(prediction={"tta": "flips", "tune": True}), folders, cores=1)
    assert again["history"] == first["history"]
    assert again["fingerprint"] != first["fingerprint"]
    assert again["prediction"]["tta"] == "flips"


class Counted(Hesitant):
    """Counts its forward passes; misses buildings narrowly, and its logits are 3 times too large."""

    passes = 0

    def forward(self, pre: Tensor, post: Tensor) -> Logits:
        self.passes += 1
        logits = super().forward(pre, post)
        logits.building[:, 1] -= 4 + 4 * torch.rand(pre[:, 0].shape, generator=torch.Generator().manual_seed(0))
        return Logits(*(3 * part for part in logits))


@pytest.mark.parametrize("vote", ["connected", "none"])
@pytest.mark.parametrize("batch", [1, 2])
def test_one_pass_of_the_net_tunes_the_same_rule_as_one_pass_per_step(
    recipe: Callable[..., Recipe], tmp_path: Path, vote: str, batch: int
) -> None:
    net, pixels = Counted(), torch.cat([scenes(), scenes().flip(1), scenes().flip(2)])
    settings = recipe(prediction={"tune": True, "vote": vote, "tta": "flips"})
    rule = tune_decision_rule(net, nn.Identity(), lambda: pixels.split(batch), len(pixels), settings, tmp_path)
    assert net.passes == len(pixels) // batch * 4  # views
    assert not [*tmp_path.iterdir()]

    predict = Predictor(net, nn.Identity(), tta="flips")
    logits = predicted(lambda *images: join_logits(predict(*images)), pixels, batch)
    temperatures, errors = calibrate(*sample_logits(logits, "ignore", 4_000_000 // len(pixels)))
    shares = predicted(as_net(Predictor(net, nn.Identity(), tta="flips", temperatures=temperatures)), pixels, batch)
    thresholds = tune_thresholds(count_predictions(shares), "ignore").setting
    buildings = collect_buildings(shares, thresholds)
    weights = tune_vote_weights(buildings, EVEN, "ignore").setting if vote == "connected" else EVEN
    assert rule == (temperatures, errors, thresholds, weights)
    assert min(temperatures) > 1.2
    assert thresholds != Thresholds()
    assert (weights == EVEN) == (vote == "none")


def test_predictions_are_not_kept_on_an_almost_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    net = Counted()
    free = iter([10**12, 0])
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=next(free)))
    with TemporaryFile(dir=tmp_path) as file:
        kept = Predictions(as_net(Predictor(net, nn.Identity())), lambda: scenes().split(1), file)
        first, second = ([*kept] for _ in range(2))
        assert os.fstat(file.fileno()).st_size == 0
    assert net.passes == 2 * len(first) == 2 * len(second) == 4
    assert all(torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True))
    assert "almost full" in caplog.text


def test_kept_predictions_equal_those_of_the_net(tmp_path: Path) -> None:
    net = as_net(Predictor(Hesitant(), nn.Identity()))
    with TemporaryFile(dir=tmp_path) as file:
        kept = Predictions(net, lambda: scenes().split(1), file)
        first, second, third = ([*kept] for _ in range(3))
    assert len(first) == 2
    for one, two, three in zip(first, second, third, strict=True):
        for a, b, c in zip(one, two, three, strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)
            assert torch.equal(a, c)
