"""`kedro model`: from a run to an exported network, an ensemble, a soup."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner, Result

from kept_runs import RUN, write_run
from small_nets import images_of, predict_images, small_checkpoint
from small_store import noisy_scenes, write_store
from xview2_siamese_unet.cli import trained_model
from xview2_siamese_unet.cli.model import model
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError, DataError
from xview2_siamese_unet.metrics.confusion import Counts, count_scene
from xview2_siamese_unet.metrics.scores import official_score
from xview2_siamese_unet.models.card import parse_card
from xview2_siamese_unet.models.postprocess import decide, thresholds_of
from xview2_siamese_unet.models.trained import read_model
from xview2_siamese_unet.raster.store import Store

CPU = HardwareParams(device="cpu", precision="32-true")
OTHER = "2026-02-02T03.04.05.678Z"
UseScenes = Callable[[dict[str, np.ndarray]], Store]


def call(*args: object) -> Result:
    return CliRunner(env={"COLUMNS": "300"}).invoke(model, [str(arg) for arg in args], catch_exceptions=False)


def write_trained(project: Path, experiment: str, run: str = RUN, seed: int = 0) -> Path:
    """Write a finished run with a small net; return its checkpoint."""
    write_run(project / "data", f"default/{experiment}", run)
    path = next((project / "data/06_models/default" / experiment / run).rglob("*.pth"))
    torch.save(small_checkpoint(seed=seed, licence="CC0-1.0"), path)
    return path


def write_score(project: Path, experiment: str, score: float) -> None:
    path = project / "data/08_reporting/default" / experiment / RUN / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"score": score, "intervals": {"score": [0.1, 0.9]}, "splits": {"test": 3}}))


@pytest.mark.slow
def test_finished_runs_are_listed(shipped: Path) -> None:
    assert "No run has a finished model" in call("list").output
    write_trained(shipped, "quickstart")
    write_trained(shipped, "quickstart", OTHER)
    write_run(shipped / "data", "default/strong", finished=False)
    write_score(shipped, "quickstart", 0.654)
    lines = [line.split() for line in call("list").output.splitlines()]
    assert [line[0] for line in lines[1:]] == [f"default/quickstart@{run}" for run in (OTHER, RUN)]
    assert "0.654" in lines[2]
    rows = json.loads(call("list", "--json").stdout)
    assert [row["model"] for row in rows] == [line[0] for line in lines[1:]]
    assert [row["score"] for row in rows] == [None, 0.654]
    assert "0.654" not in lines[1]
    assert "No run" in call("list", "--user", "example_slurm").output
    with pytest.raises(ConfigError, match="Unknown user 'nobody'"):
        call("list", "--user", "nobody")


@pytest.mark.parametrize(("kind", "suffix"), [("onnx", ".onnx"), ("bundle", ".safetensors")])
def test_a_run_is_exported_shown_and_verified(shipped: Path, kind: str, suffix: str) -> None:
    checkpoint = write_trained(shipped, "quickstart")
    write_score(shipped, "quickstart", 0.654)
    card = Path(call("export", "default/quickstart", "--format", kind, "--out", shipped / "out").output.strip())
    assert sorted(path.name for path in (shipped / "out").iterdir()) == [f"quickstart{suffix}", "quickstart.yml"]
    net, exported = (predict_images(read_model(path), images_of(64, 64)) for path in (checkpoint, card))
    np.testing.assert_allclose(exported, net, atol=1e-5, rtol=0)
    described = parse_card(card)
    assert described.scores == {"score": 0.654}
    assert described.licence == "CC0-1.0"
    (shipped / "shown.yml").write_text(call("show", card).output)
    assert parse_card(shipped / "shown.yml") == described
    assert json.loads(call("show", card, "--json").stdout) == yaml.safe_load(card.read_text(encoding="utf-8"))
    means = json.loads(call("verify", card, "--json").stdout)["mean_probabilities_of_noise"]
    assert sum(means) == pytest.approx(1)
    assert f"for noise: {means[0]:.3f}, {means[1]:.3f}" in call("verify", card).output
    net_file = shipped / "out" / f"quickstart{suffix}"
    net_file.write_bytes(net_file.read_bytes() + b"x")
    with pytest.raises(CheckpointError, match="SHA-256"):
        call("verify", card)


@pytest.mark.slow
def test_a_model_is_named_by_run_file_or_experiment(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_trained(shipped, "quickstart")
    write_trained(shipped, "quickstart", OTHER, seed=1)
    monkeypatch.setenv("KEDRO_ENV", "default/quickstart")
    names = ("default/quickstart", f"default/quickstart@{RUN}", RUN, OTHER, file)
    origins = [call("show", name).output.partition("fingerprint ")[2].splitlines()[0] for name in names]
    assert origins == ["net 1", "net 0", "net 0", "net 1", "net 0"]
    with pytest.raises(ConfigError, match="no finished model"):
        call("show", "default/strong")
    with pytest.raises(ConfigError, match="has no run 'gone'"):
        call("show", "gone")
    with pytest.raises(CheckpointError, match=r"gone\.pth is not a file"):
        call("show", "gone.pth")


@pytest.mark.slow
def test_runs_become_an_ensemble_and_a_soup(shipped: Path) -> None:
    names = ["quickstart", "strong"]
    nets = [read_model(write_trained(shipped, name, seed=seed)) for seed, name in enumerate(names)]
    runs = [f"default/{name}" for name in names]
    assert call("ensemble", *runs, "--out", shipped / "both").exit_code == 0
    averaged = predict_images(read_model(shipped / "both/ensemble.yml"), images_of(64, 64))
    mean = np.mean([predict_images(net, images_of(64, 64)) for net in nets], axis=0)
    np.testing.assert_allclose(averaged, mean, atol=1e-6, rtol=0)
    assert "not tuned again" in call("average", *runs, "--out", shipped / "soup.pth").output
    weight = "building_head.weight"
    mean = (nets[0]["state"][weight] + nets[1]["state"][weight]) / 2
    torch.testing.assert_close(read_model(shipped / "soup.pth")["state"][weight], mean)
    with pytest.raises(ConfigError, match="already exists"):
        call("average", *runs, "--out", shipped / "soup.pth")


def test_verify_refuses_a_checkpoint(shipped: Path) -> None:
    with pytest.raises(ConfigError, match="not a card"):
        call("verify", write_trained(shipped, "quickstart"))


def test_the_commands_import_neither_torch_nor_onnxruntime() -> None:
    program = (
        "import sys, xview2_siamese_unet.cli.model; print(sorted({'torch', 'onnx', 'onnxruntime'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


SPLITS = pd.DataFrame(
    [(f"{split}_{number}", split) for split in ("train", "validation", "test") for number in range(4)],
    columns=["scene", "split"],
)


@pytest.fixture
def use_scenes(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> UseScenes:
    """Return a function that makes scenes, four of each split, those of the environment and returns their store."""

    def use(scenes: dict[str, np.ndarray]) -> Store:
        store = write_store(shipped / "store", scenes)
        catalog = SimpleNamespace(load={"store": store, "splits": SPLITS}.__getitem__, exists=lambda _: True)
        monkeypatch.setattr(trained_model, "open_catalog", lambda _: catalog)
        return store

    return use


@pytest.fixture
def scored(use_scenes: UseScenes) -> Store:
    return use_scenes(noisy_scenes(SPLITS["scene"].tolist()))


def score_of(content: dict[str, Any], store: Store) -> float:
    """Return the official score on the test scenes, counted pixel by pixel."""
    counts = Counts.zero()
    for number in range(4):
        scene = store.scene(f"test_{number}")
        images = (torch.tensor(image).permute(2, 0, 1)[None] for image in (scene.pre, scene.post))
        codes = decide(predict_images(content, images), thresholds_of(content))[0]
        counts += count_scene(scene.building, scene.damage, codes, scene="s")
    return official_score(counts)["score"]


@pytest.mark.slow
def test_an_ensemble_and_its_members_are_scored(shipped: Path, scored: Store) -> None:
    (shipped / "conf/experiments/quickstart/parameters_more.yml").write_text(
        "hardware: {precision: 32-true, device: cpu}"
    )
    paths = [write_trained(shipped, name, seed=seed) for seed, name in enumerate(("quickstart", "strong"))]
    call("ensemble", *paths, "--out", shipped / "both")
    printed = call("score", shipped / "both/ensemble.yml", paths[0]).output
    rows = [line for line in printed.splitlines() if " to " in line]
    contents = [read_model(path) for path in (shipped / "both/ensemble.yml", *paths, paths[0])]
    scores = [score_of(content, scored) for content in contents]
    assert len(rows) == 4
    for row, score in zip(rows, scores, strict=True):
        assert f" {score:.3f}  " in row
    numbers = json.loads(call("score", shipped / "both/ensemble.yml", paths[0], "--json").stdout)
    assert [each["score"] for each in numbers["experiments"]] == pytest.approx(scores)
    assert [f"{score - scores[0]:+.3f}" in row for row, score in zip(rows, scores, strict=True)][1:] == [True] * 3


def sharpen(shares: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (classes, n) after dividing their logits by a temperature."""
    powers = shares ** (1 / temperature)
    return powers / powers.sum(axis=0)


