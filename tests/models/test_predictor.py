from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from xview2_siamese_unet.config.modelling import HardwareParams, ModelParams
from xview2_siamese_unet.config.prediction import PredictionParams, Tta
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.checkpoint import prediction_of, predictor_of
from xview2_siamese_unet.models.normalise import Normalise
from xview2_siamese_unet.models.postprocess import Temperatures, decide, probabilities
from xview2_siamese_unet.models.predictor import Predictor, folded
from xview2_siamese_unet.models.siamese_unet import Logits

MODEL = {"encoder": {"name": "tu-test_resnet"}, "decoder_channels": [16, 16, 8, 8, 8]}
CPU = HardwareParams(device="cpu", precision="32-true")


class Watching(nn.Module):
    """Answers with the pixel itself and remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, pre: Tensor, post: Tensor) -> Logits:
        self.seen.append(pre.clone())
        return Logits(torch.cat([pre[:, :1], post[:, :1]], dim=1), post[:, :1].expand(-1, 5, -1, -1))


class Corner(nn.Module):
    """Answers by the place in the image, whatever is shown."""

    def forward(self, pre: Tensor, post: Tensor) -> Logits:
        place = torch.arange(pre[0, 0].numel(), dtype=torch.float32).view(1, 1, *pre.shape[-2:])
        return Logits(place.expand(len(pre), 2, -1, -1), place.expand(len(pre), 5, -1, -1))


def images() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, 6, 6, generator=random) + 1, torch.rand(1, 3, 6, 6, generator=random) + 1


@pytest.mark.parametrize(("tta", "views"), [("none", 1), ("flips", 4), ("d4", 8)])
def test_every_view_is_another_one_and_is_turned_back(tta: Tta, views: int) -> None:
    net = Watching()
    pre, post = images()
    logits = Predictor(net, nn.Identity(), tta=tta)(pre, post)
    assert len({seen.numpy().tobytes() for seen in net.seen}) == views
    torch.testing.assert_close(logits.building, torch.cat([pre[:, :1], post[:, :1]], dim=1))
    torch.testing.assert_close(logits.damage, post[:, :1].expand(-1, 5, -1, -1))


@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_a_net_that_looks_at_places_only_is_averaged_over_the_symmetries(tta: Tta) -> None:
    found = Predictor(Corner(), nn.Identity(), tta=tta)(torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2)).building
    assert found.flatten().tolist() == [1.5] * 8
    wide = Predictor(Corner(), nn.Identity(), tta=tta)(torch.ones(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).building[0, 0]
    torch.testing.assert_close(wide, wide.flip(0).flip(1))


def test_temperatures_divide_the_logits_and_change_no_order() -> None:
    pre, post = images()
    plain = Predictor(Watching(), nn.Identity())(pre, post)
    cooled = Predictor(Watching(), nn.Identity(), temperatures=Temperatures(2.0, 4.0))(pre, post)
    torch.testing.assert_close(cooled.building * 2, plain.building)
    torch.testing.assert_close(cooled.damage * 4, plain.damage)
    assert torch.equal(decide(probabilities(cooled)), decide(probabilities(plain)))
    assert not torch.allclose(probabilities(cooled), probabilities(plain))


def checkpoint(**changes: object) -> dict[str, Any]:
    torch.manual_seed(0)
    net = build_net(ModelParams.model_validate(MODEL), 5)
    channels = {"mean": [1.0, 2.0, 3.0], "std": [1.0, 2.0, 4.0]}
    return {"state": net.state_dict(), "model": MODEL, "classes": {}, "channels": channels, **changes}


def test_a_checkpoint_of_an_earlier_version_answers_plainly() -> None:
    assert prediction_of(checkpoint()) == PredictionParams()
    assert predictor_of(checkpoint(), CPU).temperatures == Temperatures(1.0, 1.0)


def test_a_checkpoint_says_how_it_answers_and_a_caller_may_ask_for_other_views() -> None:
    dates = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    tuned = checkpoint(prediction={"tta": "d4"}, temperatures={"building": 2.0, "damage": 1.0})
    plain, d4 = (predictor_of(saved, CPU)(*dates) for saved in (checkpoint(), tuned))
    assert not torch.allclose(plain.damage, d4.damage)
    none = predictor_of(tuned, CPU, tta="none")(*dates)
    torch.testing.assert_close(none.building * 2, plain.building)
    torch.testing.assert_close(none.damage, plain.damage)


def test_no_data_looks_as_what_lies_beyond_a_crop() -> None:
    image = torch.full((1, 3, 2, 2), 9.0)
    image[..., 0] = 0.0
    image[0, 0, 1, 1] = 0.0  # black in one band only
    seen = Normalise([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])(image)
    assert seen[..., 0].unique().tolist() == [0.0]
    assert seen[0, :, 0, 1].tolist() == [8.0, 3.5, 1.5]
    assert seen[0, 0, 1, 1] == -1.0


class Counting(nn.Module):
    """Looks at the number of images, which nobody knows while code is traced."""

    def forward(self, image: Tensor) -> Tensor:
        return image * len(image)


@pytest.mark.parametrize("net", [Counting(), Corner()])
def test_a_net_that_cannot_be_traced_stays_as_it_is(net: nn.Module) -> None:
    assert folded(net) is net
