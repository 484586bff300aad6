"""Choice of the run that a session reuses, resumes or starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kept_runs import RUN, write_run
from xview2_siamese_unet import runs
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.runs import (
    begin_run,
    choose_run,
    describe_run,
    find_run,
    flatten,
    list_runs,
    record_differences,
)

NEWER = "2026-02-02T00.00.00.000Z"


def wanted(data: str | None = None, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    return describe_run(Parameters.model_validate(settings).model_dump(mode="json"), data)


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    return tmp_path / "06_models" / "lab" / "002"


def choose(experiment: Path, *, reuse: bool = True, named: str | None = None, **settings: Any) -> tuple[str, str]:  # noqa: ANN401
    run = choose_run(experiment, named, wanted(**settings), reuse=reuse)
    return run.name, run.reason


def test_the_first_run_is_new_and_nothing_is_written(experiment: Path) -> None:
    name, reason = choose(experiment)
    assert name > NEWER
    assert "is new: the first" in reason
    assert not experiment.exists()


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"hardware": {"device": "cpu", "precision": "32-true"}},
        {"dataloader": {"pin_memory": False}},
        {"executor": {"kind": "processes", "workers": 2}},
        {"submission": {"part": "hold"}},
        {"reporting": {"title": "Another"}},
        {"inference": {"max_pixels": 1}},
        {"adaptation": {"features": ["random"]}},
        {"validation": {"count": 50}},
        {"training": {"lr_find": True}},
        {"data_processing": {"shard": {"index": 1, "count": 2}}},
    ],
    ids=str,
)
def test_the_same_run_is_reused_or_resumed(
    tmp_path: Path, experiment: Path, settings: dict[str, Any], *, finished: bool
) -> None:
    write_run(tmp_path, "lab/002", finished=finished)
    name, reason = choose(experiment, **settings)
    assert name == RUN
    assert ("is finished and reused" if finished else "is resumed") in reason


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"training": {"learning_rate": 0.5}}, "training.learning_rate 0.0002 (now 0.5)"),
        ({"prediction": {"tta": "d4"}}, "prediction.tta none (now d4)"),
        ({"classes": {"unclassified": "class"}}, "classes.unclassified ignore (now class)"),
        ({"data_processing": {"split": {"seed": 1}}}, "data_processing.split.seed 0 (now 1)"),
        ({"feature_statistics": {"class_weights": {"clip": 3.0}}}, "feature_statistics.class_weights.clip"),
        ({"dataset": {"name": "other"}}, "dataset.name sample (now other)"),
        ({"data": "d2"}, "other scenes"),
    ],
    ids=str,
)
def test_a_changed_setting_starts_a_new_run_and_is_named(
    tmp_path: Path, experiment: Path, settings: dict[str, Any], difference: str
) -> None:
    write_run(tmp_path, "lab/002", data="d1")
    name, reason = choose(experiment, **settings)
    assert name > NEWER
    assert f"is new: run {RUN} has {difference}" in reason


def test_changed_code_starts_a_new_run(tmp_path: Path, experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, "lab/002")
    monkeypatch.setattr(runs, "code_digest", lambda *_: "other")
    assert f"run {RUN} has other code" in choose(experiment)[1]


def test_without_reuse_a_run_is_new_unless_the_newest_has_no_checkpoint(tmp_path: Path, experiment: Path) -> None:
    write_run(tmp_path, "lab/002")
    assert choose(experiment, reuse=False)[0] > NEWER
    write_run(tmp_path, "lab/002", NEWER, finished=False)
    assert choose(experiment, reuse=False)[0] == NEWER
    (experiment / NEWER / "checkpoints/epochs/last.ckpt").touch()
    assert choose(experiment, reuse=False)[0] > NEWER
    assert choose(experiment)[0] == NEWER


def test_reuse_of_an_older_run_names_the_newer_one(tmp_path: Path, experiment: Path) -> None:
    write_run(tmp_path, "lab/002")
    write_run(tmp_path, "lab/002", NEWER, training={"epochs": 3})
    name, reason = choose(experiment)
    assert name == RUN
    assert f"other commands use the newer run {NEWER}" in reason


def test_a_named_run_is_resumed_with_its_own_settings_only(tmp_path: Path, experiment: Path) -> None:
    write_run(tmp_path, "lab/002", training={"epochs": 3})
    assert choose(experiment, named=RUN, training={"epochs": 3})[0] == RUN
    with pytest.raises(ConfigError, match=r"cannot be resumed: it has training.epochs 3 \(now 40\)"):
        choose(experiment, named=RUN)
    with pytest.raises(ConfigError, match=rf"lab/002 has no run 'x'. Name one of its runs: {RUN}"):
        choose(experiment, named="x")


def test_find_run_returns_the_newest_finished_run(tmp_path: Path, experiment: Path) -> None:
    assert not find_run(experiment, None, wanted(), same_settings=False).folder.exists()
    write_run(tmp_path, "lab/002", finished=False)
    assert find_run(experiment, None, wanted(), same_settings=False).name == RUN
    for month, finished in ((3, True), (4, True), (5, False)):
        write_run(tmp_path, "lab/002", f"2026-0{month}", finished=finished, training={"epochs": month})
    assert find_run(experiment, None, wanted(), same_settings=False).name == "2026-04"
    assert find_run(experiment, "2026-03", wanted(), same_settings=False).name == "2026-03"
    assert find_run(experiment, None, wanted(training={"epochs": 3}), same_settings=True).name == "2026-03"
    with pytest.raises(ConfigError, match=r"No finished run .*2026-04: training.epochs 4 \(now 5\)"):
        find_run(experiment, None, wanted(training={"epochs": 5}), same_settings=True)


def test_only_a_run_with_other_prediction_settings_reuses_epoch_checkpoints(tmp_path: Path, experiment: Path) -> None:
    write_run(tmp_path, "lab/002", data="d")
    for stage in ("epochs", "localization/epochs"):
        (experiment / RUN / "checkpoints" / stage).mkdir(parents=True, exist_ok=True)
        (experiment / RUN / "checkpoints" / stage / "last.ckpt").write_text(stage)
    begin_run(experiment / "a", wanted("d", prediction={"tta": "d4"}))
    begin_run(experiment / "b", wanted("d", prediction={"tta": "d4"}, training={"epochs": 2}))
    files = {str(path.relative_to(experiment)) for path in experiment.glob("[ab]/**/*") if path.is_file()}
    reused = {"a/checkpoints/epochs/last.ckpt", "a/checkpoints/localization/epochs/last.ckpt"}
    assert files == reused | {"a/run.json", "b/run.json"}


def test_a_damaged_record_is_named(tmp_path: Path, experiment: Path) -> None:
    write_run(tmp_path, "lab/002")
    for text in ("{", "[]", "{}"):
        (experiment / RUN / "run.json").write_text(text)
        with pytest.raises(DataError, match=rf"run.json is not a record of a run .*Remove .*{RUN}"):
            list_runs(experiment)


def test_results_of_an_older_layout_are_named(experiment: Path) -> None:
    old = experiment / "checkpoints" / "002_best_siamese_unet_state.pth"
    old.parent.mkdir(parents=True)
    old.touch()
    assert f"{old} is of a version without runs" in choose(experiment)[1]


def test_a_record_holds_the_settings_that_affect_results() -> None:
    record = json.loads(json.dumps(wanted("d", training={"epochs": 3})))
    assert record["settings"]["training"]["epochs"] == 3
    assert not {"reporting", "inference", "adaptation", "validation", "run"} & record["settings"].keys()
    assert record_differences(record, wanted("d", training={"epochs": 3})) == []


def test_flatten_names_every_leaf() -> None:
    settings = {"a": {"b": 1, "c": [1, "x", None]}, "losses": [{"name": "focal"}, {"name": "dice"}], "empty": {}}
    assert flatten(settings) == {
        "a.b": "1",
        "a.c": "1, x, –",
        "losses[0].name": "focal",
        "losses[1].name": "dice",
        "empty": "{}",
    }
    assert flatten({"yes": True, "nothing": [], "rate": 1e-4}) == {"yes": "true", "nothing": "", "rate": "0.0001"}
