from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import dask
import psutil
import pytest

from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.parallel import _in_flight, parallel_map, read_ahead, usable_cores, worker_number


def square(number: int) -> int:
    return number * number


def process(_: int) -> int:
    return os.getpid()


def parent(_: int) -> int:
    return os.getppid()


def numbered(job: tuple[Path, int]) -> int | None:
    """Return the number of this worker once a second one has started, or one worker might run all jobs."""
    folder, _ = job
    (folder / str(os.getpid())).touch()
    end = time.monotonic() + 30
    while len([*folder.iterdir()]) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    return worker_number()


def note(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def call(function: Callable[[], object]) -> object:
    return function()


def refuse(number: int) -> int:
    raise DataError(f"Job {number} failed.", hint="Try again.")


def die(_: int) -> int:
    os._exit(9)


class Deadly:
    """A result that kills a process when it is fetched."""

    def __init__(self, process: int) -> None:
        self.process = process

    def __reduce__(self) -> tuple[type[Deadly], tuple[int]]:
        os.kill(self.process, signal.SIGKILL)
        return Deadly, (self.process,)


@contextmanager
def thread(_: object = None, dashboard_link: str | None = None) -> Iterator[SimpleNamespace]:
    """A stand-in for Dask's client that works in a thread."""
    with ThreadPoolExecutor(1) as pool:
        yield SimpleNamespace(
            submit=lambda function, job, pure: pool.submit(function, job),
            dashboard_link=dashboard_link,
            nthreads=dict,
            register_worker_callbacks=bool,
        )


SERIAL = ExecutorParams()
PROCESSES = ExecutorParams(kind="processes", workers=2)
DASK = ExecutorParams(kind="dask", workers=2)


@pytest.mark.parametrize("executor", [SERIAL, PROCESSES])
def test_every_job_is_run_once(executor: ExecutorParams) -> None:
    assert list(parallel_map(square, range(20), executor, "squares")) == [n * n for n in range(20)]
    assert list(parallel_map(square, [], executor, "squares")) == []


def test_a_slow_job_delays_the_results_but_no_worker() -> None:
    """The first job ends after all others in flight; no further job may start until then."""
    others = [Event() for _ in range(20)]

    def work(number: int) -> int:
        if number == 0:
            assert all(event.wait(20) for event in others[1:16])
            assert not any(event.is_set() for event in others[16:])
        others[number].set()
        return number

    with ThreadPoolExecutor(2) as pool:
        assert list(_in_flight(pool.submit, work, range(20), 16)) == list(range(20))


@pytest.mark.slow
def test_processes_work_with_a_long_path_to_the_temporary_folder(tmp_path: Path) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    script = """
from test_parallel import PROCESSES, square
from xview2_siamese_unet.parallel import parallel_map

if __name__ == "__main__":
    print(*parallel_map(square, range(3), PROCESSES, "squares"))
"""
    around = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(long)}
    done = subprocess.run([sys.executable, "-c", script], env=around, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.stdout.split() == ["0", "1", "4"], done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forks only on Linux")
def test_workers_import_code_that_has_been_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.getpid() not in parallel_map(parent, range(2), PROCESSES, "parents")
    monkeypatch.setattr(multiprocessing.get_context("forkserver"), "xview2_began", 0.0)
    assert {*parallel_map(parent, range(2), PROCESSES, "parents")} == {os.getpid()}


def test_workers_have_the_current_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("one", "two"):
        monkeypatch.setenv("XVIEW2_OF_THIS_TEST", value)
        assert [*parallel_map(os.getenv, ["XVIEW2_OF_THIS_TEST"], PROCESSES, "variables")] == [value]


def test_processes_run_jobs_outside_of_this_process() -> None:
    pids = set(parallel_map(process, range(12), PROCESSES, "processes"))
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2
    assert set(parallel_map(process, range(3), SERIAL, "processes")) == {os.getpid()}


@pytest.mark.parametrize("executor", [PROCESSES, pytest.param(DASK, marks=pytest.mark.slow)])
def test_workers_of_this_machine_are_numbered(executor: ExecutorParams, tmp_path: Path) -> None:
    assert {*parallel_map(numbered, [(tmp_path, job) for job in range(4)], executor, "workers")} == {0, 1}
    assert worker_number() is None


def test_workers_of_a_cluster_have_no_number(scheduler: str) -> None:
    executor = ExecutorParams(kind="dask", scheduler=scheduler)
    (number,) = parallel_map(call, [worker_number], executor, "workers")
    assert number is None


@pytest.mark.parametrize("executor", [SERIAL, PROCESSES])
def test_an_error_in_a_job_keeps_its_message_and_hint(executor: ExecutorParams) -> None:
    with pytest.raises(DataError) as caught:
        list(parallel_map(refuse, [7], executor, "jobs"))
    assert (caught.value.message, caught.value.hint) == ("Job 7 failed.", "Try again.")


def test_an_error_is_raised_before_waiting_jobs_run() -> None:
    """Sixteen jobs are in flight when the first fails."""
    begun: list[int] = []

    def work(number: int) -> int:
        if number == 0:
            raise DataError("The first job failed.")
        begun.append(number)
        time.sleep(0.2)
        return number

    with ThreadPoolExecutor(1) as pool, pytest.raises(DataError, match="first job"):
        list(_in_flight(pool.submit, work, range(100), 16))
    assert len(begun) <= 1


def test_a_dead_worker_raises_a_data_error() -> None:
    with pytest.raises(DataError, match="worker"):
        list(parallel_map(die, range(3), PROCESSES, "jobs"))


@pytest.mark.slow
def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    script = f"""
import os, time
from pathlib import Path
from test_parallel import PROCESSES, note
from xview2_siamese_unet.parallel import parallel_map

if __name__ == "__main__":
    next(parallel_map(note, [Path({str(tmp_path)!r})] * 8, PROCESSES, "jobs"))
"""
    around = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    client = subprocess.Popen([sys.executable, "-c", script], env=around)  # noqa: S603
    while len(workers := [int(path.name) for path in tmp_path.iterdir()]) < 2:
        assert client.poll() is None
        time.sleep(0.02)
    client.kill()
    client.wait()
    end = time.monotonic() + 10
    while any(map(psutil.pid_exists, workers)):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_address_of_the_dashboard_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "xview2_siamese_unet")
    client = partial(thread, dashboard_link="http://127.0.0.1:1/status")
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=client))
    executor = ExecutorParams(kind="dask", scheduler="tcp://host:8786")
    assert list(parallel_map(square, [2], executor, "squares")) == [4]
    assert "http://127.0.0.1:1/status" in caplog.text
    assert "No worker has connected" in caplog.text