def best_temperature(shares: np.ndarray, truth: np.ndarray) -> float:
    """Return the maximum-likelihood temperature for probabilities (classes, n), among 2,000 from 0.05 to 20."""
    candidates = np.geomspace(0.05, 20, 2000)
    right = truth[None].astype(int)
    return float(max(candidates, key=lambda t: np.log(np.take_along_axis(sharpen(shares, t), right, axis=0)).mean()))


def sample_classes(shares: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Sample a class for each column of probabilities (classes, n)."""
    return (random.random(shares.shape[1]) > shares.cumsum(axis=0)[:-1]).sum(axis=0).astype(np.uint8)


@pytest.mark.slow
def test_an_ensemble_is_tuned_on_the_validation_scenes(shipped: Path, use_scenes: UseScenes) -> None:
    paths = [write_trained(shipped, name, seed=seed) for seed, name in enumerate(("quickstart", "strong"))]
    plain = read_model(Path(call("ensemble", *paths, "--out", shipped / "plain").stdout.strip()))
    scenes = noisy_scenes(SPLITS["scene"].tolist())
    pixels = np.stack(list(scenes.values()))

    def predict(content: dict[str, Any]) -> np.ndarray:
        images = torch.from_numpy(pixels).movedim(3, 1)
        return np.moveaxis(predict_images(content, (images[:, :3], images[:, 3:6])), 1, 0).reshape(5, -1)

    # The ensemble is underconfident: the true classes are sampled from sharper probabilities.
    shares = predict(plain)
    building, damage = np.stack([shares[0], 1 - shares[0]]), shares[1:] / shares[1:].sum(axis=0)
    random = np.random.default_rng(0)
    pixels[..., 6] = sample_classes(sharpen(building, 0.5), random).reshape(pixels.shape[:3])
    pixels[..., 7] = pixels[..., 6] * (1 + sample_classes(sharpen(damage, 0.7), random).reshape(pixels.shape[:3]))
    use_scenes(dict(zip(scenes, pixels, strict=True)))
    tuned = read_model(Path(call("ensemble", *paths, "--out", shipped / "tuned", "--tune").stdout.strip()))

    used = np.repeat(SPLITS["split"] == "validation", 64 * 64)
    building_pixels = used & (pixels[..., 6].ravel() == 1)
    temperatures = tuned["ensemble_temperatures"]
    assert temperatures["building"] == pytest.approx(
        best_temperature(building[:, used], pixels[..., 6].ravel()[used]), rel=0.01
    )
    assert temperatures["damage"] == pytest.approx(
        best_temperature(damage[:, building_pixels], pixels[..., 7].ravel()[building_pixels] - 1), rel=0.01
    )
    assert (temperatures["building"], temperatures["damage"]) == pytest.approx((0.5, 0.7), rel=0.2)
    expected = sharpen(building, temperatures["building"])[1] * sharpen(damage, temperatures["damage"])
    np.testing.assert_allclose(predict(tuned)[1:], expected, atol=1e-5)


def test_an_ensemble_that_is_not_tuned_is_reported(shipped: Path) -> None:
    paths = [write_trained(shipped, name, seed=seed) for seed, name in enumerate(("quickstart", "strong"))]
    assert "not tuned again" in call("ensemble", *paths, "--out", shipped / "other").output


def test_a_split_without_scenes_cannot_be_scored(shipped: Path, scored: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = pd.DataFrame({"scene": [], "split": []})
    catalog = SimpleNamespace(load={"store": scored, "splits": empty}.__getitem__, exists=lambda _: True)
    monkeypatch.setattr(trained_model, "open_catalog", lambda _: catalog)
    with pytest.raises(DataError, match="Split test has no scene"):
        call("score", write_trained(shipped, "quickstart"))
    monkeypatch.setattr(trained_model, "open_catalog", lambda _: SimpleNamespace(exists=lambda _: False))
    with pytest.raises(DataError, match="no store and no splits"):
        call("score", write_trained(shipped, "strong"))
