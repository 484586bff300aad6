from __future__ import annotations

import socket
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from safetensors.torch import save_file

from xview2_siamese_unet.config.modelling import EncoderParams, ModelParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.models.build import build_net, load_encoder_weights, read_from_hub
from xview2_siamese_unet.models.siamese_unet import SiameseUNet

NAME = "tu-test_resnet"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError("a test reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def net(seed: int = 0, share: bool = True) -> SiameseUNet:
    torch.manual_seed(seed)
    params = {"encoder": {"name": NAME}, "decoder_channels": (16, 16, 8, 8, 8), "share_weights": share}
    return build_net(ModelParams.model_validate(params), 5)


def encoder(encoder_name: str = NAME, /, **weights: object) -> EncoderParams:
    return EncoderParams.model_validate({"name": encoder_name, "weights": weights})


def encoder_state(seed: int) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net(seed).pre.encoder.state_dict().items()}


def holds(net: SiameseUNet, date: str, state: dict[str, torch.Tensor]) -> bool:
    own = getattr(net, date).encoder.state_dict()
    return all(torch.equal(own[name], state[name]) for name in own)


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


def test_without_weights_the_encoder_stays_random() -> None:
    fresh = net()
    load_encoder_weights(fresh, encoder(source="none"))
    assert holds(fresh, "pre", encoder_state(0))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [True, False])
def test_a_file_of_weights_fills_the_encoder_of_each_date(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, share: bool
) -> None:
    state, path = encoder_state(1), tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state | {"fc.weight": torch.ones(2)}, path)
    fresh = net(0, share)
    load_encoder_weights(fresh, encoder(source="file", path=path))
    assert holds(fresh, "pre", state)
    assert holds(fresh, "post", state)
    assert all("1 tensors of" in message and "fc.weight" in message for message in caplog.messages)
    assert caplog.messages


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    state = encoder_state(1)
    first = next(iter(state))
    save_file(state | {first: torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match=rf"1 of {len(state)} tensors .* {first}"):
        load_encoder_weights(net(), encoder(source="file", path=path))


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_file_without_weights_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("no weights")
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_encoder_weights(net(), encoder(source="file", path=path))


def test_a_pth_that_is_no_dictionary_of_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_encoder_weights(net(), encoder(source="file", path=path))


@pytest.mark.parametrize("source", ["cache", "hub"])
@pytest.mark.parametrize("name", ["resnet18", NAME])
def test_missing_weights_offline_are_an_error(
    source: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants  # noqa: PLC0415

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", source == "hub")
    before = constants.HF_HUB_OFFLINE
    with pytest.raises(ConfigError) as caught:
        load_encoder_weights(net(), encoder(name, source=source))
    assert f"imagenet of {name}" in caught.value.message
    assert "model.encoder.weights.source" in caught.value.hint
    assert before == constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(("source", "offline"), [("hub", False), ("cache", True)])
def test_hf_hub_offline_0_is_not_offline(monkeypatch: pytest.MonkeyPatch, source: str, offline: bool) -> None:
    from huggingface_hub import constants  # noqa: PLC0415

    seen = []

    def watched(name: str, weights: str | bool | None) -> torch.nn.Module:
        seen.append(constants.HF_HUB_OFFLINE)
        return torch.nn.Identity()

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # which is how the hub reads a 0
    monkeypatch.setattr("xview2_siamese_unet.models.build._smp_encoder", watched)
    read_from_hub(encoder(source=source))
    assert seen == [offline]


def test_unknown_names_of_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"imagnet of resnet18 .*the hub"):
        load_encoder_weights(net(), encoder("resnet18", source="hub", name="imagnet"))


def test_building_downloads_nothing() -> None:
    params = {"encoder": {"name": NAME, "weights": {"source": "hub"}}, "decoder_channels": (16, 16, 8, 8, 8)}
    assert build_net(ModelParams.model_validate(params), 5)


def test_weights_from_a_file_need_its_path() -> None:
    with pytest.raises(ValueError, match="needs path"):
        encoder(source="file")


@pytest.mark.parametrize("architecture", ["siamese_unet", "seed"])
@pytest.mark.parametrize(
    "name",
    [
        "tu-test_vit",  # every level at 1/16
        "tu-swin_tiny_patch4_window7_224",  # sides of 224 and no other
        "tu-coatnet_0_rw_224",  # the same, said by another error
        "tu-nest_tiny",  # three levels
    ],
)
def test_an_encoder_without_five_levels_of_any_image_is_refused(architecture: str, name: str) -> None:
    params = {"encoder": {"name": name}, "architecture": architecture}
    with pytest.raises(ConfigError, match=rf"model\.encoder\.name {name} cannot be used"):
        build_net(ModelParams.model_validate(params), 5)


@pytest.mark.parametrize("name", ["tu-efficientvit_b0", "tu-mobilevit_xxs", "mit_b0", NAME])
def test_encoders_of_any_kind_with_five_levels_are_taken(name: str) -> None:
    fresh = build_net(ModelParams.model_validate({"encoder": {"name": name}}), 5)
    assert all(module.training for module in fresh.modules())
    assert all(int(count) == 0 for name, count in fresh.named_buffers() if name.endswith("num_batches_tracked"))