def test_dask_runs_jobs_on_the_given_scheduler(scheduler: str) -> None:
    executor = ExecutorParams(kind="dask", scheduler=scheduler, workers=1)
    assert list(parallel_map(square, range(20), executor, "squares")) == [n * n for n in range(20)]
    pids = set(parallel_map(process, range(4), executor, "processes"))
    assert len(pids) == 1
    assert os.getpid() not in pids
    with pytest.raises(DataError, match="Job 7"):
        list(parallel_map(refuse, [7], executor, "jobs"))


@pytest.mark.slow
def test_a_scheduler_that_dies_while_a_result_is_fetched_raises_a_data_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    program = [sys.executable, "-m", "dask"]
    start = partial(subprocess.Popen, env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)})
    with start([*program, "scheduler", "--host", address, "--no-dashboard"]) as scheduler:
        worker = start([*program, "worker", address, "--no-nanny", "--no-dashboard"])
        try:
            with pytest.raises(DataError, match="connection to the Dask scheduler is lost"):
                list(parallel_map(Deadly, [scheduler.pid], ExecutorParams(kind="dask", scheduler=address), "jobs"))
        finally:
            scheduler.kill()
            worker.kill()
            worker.wait()


@pytest.mark.parametrize(("scheduler", "cluster"), [(None, "LocalCluster"), ("slurm", "SLURMCluster")])
def test_dask_starts_the_requested_number_of_workers(
    monkeypatch: pytest.MonkeyPatch, scheduler: str | None, cluster: str
) -> None:
    """Stand-ins for the clusters record the requested number of workers."""
    asked: list[object] = []

    def client(cluster: Cluster) -> AbstractContextManager[SimpleNamespace]:
        asked.append(cluster.name)
        return thread()

    class Cluster(nullcontext):
        def __init__(self, name: str, **options: object) -> None:
            super().__init__()
            self.name = name
            asked.append(options.get("n_workers"))

        def adapt(self, minimum: int, maximum: int) -> None:
            asked[-1] = minimum if minimum == maximum else None

    local = partial(Cluster, "LocalCluster")
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=client, LocalCluster=local))
    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=partial(Cluster, "SLURMCluster")))
    executor = ExecutorParams(kind="dask", scheduler=scheduler, workers=3)
    assert sorted(parallel_map(square, range(30), executor, "squares")) == [n * n for n in range(30)]
    assert asked == [3, cluster]


