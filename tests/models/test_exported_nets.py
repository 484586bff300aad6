"""Nets exported to ONNX have the same probabilities and classes at any size, and a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from small_nets import images_of, predict_images, small_checkpoint
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.models.card import parse_card
from xview2_siamese_unet.models.export import write_model
from xview2_siamese_unet.models.postprocess import Thresholds, decide, probabilities, thresholds_of, vote_weights_of
from xview2_siamese_unet.models.predictor import restore
from xview2_siamese_unet.models.trained import TrainedModel, read_model

CPU = HardwareParams(device="cpu", precision="32-true")
SIZES = [(side, 33 + 7 * number) for number, side in enumerate((32, 33, 47, 64, 65, 71, 96, 97, 101, 128))]
SIZES += [(width, height) for height, width in SIZES]
TUNED = {
    "temperatures": {"building": 2.0, "damage": 0.5},
    "thresholds": {"building": 0.6, "damaged": 0.4},
    "prediction": {"vote": "connected", "vote_weights": [1.0, 2.0, 0.5, 1.0], "tta": "flips"},
    "events": ["santa-rosa-wildfire"],
    "dataset": "xbd",
    "licence": "CC BY-NC-SA 4.0",
    "commit": "abc",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"architecture": "seed"},
        {"decoder": "fpn", "fusion_levels": "all", "decoder_channels": [32, 32, 16]},
        {"share_weights": False, "fusion": "difference"},
        {"decoder": "unetplusplus"},
    ],
    ids=["unet", "seed", "fpn", "separate", "unetplusplus"],
)
def test_the_network_gives_the_probabilities_of_the_net(tmp_path: Path, variant: dict[str, Any]) -> None:
    made = small_checkpoint(variant)
    card = write_model("net", made, None, tmp_path / "net.onnx")
    exported = read_model(card)
    net, normalise, _ = restore(made)
    net.eval()
    pixels = equal = 0
    for height, width in SIZES:
        images = images_of(height, width)
        with torch.inference_mode():
            wanted = probabilities(net(*(normalise(image.float()) for image in images)))
        found = torch.from_numpy(predict_images(exported, images))
        assert (found - wanted).abs().max() < 1e-4
        middle = float((1 - wanted[:, 0]).median())  # an untrained net is far from the default thresholds
        codes = decide(wanted, Thresholds(middle, middle))
        equal += int((decide(found, Thresholds(middle, middle)) == codes).sum())
        assert len(codes.unique()) > 1
        pixels += height * width
    assert equal >= 0.9999 * pixels


@pytest.mark.parametrize("classes", [5, 6])
@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_the_card_has_the_decision_rule_of_the_small_checkpoint(tmp_path: Path, suffix: str, classes: int) -> None:
    made = small_checkpoint(None, classes, **TUNED)
    content = read_model(write_model("net", made, None, tmp_path / f"net{suffix}"))
    assert thresholds_of(content) == thresholds_of(made)
    assert vote_weights_of(content) == vote_weights_of(made) == (1.0, 2.0, 0.5, 1.0)
    # Batches, views and temperatures give the same as in the checkpoint.
    images = [torch.cat([image, image.flip(-1)]) for image in images_of(64, 96)]
    one, other = (TrainedModel(each, CPU) for each in (content, made))
    assert one.classes == other.classes == classes - 1
    found = predict_images(content, images)
    np.testing.assert_allclose(found, predict_images(made, images), atol=1e-5, rtol=0)
    assert np.abs(found - predict_images(made, images, tta="none")).max() > 1e-3
    for key in ("events", "dataset", "licence", "commit", "channels"):
        assert content[key] == made[key]


def test_the_card_has_the_scores_of_the_report_if_it_exists(tmp_path: Path) -> None:
    metrics = {
        "score": 0.5,
        "damage_f1": 0.4,
        "n_scenes": 7,
        "splits": {"test": 7},
        "intervals": {"score": [0.4, 0.6], "damage_f1": [0.3, 0.5]},
    }
    made = small_checkpoint(scores={"validation_score": 0.7})
    scored = parse_card(write_model("a", made, metrics, tmp_path / "a.safetensors"))
    assert scored.scores == {"score": 0.5, "damage_f1": 0.4}
    assert scored.intervals["score"] == (0.4, 0.6)
    assert "7" in scored.scored_on
    unscored = parse_card(write_model("b", made, None, tmp_path / "b.safetensors"))
    assert unscored.scores == {"validation_score": 0.7}
    assert unscored.intervals == {}


def test_the_network_has_dynamic_axes_and_one_copy_of_shared_weights(tmp_path: Path) -> None:
    made = small_checkpoint()
    card = write_model("net", made, None, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    (given,), (returned,) = model.graph.input, model.graph.output
    for value, channels in ((given, 6), (returned, 5)):
        assert [dim.dim_value for dim in value.type.tensor_type.shape.dim] == [0, channels, 0, 0]
    weights = sum(parameter.numel() for parameter in restore(made)[0].parameters())
    assert parse_card(card).total_parameters == weights
    assert (tmp_path / "net.onnx").stat().st_size < 1.2 * 4 * weights


def test_existing_files_are_kept(tmp_path: Path) -> None:
    made = small_checkpoint()
    write_model("net", made, None, tmp_path / "net.onnx")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for name in ("net.onnx", "net.safetensors"):
        with pytest.raises(ConfigError, match="already exists"):
            write_model("net", made, None, tmp_path / name)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_decoder_that_pools_to_a_grid_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="pools"):
        write_model("net", small_checkpoint({"decoder": "upernet"}), None, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_trace_with_constant_sizes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Stands in for a net whose trace contains the size of the traced image.
    monkeypatch.setattr(
        "xview2_siamese_unet.models.export.Heads.forward",
        lambda self, images: torch.cat([images[:, :5] * int(images.shape[-1])], dim=1),
    )
    with pytest.raises(CheckpointError, match="differs from the net by"):
        write_model("net", small_checkpoint(), None, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []
