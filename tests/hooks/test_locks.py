"""Locks of runs: waiting, refusals and release, with locks that other processes hold."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from filelock import FileLock
from kedro.framework.context import KedroContext
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from kept_runs import write_run
from xview2_siamese_unet.errors import StorageError
from xview2_siamese_unet.locks import Locks
from xview2_siamese_unet.pipelines.data_processing import pipeline as data_processing
from xview2_siamese_unet.runs import Run, list_runs

DATASET = "datasets/sample"
RUN = Run(Path("002") / "2026", {"settings": {"training": {"epochs": 2}}, "code": "c", "data": None})
OTHER = Run(Path("002") / "2027", {**RUN.record, "settings": {"training": {"epochs": 3}}})
EXPERIMENT = f"runs/lab/002/{RUN.key}"
HOLD = "import sys, filelock; held = filelock.FileLock(sys.argv[1]).acquire(); print('held', flush=True); input()"

Hold = Callable[[str], subprocess.Popen[str]]


def make() -> int:
    return 1


def node(output: str, tag: str) -> Node:
    return Node(make, None, output, name=output, tags=[tag])


DATA = Pipeline([node("scenes", "data_processing"), node("store", "data_processing")])
SHARD = Pipeline([node("masks", "data_processing"), node("store", "data_processing")])
TRAINING = Pipeline([node("checkpoint", "modelling")])
ASSESSMENT = Pipeline([node("damage", "inference")])
WRITES_TO_A_FOLDER = Pipeline([Node(repr, "assessment", "damage", name="damage", tags=["inference"])])


@pytest.fixture
def locks(tmp_path: Path) -> Locks:
    return open_context(tmp_path)


class Config(dict[str, Any]):
    run = RUN


def open_context(folder: Path, run: Run = RUN, keep: int | None = None) -> Locks:
    config = Config(
        globals={"storage": "data", "group": "lab", "experiment": "002", "keep": keep},
        parameters={"dataset": {"name": "sample"}},
    )
    config.run = run
    locks = Locks()
    locks.after_context_created(cast("KedroContext", SimpleNamespace(project_path=folder, config_loader=config)))
    return locks


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Return a function that holds a lock in another process."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str) -> subprocess.Popen[str]:
        path = tmp_path / "data/.locks" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        pipe: Any = subprocess.PIPE
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=pipe, stdout=pipe, text=True)  # noqa: S603
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def is_free(folder: Path, name: str) -> bool:
    lock = FileLock(folder / "data/.locks" / f"{name}.lock", timeout=0)
    try:
        lock.acquire()
    except TimeoutError:
        return False
    lock.release()
    return True


def test_a_second_session_on_a_run_is_refused_until_the_first_ends(locks: Locks, hold: Hold) -> None:
    first = hold(EXPERIMENT)
    with pytest.raises(StorageError, match="Another session is working on this run of lab/002"):
        locks.before_pipeline_run(TRAINING)
    first.kill()
    first.wait()
    locks.before_pipeline_run(TRAINING)


def test_a_run_with_other_settings_and_its_dataset_are_not_locked(tmp_path: Path, hold: Hold) -> None:
    hold(EXPERIMENT)
    open_context(tmp_path, OTHER).before_pipeline_run(TRAINING + DATA)


def test_keep_removes_the_oldest_finished_runs_and_counts_them(
    tmp_path: Path, hold: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"2026-0{month}-01T00.00.00.000Z" for month in range(1, 7)]
    for number, name in enumerate(names):
        write_run(tmp_path / "data", "lab/002", name, finished=number != 1, training={"seed": number})
        (tmp_path / "data/08_reporting/lab/002" / name).mkdir(parents=True)
    runs = {run.name: run for run in list_runs(tmp_path / "data/06_models/lab/002")}
    hold(f"runs/lab/002/{runs[names[2]].key}")  # another session works on it
    locks = open_context(tmp_path, runs[names[5]], keep=2)
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"):
        locks.before_pipeline_run(TRAINING)
        locks.after_pipeline_run()
    kept = [names[2], names[4], names[5]]
    for layer in ("06_models", "08_reporting"):
        assert sorted(path.name for path in (tmp_path / "data" / layer / "lab/002").iterdir()) == kept
    assert caplog.messages == [f"removed 3 old runs because keep is 2: {names[3]}, {names[1]}, {names[0]}"]


def test_keep_never_removes_the_current_run(tmp_path: Path) -> None:
    names = [f"2026-0{month}-01T00.00.00.000Z" for month in range(1, 4)]
    for name in names:
        write_run(tmp_path / "data", "lab/002", name, training={"seed": int(name[6])})
    oldest = list_runs(tmp_path / "data/06_models/lab/002")[-1]
    locks = open_context(tmp_path, oldest, keep=1)
    locks.before_pipeline_run(TRAINING)
    locks.after_pipeline_run()
    left = sorted(path.name for path in (tmp_path / "data/06_models/lab/002").iterdir())
    assert left == [names[0], names[2]]


def test_a_run_waits_for_a_dataset_and_logs_it_once(locks: Locks, hold: Hold, caplog: pytest.LogCaptureFixture) -> None:
    first = hold(DATASET)
    threading.Timer(0.5, first.kill).start()
    started = time.monotonic()
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"):
        locks.before_pipeline_run(DATA)
    assert 0.4 < time.monotonic() - started < 10
    assert caplog.messages == ["another run makes dataset sample: waiting until it is finished"]


def test_a_dataset_is_released_when_its_last_output_is_saved(tmp_path: Path, locks: Locks) -> None:
    locks.before_pipeline_run(DATA + TRAINING)
    locks.after_dataset_saved("scenes")
    assert not is_free(tmp_path, DATASET)
    thread = threading.Thread(target=locks.after_dataset_saved, args=["store"])
    thread.start()
    thread.join()
    assert is_free(tmp_path, DATASET)
    assert not is_free(tmp_path, EXPERIMENT)
    locks.after_pipeline_run()
    assert is_free(tmp_path, EXPERIMENT)


def test_a_failed_run_releases_both_locks(tmp_path: Path, locks: Locks) -> None:
    locks.before_pipeline_run(DATA + TRAINING)
    locks.on_pipeline_error()
    assert is_free(tmp_path, DATASET)
    assert is_free(tmp_path, EXPERIMENT)


def test_an_interrupted_run_releases_its_lock(locks: Locks) -> None:
    locks.before_pipeline_run(DATA + TRAINING)
    locks.before_pipeline_run(DATA + TRAINING)


def test_only_the_whole_pipeline_outputs_scenes() -> None:
    pipeline = data_processing.create_pipeline()
    assert pipeline.all_outputs() >= {"scenes"}
    assert not pipeline.only_nodes("burn_masks", "pack_scenes").all_outputs() & {"scenes"}


@pytest.mark.parametrize("pipeline", [SHARD, ASSESSMENT], ids=["a part of a dataset", "an assessment"])
def test_a_part_of_a_dataset_and_an_assessment_need_no_lock(locks: Locks, hold: Hold, pipeline: Pipeline) -> None:
    hold(DATASET)
    hold(EXPERIMENT)
    locks.before_pipeline_run(pipeline)


def assessment_locks(folder: Path, out: Path) -> Locks:
    locks = open_context(folder)
    locks.after_catalog_created(DataCatalog({"assessment": MemoryDataset(out)}))
    return locks


def test_a_second_assessment_into_the_same_folder_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    first, second = assessment_locks(tmp_path, out), assessment_locks(tmp_path, out)
    first.before_pipeline_run(WRITES_TO_A_FOLDER)
    (out / "damage.tif").write_text("half")
    before = sorted(out.iterdir())
    with pytest.raises(StorageError, match=r"Another assessment .*a/out"):
        second.before_pipeline_run(WRITES_TO_A_FOLDER)
    assert sorted(out.iterdir()) == before
    assessment_locks(tmp_path, out / "inside").before_pipeline_run(WRITES_TO_A_FOLDER)
    first.after_pipeline_run()
    second.before_pipeline_run(WRITES_TO_A_FOLDER)


def test_a_refused_run_releases_its_locks(tmp_path: Path) -> None:
    first, second = (assessment_locks(tmp_path, tmp_path / "out") for _ in range(2))
    first.before_pipeline_run(WRITES_TO_A_FOLDER)
    with pytest.raises(StorageError):
        second.before_pipeline_run(TRAINING + WRITES_TO_A_FOLDER)
    assert is_free(tmp_path, EXPERIMENT)


def test_the_lock_of_a_folder_is_removed_after_the_run(tmp_path: Path) -> None:
    locks, out = assessment_locks(tmp_path, tmp_path / "a" / "out"), tmp_path / "a" / "out"
    locks.before_pipeline_run(WRITES_TO_A_FOLDER)
    locks.on_pipeline_error()  # refused before anything was written
    assert list(tmp_path.iterdir()) == []
    locks.before_pipeline_run(WRITES_TO_A_FOLDER)
    (out / "damage.tif").write_text("whole")
    locks.after_pipeline_run()
    assert [path.name for path in out.iterdir()] == ["damage.tif"]


def test_a_file_at_the_path_of_the_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for out in (tmp_path / "out", tmp_path / "out" / "below"):
        assessment_locks(tmp_path, out).before_pipeline_run(WRITES_TO_A_FOLDER)
    assert (tmp_path / "out").read_text() == "mine"


def test_an_experiment_clears_nothing_in_an_assessment_that_is_being_written(tmp_path: Path) -> None:
    out = tmp_path / "data/07_model_output/lab/002/2026/mine/assessment"
    assessment_locks(tmp_path, out).before_pipeline_run(WRITES_TO_A_FOLDER)
    for folder in (out, out / ".work/blocks", out.parents[1] / "predictions"):
        (folder / ".a.tif.a1b2c3.part").mkdir(parents=True)
    open_context(tmp_path).before_pipeline_run(TRAINING)
    left = [path.parent.relative_to(out.parent).as_posix() for path in out.parents[1].rglob(".*.part")]
    assert sorted(left) == ["assessment", "assessment/.work/blocks"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_locks_gives_a_warning_and_no_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    out = tmp_path / "out"
    for _ in range(2):  # the second finds what the first left behind
        locks = assessment_locks(tmp_path, out)
        locks.before_pipeline_run(DATA + TRAINING + WRITES_TO_A_FOLDER)
        assert sum("does not support locks" in record.getMessage() for record in caplog.records) == 3
        caplog.clear()
        (out / "damage.tif").write_text("whole")
        locks.after_pipeline_run()
        assert [path.name for path in out.iterdir()] == ["damage.tif"]


def test_other_ranks_need_no_lock(locks: Locks, hold: Hold, launch: Callable[[int, int], None]) -> None:
    hold(EXPERIMENT)
    launch(1, 2)
    locks.before_pipeline_run(TRAINING)


def test_partial_files_of_a_killed_run_are_removed(tmp_path: Path, locks: Locks, hold: Hold) -> None:
    folders = [tmp_path / "data" / layer / "lab/002/2026/x" for layer in ("06_models", "08_reporting")]
    for folder in folders:
        (folder / ".last.ckpt.a1b2c3.part").mkdir(parents=True)
        (folder / ".last.ckpt.a1b2c3.part" / "last.ckpt").write_text("half")
        (folder / "best.ckpt").write_text("whole")
    first = hold(EXPERIMENT)
    with pytest.raises(StorageError):
        locks.before_pipeline_run(TRAINING)
    assert all(len(list(folder.iterdir())) == 2 for folder in folders)
    first.kill()
    first.wait()
    locks.before_pipeline_run(TRAINING)
    assert [path.name for folder in folders for path in folder.iterdir()] == ["best.ckpt"] * 2
