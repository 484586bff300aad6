from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from small_nets import MODEL, images_of, small_checkpoint
from xview2_siamese_unet.config.modelling import HardwareParams, ModelParams, PredictionParams, Tta
from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.postprocess import Logits, Temperatures, decide, prediction_of, probabilities
from xview2_siamese_unet.models.predictor import Predictor, fuse_batch_norm, predictor_of, restore
from xview2_siamese_unet.models.siamese_unet import Normalise

CPU = HardwareParams(device="cpu", precision="32-true")


class Watching(nn.Module):
    """Returns the pixels themselves and records its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, pre: Tensor, post: Tensor) -> Logits:
        self.seen.append(pre.clone())
        return Logits(torch.cat([pre[:, :1], post[:, :1]], dim=1), post[:, :1].expand(-1, 5, -1, -1))


class Corner(nn.Module):
    """Returns the position in the image."""

    def forward(self, pre: Tensor, post: Tensor) -> Logits:
        position = torch.arange(pre[0, 0].numel(), dtype=torch.float32).view(1, 1, *pre.shape[-2:])
        return Logits(position.expand(len(pre), 2, -1, -1), position.expand(len(pre), 5, -1, -1))


def images() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, 6, 6, generator=random) + 1, torch.rand(1, 3, 6, 6, generator=random) + 1


@pytest.mark.parametrize(("tta", "views"), [("none", 1), ("flips", 4), ("d4", 8)])
def test_every_view_differs_and_is_transformed_back(tta: Tta, views: int) -> None:
    net = Watching()
    pre, post = images()
    logits = Predictor(net, nn.Identity(), tta=tta)(pre, post)
    assert len({seen.numpy().tobytes() for seen in net.seen}) == views
    torch.testing.assert_close(logits.building, torch.cat([pre[:, :1], post[:, :1]], dim=1))
    torch.testing.assert_close(logits.damage, post[:, :1].expand(-1, 5, -1, -1))


@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_outputs_that_depend_on_the_position_are_averaged_over_the_symmetries(tta: Tta) -> None:
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


def test_a_checkpoint_of_an_earlier_version_predicts_without_views_or_temperatures() -> None:
    assert prediction_of(checkpoint()) == PredictionParams()
    assert predictor_of(checkpoint(), CPU).temperatures == Temperatures(1.0, 1.0)


def test_a_checkpoint_sets_the_views_and_a_caller_may_override_them() -> None:
    pair = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    tuned = checkpoint(prediction={"tta": "d4"}, temperatures={"building": 2.0, "damage": 1.0})
    plain, d4 = (predictor_of(saved, CPU)(*pair) for saved in (checkpoint(), tuned))
    assert not torch.allclose(plain.damage, d4.damage)
    none = predictor_of(tuned, CPU, tta="none")(*pair)
    torch.testing.assert_close(none.building * 2, plain.building)
    torch.testing.assert_close(none.damage, plain.damage)


def test_no_data_becomes_the_mean() -> None:
    image = torch.full((1, 3, 2, 2), 9.0)
    image[..., 0] = 0.0
    image[0, 0, 1, 1] = 0.0  # black in one band only
    normalised = Normalise([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])(image)
    assert normalised[..., 0].unique().tolist() == [0.0]
    assert normalised[0, :, 0, 1].tolist() == [8.0, 3.5, 1.5]
    assert normalised[0, 0, 1, 1] == -1.0


VARIANTS: list[tuple[dict[str, Any], type[nn.Module]]] = [
    ({}, nn.BatchNorm2d),
    ({"share_weights": False}, nn.BatchNorm2d),
    ({"fusion_levels": "all"}, nn.BatchNorm2d),
    ({"architecture": "seed"}, nn.BatchNorm2d),
    ({"encoder": {"name": "tu-tf_efficientnet_lite0"}}, BatchNormAct2d),
]


@pytest.mark.parametrize(("variant", "fused_type"), VARIANTS)
def test_fused_batch_norms_and_separate_passes_per_image_change_no_logit(
    variant: dict[str, Any], fused_type: type[nn.Module]
) -> None:
    saved = small_checkpoint(variant)
    net, normalise, _ = restore(saved)
    pre, post = images_of(64, 96)
    with torch.inference_mode():
        expected = net.eval()(normalise(pre.float()), normalise(post.float()))
    before = norms(net)
    found = predictor_of(saved, CPU)(pre, post)
    torch.testing.assert_close(found.building, expected.building, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.damage, expected.damage, rtol=0, atol=1e-4)
    fused = fuse_batch_norm(net)
    assert fused is net
    assert norms(net) < before
    assert not any(type(module) is fused_type for module in net.modules())


@pytest.mark.slow
def test_every_kind_of_block_of_efficientnet_is_fused() -> None:
    net, _, _ = restore(small_checkpoint({"encoder": {"name": "tu-efficientnetv2_rw_t"}}))
    pre, post = (image.double() / 255 for image in images_of(64, 96))
    with torch.inference_mode():
        expected = net.eval().double()(pre, post)
        found = fuse_batch_norm(net)(pre, post)
    torch.testing.assert_close(found.damage, expected.damage, rtol=0, atol=1e-9)
    assert not any(type(module) is BatchNormAct2d for module in net.modules())


def norms(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def test_a_restored_net_has_its_weights_and_normalisation() -> None:
    saved = checkpoint(classes={"unclassified": "no_damage"})
    net, normalise, classes = restore(saved)
    assert all(torch.equal(value, saved["state"][name]) for name, value in net.state_dict().items())
    assert normalise(torch.full((1, 3, 1, 1), 5.0)).flatten().tolist() == [4.0, 1.5, 0.5]
    assert classes.unclassified == "no_damage"


@pytest.mark.parametrize(
    "changes",
    [
        {"state": {}},
        {"state": {"pre.encoder.conv1.weight": torch.ones(1)}},
        {"classes": {"unclassified": "class"}},
        {"classes": {"unclassified": "perhaps"}},
        {"model": {**MODEL, "fusion": "concat"}},
        {"model": {**MODEL, "unknown": 1}},
        {"model": {"encoder": {"name": "gone"}}},
        {"channels": {"mean": [1.0, 2.0, 3.0]}},
        {"channels": {"mean": "x", "std": "y"}},
        {"state": None},
    ],
    ids=str,
)
def test_a_checkpoint_that_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="does not fit"):
        restore(checkpoint(**changes))


def test_a_checkpoint_without_a_part_is_refused() -> None:
    saved = checkpoint()
    del saved["channels"]
    with pytest.raises(CheckpointError, match="'channels'"):
        restore(saved)


def test_a_checkpoint_that_is_older_than_the_bottleneck_is_restored() -> None:
    wide = {"encoder": {"name": "resnet50"}, "decoder_channels": [8, 8, 8, 8, 8]}
    with torch.device("meta"):
        state = build_net(ModelParams.model_validate({**wide, "bottleneck": None}), 5).state_dict()
    zeros = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in state.items()}
    net, _, _ = restore(checkpoint(model=wide, state=zeros))
    assert net.state_dict().keys() == state.keys()
