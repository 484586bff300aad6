from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from xview2_siamese_unet.config.modelling import DamageLossMix, ModelParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.decoders import DECODERS
from xview2_siamese_unet.models.siamese_unet import SiameseUNet, fuse, pad
from xview2_siamese_unet.training.losses import mix_losses

SMALL = {"encoder": {"name": "tu-test_resnet"}, "decoder_channels": (16, 16, 8, 8, 8)}


def small(**changes: object) -> SiameseUNet:
    torch.manual_seed(0)
    return build_net(ModelParams.model_validate(SMALL | changes), 5).eval()


def images() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 64, 32, generator=random), torch.rand(2, 3, 64, 32, generator=random)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("fusion", ["concat", "difference", "both"])
def test_both_heads_predict_at_full_size(share: bool, fusion: str) -> None:
    logits = small(share_weights=share, fusion=fusion)(*images())
    assert logits.building.shape == (2, 2, 64, 32)
    assert logits.damage.shape == (2, 5, 64, 32)


@pytest.mark.parametrize("share", [True, False])
def test_the_building_mask_never_depends_on_the_post_image(share: bool) -> None:
    net = small(share_weights=share)
    pre, post = images()
    one, other = net(pre, post), net(pre, 1 - post)
    torch.testing.assert_close(one.building, other.building)
    assert not torch.allclose(one.damage, other.damage)


def test_shared_weights_are_one_u_net_and_separate_weights_are_two() -> None:
    shared, separate = small(), small(share_weights=False)
    assert shared.pre is shared.post
    assert separate.pre is not separate.post
    inside = sum(p.numel() for p in shared.pre.parameters())
    assert sum(p.numel() for p in separate.parameters()) - sum(p.numel() for p in shared.parameters()) == inside


def test_one_pass_over_both_images_equals_two_passes() -> None:
    net = small()
    pre, post = images()
    before, after = net.pre(pre), net.pre(post)
    torch.testing.assert_close(net(pre, post).damage, net.damage_head(fuse(before, after, "both")))


def test_fusion_joins_the_features() -> None:
    before, after = torch.tensor([1.0]).view(1, 1, 1, 1), torch.tensor([3.0]).view(1, 1, 1, 1)
    assert fuse(before, after, "concat").flatten().tolist() == [1, 3]
    assert fuse(before, after, "difference").flatten().tolist() == [2]
    assert fuse(before, after, "both").flatten().tolist() == [1, 3, 2]


def test_decoder_channels_and_the_number_of_classes_can_be_set() -> None:
    net = build_net(ModelParams.model_validate(SMALL | {"decoder_channels": (16, 16, 8, 8, 4)}), 6)
    assert net.building_head.in_channels == 4
    assert net.damage_head[-1].out_channels == 6


WIDTHS = {"fpn": (32, 32, 8, 8, 8)}


def made(decoder: str, **changes: object) -> SiameseUNet:
    return small(decoder=decoder, decoder_channels=WIDTHS.get(decoder, (16, 16, 8, 8, 8)), **changes)


