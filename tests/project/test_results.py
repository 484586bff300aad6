"""The table of results: runs to train, reused runs, and the arithmetic."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "results.py"


@pytest.fixture(scope="module")
def results() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finish(results: ModuleType, args: argparse.Namespace, variant: str, seed: int, score: float) -> None:
    path = args.out / "data/08_reporting/results" / results.folder_name(variant, seed) / "2026/metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"score": score, "localization_f1": 0.8, "damage_f1": 0.5}))


def test_every_variant_is_an_experiment_that_the_project_accepts(results: ModuleType, tmp_path: Path) -> None:
    args = results.parse([str(tmp_path), "--epochs", "9"])
    distinct = set()
    for variant, tree in results.variants(args).items():
        assert not results.prepare(args, variant, 3, tree)
        env = f"results/{results.folder_name(variant, 3)}"
        loader = UserExperimentConfigLoader(tmp_path / "conf", env=env, **CONFIG_LOADER_ARGS)
        parameters = loader["parameters"]
        assert parameters["training"]["seed"] == 3
        assert parameters["model"]["encoder"]["name"] == "resnet18"
        assert loader["globals"]["storage"] == str(tmp_path / "data")
        distinct.add(json.dumps(parameters, default=str))
    # Each variant changes the parameters.
    assert len(distinct) == 2 + len(results.WITHOUT) + len(results.replacements(args))


def test_a_finished_run_is_reused_until_its_settings_change(results: ModuleType, tmp_path: Path) -> None:
    args = results.parse([str(tmp_path)])
    tree = results.variants(args)["strong"]
    assert not results.prepare(args, "strong", 0, tree)
    finish(results, args, "strong", 0, 0.7)
    stale = tmp_path / "conf/base/parameters_of_yesterday.yml"
    stale.write_text("training: {epochs: 1}")
    assert results.prepare(args, "strong", 0, tree)
    assert not stale.exists()
    assert not results.prepare(args, "strong", 0, results.merged(tree, {"training": {"learning_rate": 1e-5}}))
    assert not results.metrics_of(args, "strong", 0)


def test_a_dry_run_prints_the_runs_and_the_table_and_writes_nothing(
    results: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = results.parse([str(tmp_path), "--seeds", "0", "1", "--dry-run", "--only", "strong", "seed_002"])
    for seed, score in enumerate((0.6, 0.8)):
        finish(results, args, "strong", seed, score)
    finish(results, args, "seed_002", 1, 0.5)
    results.main(args)
    text = capsys.readouterr().out
    assert "seed_002, seed 0: to train" in text
    assert "strong, seed 0: finished" in text
    assert "| strong | 2 | 0.700 ± 0.141 | 0.800 ± 0.000 | 0.500 ± 0.000 | +0.000 |" in text
    assert "| seed_002 | 1 | 0.500 | 0.800 | 0.500 | -0.300 |" in text
    args.only = ["seed_002"]
    results.main(args)
    assert "| seed_002 | 1 | 0.500 | 0.800 | 0.500 | – |" in capsys.readouterr().out
    assert not (tmp_path / "conf").exists()
