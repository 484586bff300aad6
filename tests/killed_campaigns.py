"""Kills a process of campaigns on Dask at five moments: `python killed_campaigns.py client|worker|scheduler`.

Run it in a project. Each process is a fork of this one, because imports take longer than a tiny campaign.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.context import ForkProcess
from pathlib import Path

import exactextract  # noqa: F401
import segmentation_models_pytorch  # noqa: F401
import torch._dynamo  # noqa: F401
from distributed import Scheduler, Worker
from kedro.framework.startup import bootstrap_project

MOMENTS = ("inputs/*", "scenes/*/.work", "scenes/*.json", "scenes/*.json", "*buildings.gpkg*")
"""Patterns in the campaign folder: a process is killed when another file matches."""
OPTIONS = ("--footprints", "houses.gpkg", "--model", "model.pth")
report = partial(print, flush=True)
SETTINGS = Path("conf/local/globals.yml")


class Cluster:
    """A Dask scheduler and a worker, each in its own process."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.scheduler = fork("scheduler", lambda: serve(Scheduler, host=self.address, dashboard=False))
        self.start_worker()
        SETTINGS.write_text(f"executor: {{kind: dask, scheduler: '{self.address}'}}\n", encoding="utf-8")

    def start_worker(self) -> None:
        self.worker = fork("worker", lambda: serve(Worker, self.address, nthreads=1, dashboard=False))


def serve(kind: Callable[..., Scheduler | Worker], *args: str, **options: object) -> None:
    async def finish() -> None:
        async with kind(*args, **options) as server:
            await server.finished()

    asyncio.run(finish())


def run_client(folder: Path) -> None:
    from xview2_siamese_unet.cli import exit_with_error  # noqa: PLC0415  Kedro is configured now
    from xview2_siamese_unet.cli.campaign import campaign  # noqa: PLC0415

    try:
        campaign(["run", str(folder), *OPTIONS])
    except Exception as error:
        exit_with_error(error)


def start_client(folder: Path) -> ForkProcess:
    return fork("client", lambda: run_client(folder))


def fork(name: str, work: Callable[[], None]) -> ForkProcess:
    """Start a process whose output goes to a file."""

    def begin() -> None:
        log = os.open(f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        work()

    process = multiprocessing.get_context("fork").Process(target=begin, daemon=True)  # ends with this process
    process.start()
    return process


def end_of(client: ForkProcess) -> int | None:
    client.join(60)
    return client.exitcode


def wait_for(pattern: str, folder: Path, before: int, client: ForkProcess) -> None:
    end = time.monotonic() + 60
    while len([*folder.glob(pattern)]) <= before:
        assert client.is_alive(), f"it ended before there was {pattern}"
        assert time.monotonic() < end
        time.sleep(0.005)


def campaign_with_kills(victim: str, folder: Path) -> None:
    """Kill the victim at each moment. A client survives the death of a worker; otherwise it is started again."""
    cluster, client = Cluster(), None
    for moment in MOMENTS:
        before = len([*folder.glob(moment)])
        if client is None:
            client = start_client(folder)
        wait_for(moment, folder, before, client)
        {"client": client, "worker": cluster.worker, "scheduler": cluster.scheduler}[victim].kill()
        if victim == "worker":
            cluster.start_worker()
            continue
        report(victim, end_of(client))
        client = None
        if victim == "scheduler":
            cluster = Cluster()  # the worker of the previous cluster may still finish a job
    if client is not None:
        report(victim, end_of(client))
    report("again", end_of(start_client(folder)))
    for process in (cluster.scheduler, cluster.worker):
        process.kill()


if __name__ == "__main__":
    bootstrap_project(Path.cwd())
    from xview2_siamese_unet import campaigns  # noqa: F401  Kedro is configured
    from xview2_siamese_unet.pipelines.inference import pages, pipeline  # noqa: F401

    report("calm", end_of(start_client(Path("calm"))))
    for victim in sys.argv[1:]:
        campaign_with_kills(victim, Path(victim))
