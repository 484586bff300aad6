"""Ensembles average probabilities, soups average weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onnx_nets import Coarse, write_card, write_onnx
from small_nets import images_of, predict_images, small_checkpoint
from small_store import noisy_scenes, write_store
from xview2_siamese_unet.config.modelling import HardwareParams, Tta
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.inference.prediction import WindowPredictor, predict_scenes
from xview2_siamese_unet.models.card import parse_card
from xview2_siamese_unet.models.checkpoint_file import write_safetensors
from xview2_siamese_unet.models.combine import average_checkpoints, write_ensemble
from xview2_siamese_unet.models.export import write_model
from xview2_siamese_unet.models.postprocess import thresholds_of, vote_weights_of
from xview2_siamese_unet.models.trained import read_model

CPU = HardwareParams(device="cpu", precision="32-true")


def predict(content: dict[str, Any], tta: Tta | None = None) -> np.ndarray:
    return predict_images(content, images_of(64, 96), tta=tta)


def write_seeds(folder: Path, count: int = 3, **more: object) -> list[Path]:
    paths = []
    for seed in range(count):
        paths.append(folder / f"seed_{seed}.pth")
        torch.save(small_checkpoint(seed=seed, **more), paths[-1])
    return paths


def write_foreign(folder: Path) -> Path:
    """Return the card of a network for buildings and one for damage."""
    folder.mkdir()
    loc, cls = write_onnx(Coarse(3, 1, 0), folder / "loc.onnx", 3), write_onnx(Coarse(6, 4, 1), folder / "cls.onnx", 6)
    how = {"scale": 255, "multiple": 32}
    members = {**loc, **how, "input": "pre", "output": "building"}, {**cls, **how, "output": "damage"}
    return write_card(folder / "foreign.yml", *members, thresholds={"building": 0.4, "damaged": 0.4})


@pytest.mark.slow
def test_an_ensemble_is_the_mean_of_its_members(tmp_path: Path) -> None:
    one, two, three = write_seeds(tmp_path)
    exported = write_model("net", torch.load(three, weights_only=True), None, tmp_path / "out" / "net.onnx")
    paths = [one, two, exported, write_foreign(tmp_path / "foreign")]
    members = [predict(read_model(path)) for path in paths]
    card = write_ensemble("all", paths, tmp_path / "ensemble")
    for path in (one, two):
        path.unlink()  # the folder of the ensemble holds copies
    found = predict(read_model(card))
    np.testing.assert_allclose(found, np.mean(members, axis=0), atol=1e-6)
    assert np.abs(members[0] - members[1]).max() > 0.1
    assert thresholds_of(read_model(card)) == pytest.approx((0.475, 0.475))
    # An ensemble may itself be a member; the same views apply to all members.
    again = read_model(write_ensemble("two", [card, exported], tmp_path / "again"))
    np.testing.assert_allclose(predict(again), (found + members[2]) / 2, atol=1e-6)
    flipped = np.mean([predict(read_model(path), "flips") for path in (exported, paths[3])], axis=0)
    pair = read_model(write_ensemble("pair", [exported, paths[3]], tmp_path / "pair"))
    np.testing.assert_allclose(predict(pair, "flips"), flipped, atol=1e-6)


def test_a_changed_file_of_a_nested_card_is_refused(tmp_path: Path) -> None:
    foreign, (one,) = write_foreign(tmp_path / "foreign"), write_seeds(tmp_path, 1)
    card = write_ensemble("all", [one, foreign], tmp_path / "ensemble")
    (tmp_path / "ensemble/2/cls.onnx").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"2/cls\.onnx is not the file that foreign\.yml describes"):
        read_model(card)


@pytest.mark.slow
def test_scenes_and_windows_are_predicted_by_an_ensemble(tmp_path: Path) -> None:
    tuned = {"thresholds": {"building": 0.6, "damaged": 0.3}, "prediction": {"vote": "connected"}}
    paths = write_seeds(tmp_path, **tuned)
    content = read_model(write_ensemble("all", paths, tmp_path / "ensemble"))
    store = write_store(tmp_path / "store", noisy_scenes(["a", "b"]))
    found = [*predict_scenes(content, store, ["a", "b"], CPU, batch_size=1)]
    windows = WindowPredictor(content, CPU)
    assert windows.thresholds == (0.6, 0.3)
    assert windows.vote_weights == (1.0, 1.0, 1.0, 1.0)
    images = [np.array(store.pixels[..., bands]) for bands in (slice(3), slice(3, 6))]
    shares = windows(*images)
    members = [WindowPredictor(read_model(path), CPU)(*images) for path in paths]
    np.testing.assert_allclose(shares, np.mean(members, axis=0), atol=1e-6)
    for scene, probabilities in zip(found, shares, strict=True):
        np.testing.assert_allclose(scene.probabilities / 254, probabilities.transpose(2, 0, 1), atol=0.5 / 254 + 1e-6)


def test_the_card_of_an_ensemble_merges_the_facts_of_its_members(tmp_path: Path) -> None:
    one = {"events": ["b"], "licence": "A", "dataset": "xbd", "prediction": {"vote_weights": [1.0, 2.0, 1.0, 1.0]}}
    two = {"events": ["a", "b"], "licence": "B", "dataset": "xbd", "prediction": {"vote_weights": [1.0, 1.0, 3.0, 1.0]}}
    for name, more in (("one", one), ("two", two)):
        torch.save(small_checkpoint(**more), tmp_path / f"{name}.pth")
    card = parse_card(write_ensemble("e", [tmp_path / "one.pth", tmp_path / "two.pth"], tmp_path / "e"))
    assert (card.events, card.licence, card.dataset) == (("a", "b"), "A; B", "xbd")
    assert card.prediction.vote_weights == (1.0, 1.5, 2.0, 1.0)
    assert card.scores == {}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"prediction": {"tta": "flips"}}, "test-time augmentation"),
        ({"prediction": {"vote": "connected"}}, "vote"),
        ({"classes": 6}, "damage classes"),
    ],
)
def test_models_with_different_rules_are_not_combined(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    (one,) = write_seeds(tmp_path, 1)
    torch.save(small_checkpoint(**more), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=words):
        write_ensemble("e", [one, tmp_path / "other.pth"], tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_an_ensemble_needs_two_models_and_keeps_an_existing_card(tmp_path: Path) -> None:
    paths = write_seeds(tmp_path, 2)
    with pytest.raises(ConfigError, match="only one model"):
        write_ensemble("e", paths[:1], tmp_path / "e")
    write_ensemble("e", paths, tmp_path / "e")
    with pytest.raises(ConfigError, match="already exists"):
        write_ensemble("e", paths, tmp_path / "e")


def test_a_soup_of_two_equal_nets_is_the_net(tmp_path: Path) -> None:
    (path,) = write_seeds(tmp_path, 1)
    soup, net = average_checkpoints([path, path]), torch.load(path, weights_only=True)
    assert soup["state"].keys() == net["state"].keys()
    assert all(torch.equal(soup["state"][name], tensor) for name, tensor in net["state"].items())
    np.testing.assert_array_equal(predict(soup), predict(net))


def test_a_soup_is_the_mean_of_all_weights(tmp_path: Path) -> None:
    paths = write_seeds(tmp_path, thresholds={"building": 0.6, "damaged": 0.4}, scores={"validation_score": 0.9})
    states = [read_model(path)["state"] for path in paths]
    states[1]["pre.encoder.model.bn1.num_batches_tracked"] += 7
    torch.save({**read_model(paths[1]), "state": states[1], "temperatures": {"building": 4.0, "damage": 1.0}}, paths[1])
    soup = average_checkpoints(paths)
    for name, tensor in soup["state"].items():
        wanted = np.mean([state[name].numpy() for state in states], axis=0)
        if not tensor.is_floating_point():
            wanted = states[0][name].numpy()
        np.testing.assert_allclose(tensor.numpy(), wanted, atol=1e-7)
        assert tensor.dtype == states[0][name].dtype
    assert soup["temperatures"] == {"building": pytest.approx(2.0), "damage": 1.0}
    assert thresholds_of(soup) == pytest.approx((0.6, 0.4))
    assert vote_weights_of(soup) is None
    assert soup["scores"] == {}
    assert soup["fingerprint"] not in {read_model(path)["fingerprint"] for path in paths}
    # Shared weights are written once.
    for name, content in (("soup", soup), ("net", read_model(paths[0]))):
        write_safetensors(content, tmp_path / f"{name}.safetensors")
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("soup", "net")]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)
    np.testing.assert_array_equal(predict(read_model(tmp_path / "soup.safetensors")), predict(soup))


@pytest.mark.parametrize(
    ("variant", "more", "words"),
    [
        ({"fusion": "concat"}, {}, "settings .model."),
        ({}, {"classes": 6}, "settings .classes."),
        ({}, {"channels": {"mean": [1.0] * 3, "std": [1.0] * 3}}, "settings .channels."),
        ({}, {"prediction": {"tta": "d4"}}, "test-time augmentation"),
    ],
)
def test_different_nets_are_not_averaged(
    tmp_path: Path, variant: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    (one,) = write_seeds(tmp_path, 1)
    torch.save(small_checkpoint(variant, **more), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=words):
        average_checkpoints([one, tmp_path / "other.pth"])


def test_a_card_is_not_averaged(tmp_path: Path) -> None:
    (one,) = write_seeds(tmp_path, 1)
    with pytest.raises(CheckpointError, match=r"foreign\.yml is a card"):
        average_checkpoints([one, write_foreign(tmp_path / "foreign")])
