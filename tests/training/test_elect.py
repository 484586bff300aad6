from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.metrics.confusion import Counts, count_scene
from xview2_siamese_unet.metrics.scores import official_score
from xview2_siamese_unet.models.postprocess import Thresholds, decide, probabilities, scored_bytes, vote
from xview2_siamese_unet.models.predictor import Predictor
from xview2_siamese_unet.models.siamese_unet import Logits
from xview2_siamese_unet.training import answering
from xview2_siamese_unet.training import fit as fit_room
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.elect import best_weights, collect_ballots, damage_f1
from xview2_siamese_unet.training.fit import Folders, fit

EVEN = (1.0, 1.0, 1.0, 1.0)


class Hesitant(nn.Module):
    """Sees every building, but takes most of the minor damage for none."""

    def forward(self, pre: Tensor, post: Tensor) -> Logits:
        truth = pre[:, 0].long()
        random = torch.Generator().manual_seed(0)
        damage = 2 * nn.functional.one_hot(truth, 6).movedim(-1, 1) + torch.randn(
            (len(pre), 6, *pre.shape[-2:]), generator=random
        )
        damage[:, 1] += 2.0
        sure = torch.where(truth == 0, -3.0, 3.0)
        return Logits(torch.stack([-sure, sure], dim=1), damage)


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
    """Damage F1 the long way: every pixel decided, voted and counted."""
    counts = Counts.zero()
    for pixels in scenes().split(1):
        image = pixels[..., :3].permute(0, 3, 1, 2).float()
        shares = probabilities(Predictor(Hesitant(), nn.Identity())(image, image))
        codes = decide(shares)[0].numpy()
        if weights:
            codes = vote(codes, scored_bytes(shares)[0], weights)
        counts += count_scene(pixels[0, ..., 6].numpy(), pixels[0, ..., 7].numpy(), codes, scene="s")
    return official_score(counts)["damage_f1"]


def test_ballots_say_what_counting_pixels_says_and_better_weights_are_found() -> None:
    ballots = collect_ballots(Predictor(Hesitant(), nn.Identity()), scenes().split(1), Thresholds())
    for weights in (EVEN, (1.0, 3.0, 2.0, 1.5)):
        assert damage_f1(ballots, weights, "ignore") == pytest.approx(scored(weights), abs=1e-9)
    found = best_weights(ballots, EVEN, "ignore")
    assert scored(found) > scored(EVEN)
    assert scored(found) > scored(None)


def test_the_first_weights_stay_unless_something_is_better() -> None:
    ballots = collect_ballots(Predictor(Hesitant(), nn.Identity()), scenes().split(1), Thresholds())
    found = best_weights(ballots, EVEN, "ignore")
    assert best_weights(ballots, found, "ignore") == found


@pytest.mark.parametrize(
    ("prediction", "elected"),
    [
        ({"tune": True, "vote": "connected"}, True),
        ({"tune": False, "vote": "connected"}, False),
        ({"tune": True, "vote": "none"}, False),
    ],
)
def test_weights_are_tuned_where_asked_for_and_saved(
    *,
    data: TrainingData,
    folders: Folders,
    recipe: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    prediction: dict[str, object],
    elected: bool,
) -> None:
    found, given = (1.0, 2.0, 3.0, 4.0), (4.0, 3.0, 2.0, 1.0)
    monkeypatch.setattr(answering, "best_weights", lambda *_: found)
    made = fit(data, recipe(prediction={**prediction, "vote_weights": given}), folders, cores=1)
    assert made["prediction"]["vote_weights"] == [*(found if elected else given)]


def test_another_way_to_answer_trains_nothing(
    data: TrainingData, folders: Folders, recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fit(data, recipe(), folders, cores=1)
    monkeypatch.setattr(fit_room.DamageModule, "training_step", lambda *_: pytest.fail("trained again"))
    again = fit(data, recipe(prediction={"tta": "flips", "tune": True}), folders, cores=1)
    assert again["history"] == first["history"]
    assert again["fingerprint"] != first["fingerprint"]
    assert again["prediction"]["tta"] == "flips"
