from __future__ import annotations

import pytest
import torch

from xview2_siamese_unet.config.modelling import ModelParams
from xview2_siamese_unet.models.build import build_net


def seed_net(encoder: str = "tu-test_resnet", classes: int = 6) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_net(ModelParams.model_validate({"architecture": "seed", "encoder": {"name": encoder}}), classes)


def test_the_seed_net_has_as_many_weights_as_the_original() -> None:
    assert sum(p.numel() for p in seed_net("resnet50").parameters()) == pytest.approx(69.1e6, rel=0.002)


def test_both_heads_predict_at_full_size_and_get_gradients() -> None:
    pre, post = torch.rand(2, 2, 3, 64, 32)
    net = seed_net()
    logits = net(pre, post)
    assert logits.building.shape == (2, 2, 64, 32)
    assert logits.damage.shape == (2, 6, 64, 32)
    (logits.building.mean() + logits.damage.mean()).backward()
    learnt = (
        p.grad is not None and bool(p.grad.any()) for p in (net.pre.decoder[0].weight, net.post.decoder[0].weight)
    )
    assert all(learnt)


def test_only_the_damage_logits_depend_on_the_post_disaster_image() -> None:
    net = seed_net().eval()
    pre, post = torch.rand(2, 1, 3, 64, 64)
    assert net.pre.encoder is not net.post.encoder
    torch.testing.assert_close(net(pre, post).building, net(pre, 1 - post).building)
    assert not torch.equal(net(pre, post).damage, net(pre, 1 - post).damage)
