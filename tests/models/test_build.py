from __future__ import annotations

import pytest

from xview2_siamese_unet.config.modelling import ModelParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models.build import build_net

NAME = "tu-test_resnet"


@pytest.mark.parametrize(
    ("name", "near"), [("resnet5", "resnet50"), ("efficientnet-b77", "efficientnet-b7"), ("zzz", "resnet18")]
)
def test_an_unknown_encoder_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.encoder\.name") as caught:
        build_net(ModelParams.model_validate({"encoder": {"name": name}}), 5)
    assert near in caught.value.hint


@pytest.mark.parametrize(("name", "near"), [("unett", "unet"), ("FPN", "unet"), ("segfromer", "segformer")])
def test_an_unknown_decoder_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"model.decoder must be one of unet, .*segformer, got '{name}'") as caught:
        build_net(ModelParams.model_validate({"encoder": {"name": NAME}, "decoder": name}), 5)
    assert near in caught.value.hint


def test_an_unknown_timm_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.encoder\.name tu-nonsense"):
        build_net(ModelParams.model_validate({"encoder": {"name": "tu-nonsense"}}), 5)


def test_building_a_net_downloads_nothing() -> None:
    params = {"encoder": {"name": NAME, "weights": {"source": "hub"}}, "decoder_channels": (16, 16, 8, 8, 8)}
    assert build_net(ModelParams.model_validate(params), 5)


@pytest.mark.parametrize("architecture", ["siamese_unet", "seed"])
@pytest.mark.parametrize(
    "name",
    [
        "tu-test_vit",  # every level at 1/16
        "tu-swin_tiny_patch4_window7_224",  # only images of 224 × 224
        "tu-coatnet_0_rw_224",  # the same, with another error
        "tu-nest_tiny",  # three levels
    ],
)
def test_an_encoder_without_five_levels_of_any_image_is_refused(architecture: str, name: str) -> None:
    params = {"encoder": {"name": name}, "architecture": architecture}
    with pytest.raises(ConfigError, match=rf"model\.encoder\.name {name} cannot be used"):
        build_net(ModelParams.model_validate(params), 5)


@pytest.mark.parametrize("name", ["tu-efficientvit_b0", "tu-mobilevit_xxs", "mit_b0", NAME])
def test_encoders_of_any_kind_with_five_levels_are_accepted(name: str) -> None:
    fresh = build_net(ModelParams.model_validate({"encoder": {"name": name}}), 5)
    assert all(module.training for module in fresh.modules())
    assert all(int(count) == 0 for name, count in fresh.named_buffers() if name.endswith("num_batches_tracked"))