@pytest.mark.parametrize("levels", ["last", "all"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_predicts_at_full_size_with_a_mask_of_the_pre_image(decoder: str, levels: str) -> None:
    net = made(decoder, fusion_levels=levels)
    pre, post = images()
    one, other = net(pre, post), net(pre, 1 - post)
    assert (one.building.shape, one.damage.shape) == ((2, 2, 64, 32), (2, 5, 64, 32))
    torch.testing.assert_close(one.building, other.building)
    torch.testing.assert_close(one.building, net.localise(pre))
    assert not torch.allclose(one.damage, other.damage)


@pytest.mark.parametrize("levels", ["last", "all"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_image_sides_need_not_be_multiples_of_the_stride(decoder: str, levels: str) -> None:
    net = made(decoder, fusion_levels=levels)
    pre, post = (image[..., :50, :31] for image in images())
    logits = net(pre, post)
    assert (logits.building.shape, logits.damage.shape) == ((2, 2, 50, 31), (2, 5, 50, 31))
    torch.testing.assert_close(logits.building, net.localise(pre))


def test_padding_lies_below_and_to_the_right() -> None:
    image = torch.ones(1, 3, 5, 8)
    assert pad(image, 4).shape == (1, 3, 8, 8)
    assert pad(image, 4).sum() == image.sum() == pad(image, 4)[..., :5, :].sum()
    assert pad(image, 1) is image


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("fusion", ["concat", "difference", "both"])
def test_features_can_be_fused_at_all_levels(share: bool, fusion: str) -> None:
    net = small(share_weights=share, fusion=fusion, fusion_levels="all")
    logits = net(*images())
    assert logits.damage.shape == (2, 5, 64, 32)
    logits.damage.sum().backward()
    assert all(joint.weight.grad is not None and joint.weight.grad.any() for joint in net.joints)


@pytest.mark.parametrize(("widths", "stride"), [((16, 16, 8, 8), 2), ((16, 16, 8), 4)])
def test_a_u_net_with_fewer_levels_is_resized(widths: tuple[int, ...], stride: int) -> None:
    net = small(decoder_channels=widths)
    pre, post = images()
    assert net.pre(pre).shape == (2, 8, 64 // stride, 32 // stride)
    assert net(pre, post).damage.shape == (2, 5, 64, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": "unetplusplus", "decoder_channels": (16, 16, 8)}, "five decoder_channels"),
        ({"decoder": "fpn", "decoder_channels": (32, 16, 8)}, "a multiple of 32"),
    ],
)
def test_channels_that_do_not_fit_the_decoder_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(**changes)


@pytest.mark.parametrize("decoder", ["unet", "unetplusplus"])
def test_a_bottleneck_narrows_only_wider_features(decoder: str) -> None:
    def size(bottleneck: int | None) -> int:
        return sum(p.numel() for p in made(decoder, bottleneck=bottleneck).parameters())

    deepest = small().pre.encoder.out_channels[-1]
    assert size(deepest // 4) < size(None) == size(deepest) == size(2 * deepest)
    assert made(decoder, bottleneck=8)(*images()).damage.shape == (2, 5, 64, 32)


class Operations(TorchDispatchMode):
    """Records the names of the operations of a computation."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        self.names.add(func.__name__.split(".")[0])
        return func(*args, **(kwargs or {}))


# Image operations that `torch.use_deterministic_algorithms` refuses on a GPU.
REFUSED = re.compile(
    "(adaptive_avg_pool2d|adaptive_max_pool2d|upsample_(bilinear|bicubic)2d.*|reflection_pad2d|grid_sampler_2d)_backward"
    "|nll_loss|histc|put_$|max_unpool2d|median|scatter_reduce"
)


@pytest.mark.parametrize(
    ("decoder", "encoder"),
    [*((name, "tu-test_resnet") for name in DECODERS), ("unet", "resnet18"), ("unet", "tu-tf_efficientnet_lite0")],
)
def test_only_upernet_uses_an_operation_that_is_not_deterministic_on_a_gpu(decoder: str, encoder: str) -> None:
    # On the meta device, torch selects the deterministic operations of a GPU for resizing.
    params = {"encoder": {"name": encoder}, "decoder": decoder, "decoder_channels": (32, 32, 16, 16, 8)}
    target = torch.zeros(2, 64, 64, dtype=torch.int64, device="meta")
    torch.use_deterministic_algorithms(True)
    try:
        with torch.device("meta"), Operations() as operations:
            image = torch.zeros(2, 3, 64, 64)
            logits = build_net(ModelParams.model_validate(params), 5).train()(image, image)
            mix = DamageLossMix(focal=1.0, cross_entropy=1.0, dice=1.0, ordinal=1.0)
            mix_losses(logits.damage, target, mix, alpha=torch.ones(5), gamma=2.0).backward()
    finally:
        torch.use_deterministic_algorithms(False)
    refused = {name for name in operations.names if REFUSED.search(name)}
    assert refused == ({"_adaptive_avg_pool2d_backward"} if decoder == "upernet" else set())
