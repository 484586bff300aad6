"""A parallel map over many jobs: serial, in processes or on a Dask cluster, with a progress bar; reading ahead.

`parallel_map` is the only place that starts processes for scenes; `params:executor` configures it.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.context import BaseContext
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from tempfile import gettempdir
from threading import Thread
from types import ModuleType
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.packages import DASK
from xview2_siamese_unet.progress import track

Job = TypeVar("Job")
Result = TypeVar("Result")
Value = TypeVar("Value")
Value_contra = TypeVar("Value_contra", contravariant=True)
_log = logging.getLogger(__name__)
_INSTALL: Final = f"Install it: {DASK.install}."
_JOBS_PER_WORKER: Final = 8
"""Jobs in flight per worker: processing times of scenes differ by less than this factor."""
_BEGAN: Final = "xview2_began"
"""Attribute with the start time of the first workers; kept if a notebook imports this package again."""
_LONGEST_TEMP: Final = 70
"""Longest path of the temporary folder in bytes: a socket in it adds 32, and may have 107."""
_NUMBER: Final = "XVIEW2_WORKER"
"""Environment variable of a worker process: its number among those of this machine."""


def read_ahead(parts: Generator[Value, None, None], n: int) -> Generator[Value, None, None]:
    """Yield `parts`; another thread computes up to `n` of them in advance.

    Closing this generator waits for the part in progress and closes `parts`. The files that they read may be closed
    after that.
    """
    end = object()
    with closing(parts), ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, parts, end) for _ in range(n))
        try:
            while (part := waiting.popleft().result()) is not end:
                waiting.append(thread.submit(next, parts, end))
                yield cast(Value, part)
        finally:
            thread.shutdown(cancel_futures=True)


def parallel_map(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    executor: ExecutorParams,
    what: str,
    imports: Sequence[str] = (),
) -> Iterator[Result]:
    """Yield the results in the order of the jobs; they do not depend on the executor.

    At most `_JOBS_PER_WORKER` jobs per worker are in flight, which bounds memory. A slow job delays the results, but
    the other workers only at that limit.

    Args:
        function: importable by name, so that another process finds it.
        jobs: picklable.
        executor: where to run.
        what: a noun for the progress bar, such as `scenes packed`.
        imports: further modules that the jobs import, by name; worker processes share them.

    Raises:
        ConfigError: Dask is requested but not installed, or no scheduler responds.
        DataError: a worker or the scheduler died.
    """
    if not jobs:  # nothing to start workers for
        return
    workers = executor.workers or usable_cores()
    # glibc reads these when a worker starts. With a memory pool for each thread, or large arrays between small ones, it
    # returns less of the freed memory.
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**24))
    with ExitStack() as stack:
        results: Iterator[Result]
        if executor.kind == "serial":
            results = map(function, jobs)
        elif executor.kind == "processes":
            context = _process_context(imports)
            numbers: SimpleQueue[int] = context.SimpleQueue()
            for number in range(workers):
                numbers.put(number)
            begin = (numbers, dict(os.environ))
            pool = stack.enter_context(ProcessPoolExecutor(workers, context, _begin_worker, begin))
            results = _in_flight(pool.submit, function, jobs, workers * _JOBS_PER_WORKER)
        else:
            results = _in_flight(
                stack.enter_context(_dask(executor, workers)), function, jobs, workers * _JOBS_PER_WORKER
            )
        yield from track(what, len(jobs), results)


@dataclass(frozen=True, slots=True)
class Lazy(Generic[Value]):
    """A value that is made when it is saved, by the process that saves it.

    Attributes:
        make: returns the value; importable by name and picklable.
        made_from: a key that changes with everything that makes the value, or a function that returns it; `None` for a
            value that is never made again.
    """

    make: Callable[[], Value]
    made_from: str | Callable[[], str] | None = None


class Partition(Protocol[Value_contra]):
    """The files of one value."""

    def made_from(self) -> str | None:
        """Return the key that the value was written with, `None` if it is missing or damaged."""

    def write(self, make: Callable[[], Value_contra], made_from: str | None) -> None:
        """Make the value and write it, the key last: a killed process leaves none or the old value."""


def make_missing(job: tuple[Partition[Value], Lazy[Value]], *, skip: bool = False) -> bool | DataError:
    """Make a value unless it is up to date; return whether it was made, or with `skip` the error.

    Raises:
        DataError: the value cannot be made.
    """
    partition, lazy = job
    try:
        wanted = lazy.made_from() if callable(lazy.made_from) else lazy.made_from
        current = partition.made_from()
        if current is not None and wanted in (None, current):
            return False
        partition.write(lazy.make, wanted)
    except DataError as error:
        if not skip:
            raise
        return error
    return True


def worker_number() -> int | None:
    """Return the number of this worker process on this machine, from 0, if it has one.

    `None` outside of workers, and with a scheduler that may have workers on other machines. A worker can use the number
    to choose its GPU.
    """
    number = os.environ.get(_NUMBER)
    return None if number is None else int(number)


def usable_cores() -> int:
    """Return the number of cores that this process may use; on a shared machine not all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_flight(
    submit: Callable[..., Future[Result]], function: Callable[[Job], Result], jobs: Sequence[Job], most: int
) -> Iterator[Result]:
    waiting = iter(jobs)
    running: deque[Future[Result]] = deque()
    try:
        running.extend(submit(function, job) for job in islice(waiting, most))
        while running:
            result = running.popleft().result()
            running.extend(submit(function, job) for job in islice(waiting, 1))
            yield result
    except Exception as error:
        # By name, because Dask may not be installed.
        if not isinstance(error, BrokenProcessPool) and type(error).__name__ != "KilledWorker":
            raise
        raise DataError(
            "A worker process died, probably out of memory.",
            hint="Lower executor.workers and run again; finished scenes are kept.",
        ) from error
    finally:
        for future in running:  # so that an error surfaces when the running jobs end, not after all waiting ones
            future.cancel()


def _process_context(imports: Sequence[str]) -> BaseContext:
    """Return the start method of worker processes: fork server if possible, else spawn.

    A fork of a process that has used torch or GDAL hangs. The fork server only imports the modules of this process,
    which takes seconds and hundreds of megabytes once, not for each worker.

    With spawn, each worker imports the modules itself. That is needed on Windows, which cannot fork; on macOS, whose
    system libraries do not support it; if the path of the temporary folder is too long for the socket of the fork
    server; and after code has been edited, as in a notebook, because the fork server keeps the code that it imported.
    """
    if sys.platform != "linux" or len(os.fsencode(gettempdir())) > _LONGEST_TEMP:
        return get_context("spawn")
    context = get_context("forkserver")
    began = vars(context).setdefault(_BEGAN, time.time())
    if any(path.stat().st_mtime > began for path in Path(__file__).parent.rglob("*.py")):
        return get_context("spawn")
    ours = [name for name in sys.modules if name.startswith(f"{__package__}.")]
    context.set_forkserver_preload([*ours, *imports])
    return context


def _begin_worker(numbers: SimpleQueue[int], environ: Mapping[str, str]) -> None:
    """Number this worker, copy the environment of its parent, and end it if the parent is killed.

    A worker without a parent would keep files in use. The environment may have changed since the fork server started.
    """
    os.environ.clear()
    os.environ.update(environ)
    os.environ[_NUMBER] = str(numbers.get())
    parent = parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=wait, daemon=True).start()


def _number_worker(dask_worker: Any) -> None:  # noqa: ANN401  Dask, which may not be installed, requires this name
    os.environ[_NUMBER] = str(dask_worker.name)


@contextmanager
def _dask(executor: ExecutorParams, workers: int) -> Iterator[Callable[..., Future[Any]]]:
    try:
        distributed = import_module("distributed")  # an extra, and slow to import
    except ImportError as error:
        raise ConfigError("executor.kind is dask, which is not installed.", hint=_INSTALL) from error
    with ExitStack() as stack:
        cluster = _cluster(distributed, executor.scheduler, workers)
        if not isinstance(cluster, str):
            stack.enter_context(cluster)
        try:
            client = distributed.Client(cluster)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"No Dask scheduler responds at {executor.scheduler or 'this machine'} ({error}).",
                hint="Start one with dask scheduler, correct executor.scheduler, or set executor.kind: processes.",
            ) from error
        opened = stack.enter_context(client)
        if executor.scheduler is None:  # workers of a LocalCluster are named 0, 1, 2...
            opened.register_worker_callbacks(_number_worker)
        if opened.dashboard_link:
            _log.info("Dask dashboard: %s", opened.dashboard_link)
        if not opened.nthreads():
            _log.warning("No worker has connected to the Dask scheduler yet; waiting for the first")
        try:
            # Not get_executor(): its futures never end if the scheduler dies while a result is on its way.
            yield partial(opened.submit, pure=False)
        except (CancelledError, distributed.comm.CommClosedError) as error:
            # Without the tracebacks of its attempts to reconnect.
            logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
            raise DataError(
                "The connection to the Dask scheduler is lost: it was stopped or killed.",
                hint="Start it and its workers again, and run the same command; finished scenes are kept.",
            ) from error


def _cluster(distributed: ModuleType, scheduler: str | None, workers: int) -> Any:  # noqa: ANN401  one of Dask's classes, or an address
    if scheduler is None:
        # By default, the dashboard is open to the network, on one port for all runs.
        pages = "127.0.0.1:0"
        return distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=pages)
    if scheduler == "slurm":
        try:
            jobqueue = import_module("dask_jobqueue")
        except ImportError as error:
            raise ConfigError(
                "executor.scheduler is slurm, but dask-jobqueue is not installed.", hint=_INSTALL
            ) from error
        cluster = jobqueue.SLURMCluster()
        cluster.adapt(minimum=workers, maximum=workers)  # unlike scale(), replaces workers whose time is up
        return cluster
    return scheduler
