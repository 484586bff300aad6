"""Errors for invalid model cards and networks, before a network predicts anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from onnx_nets import DAMAGE, Coarse, write_card, write_onnx
from xview2_siamese_unet.atomic import sha256
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError, ProjectError
from xview2_siamese_unet.models.trained import TrainedModel, read_model

CPU = HardwareParams(device="cpu", precision="32-true")
FIVE = {"output": "five"}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "net.onnx"
    write_onnx(Coarse(6, 5, 0), path, 6)
    return path


@pytest.fixture
def member(network: Path, tmp_path: Path) -> dict[str, Any]:
    shutil.copy(network, tmp_path / "net.onnx")
    return {"file": "net.onnx", "sha256": sha256(network)}


def use(path: Path) -> None:
    model = TrainedModel(read_model(path), CPU)
    model(*np.zeros((2, 1, 3, 64, 64), np.uint8))


def refused(path: Path, *words: str, kind: type[ProjectError] = CheckpointError) -> None:
    with pytest.raises(kind) as caught:
        use(path)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text
    assert caught.value.hint


def test_a_valid_card_is_used(member: dict[str, Any], tmp_path: Path) -> None:
    use(write_card(tmp_path / "card.yml", {**member, **FIVE}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"file": "gone.onnx"}, ("gone.onnx", "is not a file")),
        ({"sha256": "0" * 64}, ("net.onnx", "SHA-256 is", "0" * 64)),
    ],
)
def test_a_file_that_differs_from_the_card_is_refused(
    member: dict[str, Any], tmp_path: Path, change: dict[str, str], words: tuple[str, ...]
) -> None:
    refused(write_card(tmp_path / "card.yml", {**member, **FIVE, **change}), *words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *(({"file": name}, ("inside the folder",)) for name in ("../net.onnx", "/net.onnx", "a/../../net.onnx", "~/x")),
        *(({"file": name}, ("inside the folder",)) for name in ("C:/net.onnx", "..\\net.onnx", "")),
        ({"data": {"../weights.bin": "0" * 64}}, ("inside the folder",)),
        ({"sha256": "abc"}, ("sha256",)),
        ({"output": "four"}, ("output", "'building'")),
        ({"output": None}, ("needs output", "heads")),
        ({"classes": DAMAGE}, ("5 classes for output five", "got 4")),
        ({"classes": ["background", *DAMAGE[:3], "collapsed"]}, ("background, no-damage", "collapsed")),
        ({"classes": ["background", *DAMAGE[:3], "no-damage"]}, ("background, no-damage",)),
        ({"classes": ["background", *DAMAGE, "un-classified"]}, ("5 classes",)),
        ({"std": [1, 1, 0]}, ("std", "greater than 0")),
        ({"scale": 0}, ("scale", "greater than 0")),
        ({"mean": [1, 1]}, ("mean",)),
        ({"multiple": 0}, ("multiple", "at least 1")),
        ({"padding": "zero"}, ("padding", "'reflect'")),
        ({"code": "import os"}, ("unknown key members.0.code", "activation")),
        ({"output": "building"}, ("members must have both output building and output damage",)),
    ],
    ids=lambda value: next(iter(value.items())) if isinstance(value, dict) else "",
)
def test_an_invalid_member_is_refused(
    member: dict[str, Any], tmp_path: Path, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    refused(write_card(tmp_path / "card.yml", {**member, **FIVE, **change}), *words, kind=ConfigError)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a list",
        "name: [",
        "a: &a [1]\nname: *a",
        "name: !!python/object/apply:os.system [touch run]",
        "1: 2",
        "\x00",
        "name: \ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        "[" * 5000,
    ],
    ids=["empty", "list", "torn", "alias", "code", "number", "zero", "bytes", "deep"],
)
def test_a_file_that_is_not_a_card_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "card.yml").write_text(text, encoding="latin-1")
    refused(tmp_path / "card.yml", "card.yml", kind=ProjectError)
    assert [path.name for path in tmp_path.iterdir()] == ["card.yml"]


def test_a_card_without_members_name_or_licence_is_refused(tmp_path: Path) -> None:
    refused(write_card(tmp_path / "card.yml"), "members", kind=ConfigError)
    (tmp_path / "card.yml").write_text("members: [{file: a.pth, sha256: %s}]" % ("0" * 64))
    refused(tmp_path / "card.yml", "name must be given", "licence must be given", kind=ConfigError)


def test_a_link_out_of_the_folder_is_refused(network: Path, member: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "net.onnx").unlink()
    (tmp_path / "net.onnx").symlink_to(network)
    refused(write_card(tmp_path / "card.yml", {**member, **FIVE}), "is outside of the folder of the card")


def test_settings_of_a_network_are_refused_for_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(b"x")
    member = {"file": "net.pth", "sha256": sha256(tmp_path / "net.pth")}
    refused(write_card(tmp_path / "a.yml", {**member, "scale": 255}), "only file and sha256", kind=ConfigError)
    refused(write_card(tmp_path / "b.yml", member, temperatures={"damage": 2}), "temperatures", kind=ConfigError)
    refused(write_card(tmp_path / "c.yml", member), "cannot be read as a checkpoint")


def test_a_network_without_its_card_is_refused(member: dict[str, Any], tmp_path: Path) -> None:
    refused(tmp_path / "net.onnx", "no model card net.yml")
    (tmp_path / "other.onnx").write_bytes(b"x")
    write_card(tmp_path / "other.yml", {**member, **FIVE})
    refused(tmp_path / "other.onnx", "does not describe other.onnx")
    refused(tmp_path / "gone.yml", "gone.yml is not a file")
    refused(tmp_path / "gone.onnx", "gone.onnx is not a file")


Make = Callable[[Path], None]


def made(path: Path, make: Make, **changes: object) -> Path:
    """Return the card of a network that `make` writes."""
    make(path.with_suffix(".onnx"))
    member = {"file": f"{path.stem}.onnx", "sha256": sha256(path.with_suffix(".onnx")), **FIVE, **changes}
    return write_card(path, member)


def write_identity(path: Path, *, outputs: int = 1, opset: int = 17, channels: int | str = 6, rank: int = 4) -> None:
    shape = ["n", channels, *("h", "w")[: rank - 2]]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    made = [helper.make_tensor_value_info(f"y{n}", TensorProto.FLOAT, shape) for n in range(outputs)]
    nodes = [helper.make_node("Identity", ["x"], [each.name]) for each in made]
    graph = helper.make_graph(nodes, "g", [source], made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b""), "is not an ONNX file"),
        (lambda path: path.write_bytes(b"PK\x03\x04 no network"), "is not an ONNX file"),
        (lambda path: torch.save({"a": torch.ones(1)}, path), "is not an ONNX file"),
        (lambda path: write_identity(path, outputs=2), "1 inputs and 2 outputs"),
        (lambda path: write_identity(path, opset=99), "needs opset 99"),
        (lambda path: write_identity(path, opset=onnx.defs.onnx_opset_version() + 1), "needs opset"),
        (lambda path: write_identity(path, channels=3), "x has 3 channels, but the card describes 6 (input pair)"),
        (write_identity, "y0 has 6 channels, but the card describes 5"),
        (lambda path: write_identity(path, rank=3), "3 dimensions"),
        (lambda path: write_onnx(Coarse(6, 5, 0), path, 6, fixed=True), "fixed size (1 × 64 × 64)"),
        (lambda path: write_onnx(Coarse(6, 4, 0), path, 6), "the card describes 5"),
        (lambda path: write_onnx(Coarse(3, 5, 0), path, 3), "3 channels"),
    ],
    ids=["empty", "zip", "torch", "outputs", "opset", "next", "bands", "classes", "rank", "fixed", "four", "three"],
)
def test_a_network_that_differs_from_its_card_is_refused(tmp_path: Path, make: Make, words: str) -> None:
    refused(made(tmp_path / "net.yml", make), "net.onnx", words)


def test_an_unsupported_image_size_is_refused(tmp_path: Path) -> None:
    card = made(tmp_path / "net.yml", lambda path: write_onnx(Coarse(6, 5, 0), path, 6))
    model = TrainedModel(read_model(card), CPU)
    with pytest.raises(CheckpointError, match="fails for 40 × 64 pixels") as caught:
        model(*np.zeros((2, 1, 3, 40, 64), np.uint8))
    assert "multiple" in caught.value.hint


def test_wrong_output_channels_are_detected_at_the_first_prediction(tmp_path: Path) -> None:
    card = made(tmp_path / "net.yml", lambda path: write_identity(path, channels="c"))
    refused(card, "returns 1 × 6 × 64 × 64 values", "1 × 5 × 64 × 64")


def test_outputs_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    card = made(tmp_path / "net.yml", lambda path: write_onnx(Coarse(6, 5, 0), path, 6, half=True), std=[1e-6] * 3)
    with pytest.raises(CheckpointError, match="not finite"):
        TrainedModel(read_model(card), CPU)(*np.full((2, 1, 3, 64, 64), 255, np.uint8))


def write_external(path: Path, location: str) -> None:
    """Write a network whose weights lie in another file."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [5, 6, 1, 1], [0.5] * 30)
    weight.raw_data = b""
    del weight.float_data[:]
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k, "h", "w"]) for n, k in (("x", 6), ("y", 5))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "sub/../../weights.bin"])
def test_weights_outside_of_the_folder_are_never_read(tmp_path: Path, location: str) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\x00\x00\x00\x3f" * 30)
    (tmp_path / "in").mkdir()
    refused(made(tmp_path / "in" / "net.yml", lambda path: write_external(path, location)), "outside of its folder")


