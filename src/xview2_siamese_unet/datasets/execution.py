"""Runs one function over many jobs, here or in processes, with a progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.params.execution import ExecutorParams

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    function: Callable[[Job], Result], jobs: Collection[Job], executor: ExecutorParams, what: str
) -> Iterator[Result]:
    """Yield the results as they come; which process computes a job changes nothing in its result.

    Args:
        function: importable by name, so that a spawned process finds it.
        jobs: picklable.
        executor: where to run.
        what: a noun for the progress bar, such as `scenes packed`.
    """
    with _progress(what, len(jobs)) as advance:
        results = map(function, jobs) if executor.kind == "serial" else _in_processes(function, jobs, executor)
        for result in results:
            advance()
            yield result


def usable_cores() -> int:
    """Return the cores that this process may use, which on a shared machine are fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(
    function: Callable[[Job], Result], jobs: Collection[Job], executor: ExecutorParams
) -> Iterator[Result]:
    """Keep a few jobs a worker in flight: memory is bound by workers, not by jobs."""
    workers = executor.workers or usable_cores()
    waiting = iter(jobs)
    try:
        # spawn: a fork of a process that has used torch or GDAL hangs.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            running = {pool.submit(function, job) for job in islice(waiting, workers * 4)}
            while running:
                done = next(as_completed(running))
                running.remove(done)
                running.update(pool.submit(function, job) for job in islice(waiting, 1))
                yield done.result()
    except BrokenProcessPool as error:
        raise DataError(
            "executor",
            found=f"one of {workers} worker processes gone, as when memory runs out",
            allowed="workers whose scenes fit in memory together",
            remedy="lower executor.workers and run again; finished scenes are kept",
        ) from error


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)
