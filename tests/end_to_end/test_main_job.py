"""The main job on a small sample: its outputs, what it reuses and what it refuses."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DatasetError

from run_command import run_python
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.errors import StaleError
from xview2_siamese_unet.raster.io import read_mask
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

RunKedro = Callable[..., None]
OFFICIAL = {
    "score",
    "localization_f1",
    "damage_f1",
    "damage_f1_no_damage",
    "damage_f1_minor_damage",
    "damage_f1_major_damage",
    "damage_f1_destroyed",
}


def first(storage: Path) -> str:
    """Return experiment and id of the run that the tests check."""
    return f"default/quickstart/{min(path.name for path in (storage / '06_models/default/quickstart').iterdir())}"


def test_the_outputs_of_the_main_job_exist(main_run: Path) -> None:
    made = {str(path.relative_to(main_run)) for path in main_run.rglob("*") if path.is_file()}
    assert made >= {
        "02_intermediate/sample/scenes.parquet",
        "02_intermediate/sample/buildings.parquet",
        "02_intermediate/sample/ingest_report.csv",
        f"05_model_input/{first(main_run)}/splits.csv",
        f"04_feature/{first(main_run)}/class_counts.json",
        f"04_feature/{first(main_run)}/sample_weights.pth",
        f"04_feature/{first(main_run)}/class_histogram.svg",
        "05_model_input/sample/store/pixels.u8",
        f"06_models/{first(main_run)}/checkpoints/quickstart_best_siamese_unet_state.pth",
        f"06_models/{first(main_run)}/logfiles/history.csv",
        f"06_models/{first(main_run)}/run.json",
        f"08_reporting/{first(main_run)}/metrics.json",
        f"08_reporting/{first(main_run)}/report.html",
        f"08_reporting/{first(main_run)}/panels.png",
    }
    assert any(name.startswith(f"06_models/{first(main_run)}/tensorboard_logs/") for name in made)


def test_every_file_belongs_to_an_entry_of_the_catalog(main_run: Path) -> None:
    runtime = {"run": first(main_run).rpartition("/")[2]}
    loader = UserExperimentConfigLoader(
        main_run.parent / "conf", env="default/quickstart", runtime_params=runtime, **CONFIG_LOADER_ARGS
    )
    entries = set()
    for entry in loader["catalog"].values():
        if location := entry.get("filepath") or entry.get("path"):
            # An entry of several folders names nothing else in the folder that holds them.
            entries |= {main_run.parent / location / part for part in entry.get("folders", {"": ""}).values()}
    run = main_run.glob(f"*/{first(main_run)}/**/*")
    # Other tests add users and experiments; a lock is empty and holds no data.
    shared = (path for path in main_run.rglob("*") if not {"default", "ada", ".locks"} & {*path.parts})
    files = {path for path in (*run, *shared) if path.is_file()}
    assert files
    assert {str(path.relative_to(main_run)) for path in files if entries.isdisjoint((path, *path.parents))} == set()


def test_a_run_from_a_folder_below_the_project_writes_nothing_there(main_run: Path) -> None:
    notebooks = main_run.parent / "notebooks"
    assert {path.suffix for path in notebooks.rglob("*")} == {".ipynb"}


@pytest.mark.slow
def test_the_command_logs_no_more_in_a_folder_below_the_project(main_run: Path) -> None:
    folder = main_run.parent / "notebooks"
    done = run_python(folder, "-m", "kedro", "run", "--pipelines", "data_processing")
    assert done.returncode == 0, done.stderr
    log = "".join(done.stderr.split())  # a log handler wraps lines
    assert "scenemasks:0made,17reused" in log
    assert "Loadingdata" not in log
    assert {path.suffix for path in folder.rglob("*")} == {".ipynb"}


def test_no_partial_file_is_left(main_run: Path) -> None:
    assert [path for path in main_run.rglob("*.part")] == []


def test_the_test_split_is_predicted_and_scored_and_was_never_trained_on(main_run: Path) -> None:
    splits = pd.read_csv(main_run / f"05_model_input/{first(main_run)}/splits.csv")
    tested = set(splits.loc[splits["split"] == "test", "scene"])
    trained = torch.load(main_run / f"04_feature/{first(main_run)}/sample_weights.pth", weights_only=True)["scenes"]
    counts = pd.read_parquet(main_run / f"08_reporting/{first(main_run)}/scene_counts.parquet")
    assert set(counts["scene"]) == tested
    assert not tested & set(trained)
    assert {path.stem for path in (main_run / f"07_model_output/{first(main_run)}/predictions").glob("*.tif")} == tested


def test_metrics_have_the_official_keys_and_follow_from_the_files(main_run: Path) -> None:
    metrics = json.loads((main_run / f"08_reporting/{first(main_run)}/metrics.json").read_text())
    assert metrics.keys() >= OFFICIAL
    store = Store(main_run / "05_model_input/sample/store")
    hit = predicted = true = 0
    for path in (main_run / f"07_model_output/{first(main_run)}/predictions").glob("*.tif"):
        building, prediction = store.scene(path.stem).building > 0, read_mask(path) > 0
        hit += np.count_nonzero(building & prediction)
        predicted += np.count_nonzero(prediction)
        true += np.count_nonzero(building)
    assert metrics["localization_f1"] == pytest.approx(2 * hit / max(predicted + true, 1), abs=1e-12)


def test_class_counts_are_those_of_the_masks_of_the_training_split(main_run: Path) -> None:
    splits = pd.read_csv(main_run / f"05_model_input/{first(main_run)}/splits.csv")
    counted = np.zeros(6, np.int64)
    for scene in splits.loc[splits["split"] == "train", "scene"]:
        (path,) = (main_run / "03_primary/sample/masks").glob(f"*/{scene}_damage.tif")
        counted += np.bincount(read_mask(path).ravel(), minlength=6)
    counts = json.loads((main_run / f"04_feature/{first(main_run)}/class_counts.json").read_text())
    assert list(counts["post"].values()) == counted.tolist()


@pytest.mark.slow
def test_a_second_run_reuses_what_is_valid_and_logs_it(
    main_run: Path, run_kedro: RunKedro, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = main_run / f"06_models/{first(main_run)}/checkpoints/quickstart_best_siamese_unet_state.pth"
    before = torch.load(checkpoint, weights_only=True)
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"):
        run_kedro()
    log = " | ".join(record.getMessage() for record in caplog.records)
    assert "scene masks: 0 made, 17 reused" in log
    assert "packed scenes: 0 made, 17 reused" in log
    assert f"run {first(main_run).rpartition('/')[2]} is finished and reused: same settings, scenes and code" in log
    after = torch.load(checkpoint, weights_only=True)
    assert after["fingerprint"] == before["fingerprint"]
    assert all(torch.equal(after["state"][name], tensor) for name, tensor in before["state"].items())


def contents(storage: Path, run: str) -> dict[str, bytes]:
    """Return the content of every file of a run."""
    files = (path for path in storage.glob(f"*/{run}/**/*") if path.is_file())
    return {str(path.relative_to(storage)): path.read_bytes() for path in files}


@pytest.mark.slow
def test_another_setting_starts_a_new_run(
    main_run: Path, run_kedro: RunKedro, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    before, (_, _, one) = contents(main_run, first(main_run)), first(main_run).split("/")
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"):
        run_kedro(training={"learning_rate": 0.5, "epochs": 1})
    assert contents(main_run, first(main_run)) == before
    log = " | ".join(record.getMessage() for record in caplog.records)
    assert f"is new: run {one} has " in log
    assert "training.learning_rate 0.001 (now 0.5)" in log
    [two] = {path.name for path in (main_run / "06_models/default/quickstart").iterdir()} - {one}
    record = json.loads((main_run / f"06_models/default/quickstart/{two}/run.json").read_text())
    assert record["settings"]["training"]["learning_rate"] == 0.5
    report = main_run / f"08_reporting/default/quickstart/{two}/report.html"
    report.unlink()
    run_kedro("reporting")  # of the newest run, with its recorded settings instead of those of the configuration
    assert "training.learning_rate</th><td>0.5<" in report.read_text(encoding="utf-8")
    capsys.readouterr()
    run_kedro("reporting", run=one)
    assert f"{first(main_run)}/report.html" in capsys.readouterr().out
    for layer in main_run.glob(f"0?_*/default/quickstart/{two}"):
        shutil.rmtree(layer)


def root_cause(error: BaseException) -> BaseException:
    return root_cause(error.__cause__) if error.__cause__ else error


def test_shared_data_of_other_settings_is_refused_and_unchanged(main_run: Path, run_kedro: RunKedro) -> None:
    stamp = main_run / "01_raw/sample/made_with.json"
    before = stamp.read_bytes()
    with pytest.raises(DatasetError, match=r"seed 7 \(now 8\)") as caught:
        run_kedro("data_processing", dataset={"sample": {"seed": 8}})
    assert isinstance(root_cause(caught.value), StaleError)
    assert stamp.read_bytes() == before
