from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.metrics.confusion import Counts, count_scene
from xview2_siamese_unet.metrics.scores import official_score
from xview2_siamese_unet.models.checkpoint import thresholds_of
from xview2_siamese_unet.models.postprocess import Thresholds, decide, probabilities
from xview2_siamese_unet.models.predictor import Predictor
from xview2_siamese_unet.models.siamese_unet import Logits
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.fit import Folders, fit
from xview2_siamese_unet.training.thresholds import best_thresholds, count_answers


class Timid(nn.Module):
    """Knows every building and its class, but is only 0.3 sure, and 0.15 where there is damage."""

    def forward(self, pre: Tensor, post: Tensor) -> Logits:
        truth = pre[:, 0].long()
        random = torch.Generator().manual_seed(0)
        sure = torch.where(truth == 0, 0.05, torch.where((truth >= 2) & (truth <= 4), 0.15, 0.3))
        sure = sure + 0.02 * torch.rand(sure.shape, generator=random)
        building = torch.stack([1 - sure, sure], dim=1).log()
        return Logits(building, nn.functional.one_hot(truth, 6).movedim(-1, 1).float())


def scenes() -> Tensor:
    random = np.random.default_rng(0)
    pixels = np.zeros((3, 16, 16, 8), np.uint8)
    pixels[..., 7] = random.choice(6, (3, 16, 16), p=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    pixels[..., 0], pixels[..., 6] = pixels[..., 7], pixels[..., 7] > 0
    return torch.from_numpy(pixels)


def score(thresholds: Thresholds) -> float:
    counts = Counts.zero()
    for pixels in scenes():
        image = pixels.permute(2, 0, 1)[None].float()
        predicted = decide(probabilities(Timid()(image, image)), thresholds)[0].numpy()
        counts += count_scene(pixels[..., 6].numpy(), pixels[..., 7].numpy(), predicted, scene="s")
    return official_score(counts)["score"]


def test_the_best_thresholds_are_those_of_a_search_over_all() -> None:
    answered = count_answers(Predictor(Timid(), nn.Identity()), scenes().split(2))
    assert answered.sum() == 3 * 16 * 16
    found = best_thresholds(answered, "ignore")
    tried = [Thresholds(upper / 10, lower / 10) for upper, lower in itertools.product(range(1, 9), repeat=2)]
    assert score(found) == pytest.approx(max(score(each) for each in tried), abs=1e-9)
    assert score(found) > score(Thresholds()) + 0.5
    assert found.damaged <= found.building <= 0.3


def test_one_half_stays_unless_something_is_better() -> None:
    perfect = np.zeros((50, 6, 2, 6), np.int64)
    for code in range(1, 5):
        perfect[49, code, 1, code] = 10
    perfect[0, 1, 0, 0] = 100
    assert best_thresholds(perfect, "ignore") == Thresholds(0.5, 0.5)


@pytest.mark.parametrize("tune", [True, False])
def test_thresholds_are_tuned_where_asked_for_and_saved(
    data: TrainingData,
    folders: Folders,
    recipe: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    tune: bool,
) -> None:
    found = Thresholds(0.4, 0.2)
    monkeypatch.setattr("xview2_siamese_unet.training.answering.best_thresholds", lambda *_: found)
    checkpoint = fit(data, recipe(prediction={"tune": tune}), folders, cores=1)
    assert thresholds_of(checkpoint) == (found if tune else Thresholds())


def test_a_checkpoint_without_thresholds_means_one_half() -> None:
    assert thresholds_of({}) == Thresholds(0.5, 0.5)
