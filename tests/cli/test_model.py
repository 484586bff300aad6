"""`kedro model`: from a run to an exported network, an ensemble, a soup."""

from __future__ import annotations

import json
import subprocess
import sys
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
    with pytest.raises(CheckpointError, match=r"gone\.pth is no file"):
        call("show", "gone.pth")


@pytest.mark.slow
def test_runs_become_an_ensemble_and_a_soup(shipped: Path) -> None:
    names = ["quickstart", "strong"]
    nets = [read_model(write_trained(shipped, name, seed=seed)) for seed, name in enumerate(names)]
    runs = [f"default/{name}" for name in names]
    assert call("ensemble", *runs, "--out", shipped / "both").exit_code == 0
    found = predict_images(read_model(shipped / "both/ensemble.yml"), images_of(64, 64))
    mean = np.mean([predict_images(net, images_of(64, 64)) for net in nets], axis=0)
    np.testing.assert_allclose(found, mean, atol=1e-6, rtol=0)
    assert "not tuned again" in call("average", *runs, "--out", shipped / "soup.pth").output
    weight = "building_head.weight"
    mean = (nets[0]["state"][weight] + nets[1]["state"][weight]) / 2
    torch.testing.assert_close(read_model(shipped / "soup.pth")["state"][weight], mean)
    with pytest.raises(ConfigError, match="already exists"):
        call("average", *runs, "--out", shipped / "soup.pth")


def test_a_checkpoint_is_no_card(shipped: Path) -> None:
    with pytest.raises(ConfigError, match="not a card"):
        call("verify", write_trained(shipped, "quickstart"))


def test_the_commands_import_neither_torch_nor_onnxruntime() -> None:
    program = (
        "import sys, xview2_siamese_unet.cli.model; print(sorted({'torch', 'onnx', 'onnxruntime'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


@pytest.fixture
def scored(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Make the environment one with four scenes of noise in each split; return their store."""
    names = {split: [f"{split}_{number}" for number in range(4)] for split in ("train", "validation", "test")}
    store = write_store(shipped / "store", noisy_scenes([name for group in names.values() for name in group]))
    splits = pd.DataFrame(
        [(name, split) for split, group in names.items() for name in group], columns=["scene", "split"]
    )
    catalog = SimpleNamespace(load={"store": store, "splits": splits}.__getitem__, exists=lambda _: True)
    monkeypatch.setattr(trained_model, "open_catalog", lambda _: catalog)
    return store


def score_of(content: dict[str, Any], store: Store) -> float:
    """The official score on the test scenes, decided pixel by pixel."""
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


def test_an_ensemble_is_tuned_on_the_validation_scenes(
    shipped: Path, scored: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def tune(content: dict[str, Any], store: Store, names: list[str], *_: object, folder: Path) -> dict[str, Any]:
        assert store is scored
        assert folder == shipped / "both"
        seen.extend(names)
        return {"thresholds": {"building": 0.3, "damaged": 0.2}, "prediction": content["prediction"]}

    monkeypatch.setattr(trained_model, "tune_model", tune)
    paths = [write_trained(shipped, name, seed=seed) for seed, name in enumerate(("quickstart", "strong"))]
    done = call("ensemble", *paths, "--out", shipped / "both", "--tune")
    assert seen == [f"validation_{number}" for number in range(4)]
    assert thresholds_of(read_model(shipped / "both/ensemble.yml")) == (0.3, 0.2)
    assert "not tuned again" not in done.output
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