def test_missing_dask_raises_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match="--extra cluster"):
        list(parallel_map(square, [1], DASK, "squares"))


def test_slurm_without_dask_jobqueue_raises_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    executor = ExecutorParams(kind="dask", scheduler="slurm")
    with pytest.raises(ConfigError, match=r"dask-jobqueue is not installed.*--extra cluster"):
        list(parallel_map(square, [1], executor, "squares"))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tcp://127.0.0.1", "tcp://a:b"])
def test_an_address_without_a_scheduler_raises_a_config_error(address: str) -> None:
    executor = ExecutorParams(kind="dask", scheduler=address)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises(ConfigError, match=f"No Dask scheduler responds at {address}"),
    ):
        list(parallel_map(square, [1], executor, "squares"))


def test_a_full_disk_is_not_reported_as_a_wrong_scheduler_address(monkeypatch: pytest.MonkeyPatch) -> None:
    comm = SimpleNamespace(CommClosedError=ConnectionError)
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=thread, comm=comm))
    results = parallel_map(square, [1, 2], ExecutorParams(kind="dask", scheduler="tcp://host:8786"), "squares")
    next(results)
    with pytest.raises(OSError, match="No space"):
        results.throw(OSError(28, "No space left"))


def test_usable_cores_follow_the_cpu_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 2, 5}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


def test_a_progress_bar_is_shown_only_on_a_terminal(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "xview2_siamese_unet")
    list(parallel_map(square, range(3), SERIAL, "scenes packed"))
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    list(parallel_map(square, range(3), SERIAL, "scenes packed"))
    assert "scenes packed" in capsys.readouterr().err


def test_paths_can_be_passed_to_jobs(tmp_path: Path) -> None:
    assert list(parallel_map(Path.exists, [tmp_path, tmp_path / "x"], SERIAL, "paths")) == [True, False]


def test_reading_ahead_keeps_order_and_stops_at_n() -> None:
    read: list[int] = []

    def numbers() -> Generator[int, None, None]:
        for number in range(5):
            read.append(number)
            yield number

    prefetched = read_ahead(numbers(), 2)
    assert next(prefetched) == 0
    time.sleep(0.05)  # long enough to read all numbers without the limit
    assert read == [0, 1, 2][: len(read)]
    assert [*prefetched] == [1, 2, 3, 4]


def test_closing_waits_for_the_item_that_is_being_read() -> None:
    read: list[int] = []
    reading, last = Event(), Event()

    def numbers() -> Generator[int, None, None]:
        try:
            for number in range(5):
                if number == 1:
                    reading.set()
                    time.sleep(0.1)
                read.append(number)
                yield number
        finally:
            last.set()

    prefetched = read_ahead(numbers(), 3)
    assert next(prefetched) == 0
    assert reading.wait(10)
    prefetched.close()
    assert read == [0, 1]
    assert last.is_set()


def test_an_error_while_reading_ahead_is_raised_after_the_items_before_it() -> None:
    def broken() -> Generator[int, None, None]:
        yield 1
        raise DataError("no more")

    prefetched = read_ahead(broken(), 3)
    assert next(prefetched) == 1
    with pytest.raises(DataError, match="no more"):
        next(prefetched)