def test_weights_in_another_file_need_their_digest(tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"\x00\x00\x00\x3f" * 30)
    refused(made(tmp_path / "net.yml", lambda path: write_external(path, "weights.bin")), "does not list")
    listed = {"data": {"weights.bin": sha256(weights)}}
    card = made(tmp_path / "net.yml", lambda path: write_external(path, "weights.bin"), **listed)
    use(card)
    weights.write_bytes(b"\x00\x00\x80\x3f" * 30)
    refused(card, "weights.bin", "SHA-256")


def test_members_with_different_classes_are_refused(tmp_path: Path) -> None:
    nets = [write_onnx(Coarse(6, bands, 0), tmp_path / f"{bands}.onnx", 6) for bands in (5, 6)]
    named = ["building", *DAMAGE, "un-classified"]
    members = ({**nets[0], "output": "heads"}, {**nets[1], "output": "heads", "classes": named})
    refused(write_card(tmp_path / "card.yml", *members), "5 damage classes", "has 4")


def test_the_error_names_a_missing_onnxruntime(
    member: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    refused(write_card(tmp_path / "card.yml", {**member, **FIVE}), "onnxruntime", "--extra onnx", kind=ConfigError)


def test_a_card_may_be_a_json_file(member: dict[str, Any], tmp_path: Path) -> None:
    card = {"name": "x", "licence": "y", "members": [{**member, **FIVE}]}
    (tmp_path / "card.yaml").write_text(json.dumps(card))
    assert read_model(tmp_path / "card.yaml")["name"] == "x"
