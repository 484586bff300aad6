from __future__ import annotations

import os
from pathlib import Path

import pytest

from xview2_siamese_unet.datasets.execution import run_jobs, usable_cores
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.params.execution import ExecutorParams


def square(number: int) -> int:
    return number * number


def process(_: int) -> int:
    return os.getpid()


def refuse(number: int) -> int:
    raise DataError("job", found=str(number), allowed="another", remedy="try again")


def die(_: int) -> int:
    os._exit(9)


SERIAL = ExecutorParams()
PROCESSES = ExecutorParams(kind="processes", workers=2)


@pytest.mark.parametrize("executor", [SERIAL, PROCESSES])
def test_every_job_is_run_once(executor: ExecutorParams) -> None:
    assert sorted(run_jobs(square, range(20), executor, "squares")) == [n * n for n in range(20)]
    assert list(run_jobs(square, [], executor, "squares")) == []


def test_processes_are_others() -> None:
    seen = set(run_jobs(process, range(12), PROCESSES, "processes"))
    assert os.getpid() not in seen
    assert 1 <= len(seen) <= 2
    assert set(run_jobs(process, range(3), SERIAL, "processes")) == {os.getpid()}


@pytest.mark.parametrize("executor", [SERIAL, PROCESSES])
def test_an_error_of_a_job_arrives_whole(executor: ExecutorParams) -> None:
    with pytest.raises(DataError) as caught:
        list(run_jobs(refuse, [7], executor, "jobs"))
    assert (caught.value.where, caught.value.found, caught.value.remedy) == ("job", "7", "try again")


def test_a_worker_that_dies_is_one_sentence() -> None:
    with pytest.raises(DataError, match="worker"):
        list(run_jobs(die, range(3), PROCESSES, "jobs"))


def test_cores_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


def test_a_bar_is_drawn_on_a_terminal_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    list(run_jobs(square, range(3), SERIAL, "scenes packed"))
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    list(run_jobs(square, range(3), SERIAL, "scenes packed"))
    assert "scenes packed" in capsys.readouterr().err


def test_paths_travel(tmp_path: Path) -> None:
    assert list(run_jobs(Path.exists, [tmp_path, tmp_path / "x"], SERIAL, "paths")) == [True, False]
