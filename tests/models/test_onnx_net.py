"""ONNX networks with a model card give the probabilities of a numpy reference."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from scipy.special import expit, softmax

from onnx_nets import IMAGENET, Activated, Coarse, write_card, write_onnx
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.inference.prediction import WindowPredictor
from xview2_siamese_unet.models.card import Member, parse_card
from xview2_siamese_unet.models.onnx_net import OnnxNet
from xview2_siamese_unet.models.trained import TrainedModel, read_model

CPU = HardwareParams(device="cpu", precision="32-true")
CARD = Path(__file__).parents[2] / "docs" / "cards" / "beacongis.yml"


def pair(height: int, width: int, batch: int = 1) -> np.ndarray:
    """Return both images, uint8 (2, batch, 3, height, width)."""
    return np.random.default_rng(height * width).integers(0, 256, (2, batch, 3, height, width), dtype=np.uint8)


def predict(path: Path, images: np.ndarray, **how: Any) -> np.ndarray:  # noqa: ANN401
    found: np.ndarray = TrainedModel(read_model(path), CPU, **how)(*images)
    return found


def reference(loc: Path, damage: list[Path], pre: np.ndarray, post: np.ndarray, dtype: type) -> np.ndarray:
    """Return background and four classes of three networks, straight from ONNX Runtime."""
    height, width = pre.shape[-2:]
    more = ((0, 0), (0, 0), (0, -height % 32), (0, -width % 32))
    mean, std = (np.float32(IMAGENET[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    pre, post = (
        ((np.pad(image, more, "reflect") / np.float32(255) - mean) / std).astype(dtype) for image in (pre, post)
    )
    both, run = np.concatenate([pre, post], axis=1), onnxruntime.InferenceSession
    p = expit(np.float32(run(loc).run(None, {"input": pre})[0]))
    classes = [np.float32(run(path).run(None, {"input": both})[0]) for path in damage]
    q = np.mean([softmax(each, axis=1) for each in classes], axis=0)
    return np.concatenate([1 - p, p * q], axis=1)[..., :height, :width]


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_the_three_networks_of_the_public_card_are_one_model(tmp_path: Path, half: bool) -> None:
    card = yaml.safe_load(CARD.read_text())
    loc, *damage = (tmp_path / member["file"] for member in card["members"])
    for seed, member in enumerate(card["members"]):
        bands, classes = (6, 4) if seed else (3, 1)
        member.update(write_onnx(Coarse(bands, classes, seed), tmp_path / member["file"], bands, half=half))
    (tmp_path / "card.yml").write_text(json.dumps(card))
    for height, width in ((64, 64), (33, 70), (100, 31), (95, 1), (1, 129)):
        images = pair(height, width, batch=2)
        found = predict(tmp_path / "card.yml", images)
        wanted = reference(loc, damage, *images, np.float16 if half else np.float32)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert wanted.std() > 0.05


def test_the_public_card_is_complete() -> None:
    card = parse_card(CARD)
    assert (card.licence, card.pixel_size) == ("CC BY-NC-SA 4.0", 0.5)
    assert (card.thresholds.building, card.prediction.vote) == (0.4, "connected")
    assert [member.output for member in card.members] == ["building", "damage", "damage"]
    with pytest.raises(CheckpointError, match=r"loc_best_fp16\.onnx in .* is not a file"):
        read_model(CARD)


@pytest.fixture(scope="module")
def five() -> Coarse:
    return Coarse(6, 5, 3)


def softmax_of(net: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return net(torch.from_numpy(np.concatenate(images, axis=1).astype(np.float32) / 255)).softmax(dim=1).numpy()


@pytest.mark.parametrize("activated", [False, True], ids=["logits", "probabilities"])
def test_classes_may_be_in_any_order(tmp_path: Path, five: Coarse, activated: bool) -> None:
    net, images = five, pair(64, 96)
    member = write_onnx(Activated(net, sigmoid=False) if activated else net, tmp_path / "net.onnx", 6)
    activation = {"activation": "probabilities" if activated else "logits"}
    named = ["destroyed", "background", "minor-damage", "no-damage", "major-damage"]
    card = write_card(tmp_path / "net.yml", {**member, **activation, "output": "five", "scale": 255, "classes": named})
    wanted = softmax_of(net, images)[:, [1, 3, 2, 4, 0]]
    np.testing.assert_allclose(predict(card, images), wanted, atol=1e-5)
    # The path of the network also finds the card.
    np.testing.assert_array_equal(predict(tmp_path / "net.onnx", images), predict(card, images))


def test_probabilities_of_separate_heads_are_the_same_as_logits(tmp_path: Path) -> None:
    nets = [Coarse(3, 1, 5), Coarse(6, 4, 6)]
    found = []
    for name, activation in (("a", "logits"), ("b", "probabilities")):
        members = []
        for net, head in zip(nets, ("building", "damage"), strict=True):
            bands = 3 if head == "building" else 6
            variant = net if activation == "logits" else Activated(net, sigmoid=head == "building")
            member = write_onnx(variant, tmp_path / f"{name}_{head}.onnx", bands)
            given_images = {"input": "post"} if bands == 3 else {}
            members.append({**member, **given_images, "output": head, "activation": activation, "scale": 255})
        found.append(predict(write_card(tmp_path / f"{name}.yml", *members), pair(64, 64)))
    np.testing.assert_allclose(*found, atol=1e-5)


def test_channel_order_and_normalisation_follow_the_card(tmp_path: Path, five: Coarse) -> None:
    net, images = five, pair(32, 64)
    member = write_onnx(net, tmp_path / "net.onnx", 6)
    how = {"channels": "bgr", "scale": 2, "mean": [10.0, 20.0, 30.0], "std": [100.0, 50.0, 25.0]}
    card = write_card(tmp_path / "net.yml", {**member, "output": "five", **how})
    mean, std = (np.float32(how[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    normalised = [(image[:, ::-1] / np.float32(2) - mean) / std * 255 for image in images]
    np.testing.assert_allclose(predict(card, images), softmax_of(net, np.stack(normalised)), atol=1e-5)


def test_temperatures_divide_the_logits_of_each_head(tmp_path: Path) -> None:
    net, images = Coarse(6, 5, 7), pair(64, 64)
    member = {**write_onnx(net, tmp_path / "net.onnx", 6), "output": "heads", "scale": 255}
    card = write_card(tmp_path / "net.yml", member, temperatures={"building": 2.0, "damage": 0.5})
    with torch.inference_mode():
        logits = net(torch.from_numpy(np.concatenate(images, axis=1).astype(np.float32) / 255)).numpy()
    p = expit(logits[:, :1] / 2)
    wanted = np.concatenate([1 - p, p * softmax(logits[:, 1:] / 0.5, axis=1)], axis=1)
    np.testing.assert_allclose(predict(card, images), wanted, atol=1e-5)


def test_tta_averages_logits(tmp_path: Path) -> None:
    net, images = Coarse(6, 5, 8), pair(64, 64)
    member = {**write_onnx(net, tmp_path / "net.onnx", 6), "output": "heads", "scale": 255}
    card = write_card(tmp_path / "net.yml", member, prediction={"tta": "flips"})
    both = torch.from_numpy(np.concatenate(images, axis=1).astype(np.float32) / 255)
    with torch.inference_mode():
        sides = [(), (2,), (3,), (2, 3)]
        logits = torch.stack([net(both.flip(axes)).flip(axes) for axes in sides]).mean(dim=0).numpy()
    p = expit(logits[:, :1])
    wanted = np.concatenate([1 - p, p * softmax(logits[:, 1:], axis=1)], axis=1)
    np.testing.assert_allclose(predict(card, images), wanted, atol=1e-5)
    assert np.abs(predict(card, images, tta="none") - wanted).max() > 0.01


@pytest.mark.parametrize("padding", ["reflect", "edge", "black"])
def test_padding_does_not_move_the_image(tmp_path: Path, padding: str) -> None:
    pad = {"reflect": "reflect", "edge": "edge", "black": "constant"}[padding]
    net, images = Coarse(6, 5, 9), pair(40, 50)
    member = {**write_onnx(net, tmp_path / "net.onnx", 6), "output": "five", "scale": 255}
    card = write_card(tmp_path / "net.yml", {**member, "multiple": 32, "padding": padding})
    padded = np.pad(images, ((0, 0), (0, 0), (0, 0), (0, 24), (0, 14)), pad)
    np.testing.assert_allclose(predict(card, images), softmax_of(net, padded)[..., :40, :50], atol=1e-5)


def test_the_thread_count_follows_omp_num_threads(
    tmp_path: Path, five: Coarse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    member = Member.model_validate({**write_onnx(five, tmp_path / "net.onnx", 6), "output": "five"})
    options = OnnxNet(tmp_path, member, CPU)._session.get_session_options()
    assert options.intra_op_num_threads == 3


def test_windows_are_halved_when_memory_runs_out(tmp_path: Path, five: Coarse, monkeypatch: pytest.MonkeyPatch) -> None:
    member = {**write_onnx(five, tmp_path / "net.onnx", 6), "output": "five", "scale": 255, "multiple": 32}
    windows = WindowPredictor(read_model(write_card(tmp_path / "net.yml", member)), CPU)
    images = [image.transpose(0, 2, 3, 1) for image in pair(320, 64)]
    whole, run = windows(*images), OnnxNet._run

    def cramped(self: OnnxNet, values: np.ndarray) -> np.ndarray:
        if values.shape[2] > 256:
            session = SimpleNamespace(run=Mock(side_effect=Exception("Failed to allocate memory for requested buffer")))
            return run(SimpleNamespace(_session=session, _input="", _path=""), values)
        return run(self, values)

    monkeypatch.setattr(OnnxNet, "_run", cramped)
    np.testing.assert_allclose(windows(*images), whole, atol=1e-5)
    assert "out of memory" in windows.warnings[0]


def test_a_gpu_without_an_onnx_provider_causes_a_warning(
    tmp_path: Path, five: Coarse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    member = {**write_onnx(five, tmp_path / "net.onnx", 6), "output": "five"}
    model = TrainedModel(read_model(write_card(tmp_path / "net.yml", member)), HardwareParams(device="gpu"))
    assert model.device == "cpu"
    assert "net.onnx runs on the CPU, because ONNX Runtime cannot use the GPU" in model.warnings[0]
