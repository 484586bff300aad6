from __future__ import annotations

import pytest
import torch

from xview2_siamese_unet.nets.build import build_net
from xview2_siamese_unet.nets.siamese_unet import SiameseUNet, fuse
from xview2_siamese_unet.params.modelling import ModelParams

SMALL = {"encoder": {"name": "tu-test_resnet"}, "decoder_channels": (16, 16, 8, 8, 8)}


def small(**changes: object) -> SiameseUNet:
    torch.manual_seed(0)
    return build_net(ModelParams.model_validate(SMALL | changes), 5).eval()


def images() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 64, 32, generator=random), torch.rand(2, 3, 64, 32, generator=random)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("fusion", ["concat", "difference", "both"])
def test_both_heads_answer_at_full_size(share: bool, fusion: str) -> None:
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


def test_shared_weights_are_one_u_net_and_twins_are_two() -> None:
    shared, twins = small(), small(share_weights=False)
    assert shared.pre is shared.post
    assert twins.pre is not twins.post
    inside = sum(p.numel() for p in shared.pre.parameters())
    assert sum(p.numel() for p in twins.parameters()) - sum(p.numel() for p in shared.parameters()) == inside


def test_one_pass_over_both_dates_is_two_passes() -> None:
    net = small()
    pre, post = images()
    before, after = net.pre(pre), net.pre(post)
    torch.testing.assert_close(net(pre, post).damage, net.damage_head(fuse(before, after, "both")))


def test_fusion_joins_the_dates() -> None:
    before, after = torch.tensor([1.0]).view(1, 1, 1, 1), torch.tensor([3.0]).view(1, 1, 1, 1)
    assert fuse(before, after, "concat").flatten().tolist() == [1, 3]
    assert fuse(before, after, "difference").flatten().tolist() == [2]
    assert fuse(before, after, "both").flatten().tolist() == [1, 3, 2]


def test_channels_of_the_decoder_and_classes_are_parameters() -> None:
    net = build_net(ModelParams.model_validate(SMALL | {"decoder_channels": (16, 16, 8, 8, 4)}), 6)
    assert net.building_head.in_channels == 4
    assert net.damage_head[-1].out_channels == 6
