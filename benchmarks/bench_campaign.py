"""A campaign: peak memory of a worker for few and many scenes, and throughput of two workers against one.

    uv run python benchmarks/bench_campaign.py [side] [few] [many] [seconds]      default: 1024 6 60 5

Scenes of `side` pixels, each in its own tile and with ten footprints; the quickstart's network with random weights.
Each campaign is a new process; its time includes the start of the workers and the merged table. The targets are a peak
below 1.5 GB (1,430 MB; a MB is 1024² bytes) that does not grow with the number of scenes, and 1.7 times the scenes per
second with two workers. No two processes can do better than two busy loops of Python, which are measured for some
seconds, before and after.
"""

from __future__ import annotations

import re
import resource
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import psutil

TILE, TOP, PIXEL = 2500, 4_099_900, 0.5
FRESH = get_context("forkserver")  # a subprocess would count the peak of this process as its own


def make_synthetic_campaign(folder: Path, side: int, scenes: int) -> None:
    """Write images, footprints, a plan and a model."""
    import geopandas as gpd  # noqa: PLC0415  not in the processes that are measured
    import numpy as np  # noqa: PLC0415
    import rasterio  # noqa: PLC0415
    import shapely  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from affine import Affine  # noqa: PLC0415

    from xview2_siamese_unet.campaign.catalogue import read_catalogue  # noqa: PLC0415
    from xview2_siamese_unet.campaign.plan import make_plan  # noqa: PLC0415
    from xview2_siamese_unet.campaign.plan_files import write_plan  # noqa: PLC0415
    from xview2_siamese_unet.cli.command import open_configuration  # noqa: PLC0415
    from xview2_siamese_unet.config.modelling import ModelParams  # noqa: PLC0415
    from xview2_siamese_unet.models.build import build_net  # noqa: PLC0415

    rng = np.random.default_rng(0)
    size = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": side, "width": side, "compress": "deflate"}
    rows, squares = ["pre,post"], []
    for scene in range(scenes):
        left = 200 * TILE + scene * TILE + 500
        for name in (f"pre_{scene}.tif", f"post_{scene}.tif"):
            image = np.kron(rng.integers(1, 255, (3, side // 8, side // 8)), np.ones((1, 8, 8))).astype(np.uint8)
            transform = Affine(PIXEL, 0, left, 0, -PIXEL, TOP)
            with rasterio.open(folder / name, "w", crs="EPSG:32636", transform=transform, tiled=True, **size) as target:
                target.write(image)
        rows.append(f"pre_{scene}.tif,post_{scene}.tif")
        corners = rng.uniform(0, side * PIXEL - 12, (10, 2))
        squares += [shapely.box(left + x, TOP - y - 12, left + x + 12, TOP - y) for x, y in corners]
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
    gpd.GeoDataFrame(geometry=squares, crs="EPSG:32636").to_crs(4326).to_file(folder / "buildings.gpkg")
    write_plan(folder / "campaign", make_plan(read_catalogue(folder / "pairs.csv")), "")
    torch.manual_seed(0)
    model = ModelParams.model_validate(open_configuration("default/quickstart")["parameters"]["model"])
    about = {"classes": {"unclassified": "ignore"}, "channels": {"mean": [127.0] * 3, "std": [60.0] * 3}}
    state = {"state": build_net(model, 5).state_dict(), "model": model.model_dump(mode="json"), "fingerprint": "random"}
    torch.save({**state, **about}, folder / "model.pth")


def measure(folder: Path, workers: int) -> tuple[float, float]:
    """Run a campaign; return the peak of its largest worker and of this process, in MB."""
    from kedro.framework.startup import bootstrap_project  # noqa: PLC0415

    from xview2_siamese_unet.campaigns import choose_settings, run_jobs  # noqa: PLC0415
    from xview2_siamese_unet.config.execution import ExecutorParams  # noqa: PLC0415

    bootstrap_project(Path.cwd())
    settings = choose_settings(str(folder / "model.pth"), folder / "buildings.gpkg", None, None, "default/quickstart")
    ended = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        worker = thread.submit(largest_peak, ended)
        run_jobs(folder / "campaign", settings._replace(executor=ExecutorParams(kind="processes", workers=workers)))
        ended.set()
    return worker.result(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def largest_peak(ended: threading.Event) -> float:
    """Return the largest peak in MB of the child processes, such as workers, until `ended` is set."""
    peak = 0
    while not ended.wait(0.05):
        for process in psutil.Process().children(recursive=True):
            with suppress(OSError):  # the process has ended; one that is ending has no such line
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
                peak = max([peak, *map(int, re.findall(r"VmHWM:\s+(\d+)", status))])
    return peak / 1024


def run(side: int, scenes: int, workers: int) -> float:
    """Print time and peaks of a campaign; return its scenes per second."""
    with tempfile.TemporaryDirectory() as folder:
        make_synthetic_campaign(Path(folder), side, scenes)
        started = time.monotonic()
        with ProcessPoolExecutor(1, FRESH) as fresh:
            worker, client = fresh.submit(measure, Path(folder), workers).result()
        seconds = time.monotonic() - started
    rate = scenes / seconds
    print(
        f"  {scenes:>3} scenes, {workers} worker{'s' if workers > 1 else ' '}  {seconds:6.0f} s {rate:6.2f} scenes/s   "
        f"peak of a worker {worker:.0f} MB, of the command {client:.0f} MB",
        flush=True,
    )
    return rate


def spin(seconds: float) -> int:
    """Count turns of a loop."""
    end, turns = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        turns += 1
    return turns


def ceiling(seconds: float) -> float:
    """Return the turns of two busy processes against those of one."""
    with ProcessPoolExecutor(2, FRESH) as pool:
        [*pool.map(spin, [0.5, 0.5])]  # so that both have started
        one = pool.submit(spin, seconds).result()
        return sum(pool.map(spin, [seconds, seconds])) / one


def main(side: str = "1024", few: str = "6", many: str = "60", seconds: str = "5") -> None:
    """Print times, peaks and ratios."""
    loops = [ceiling(float(seconds))]
    print(f"scenes of {side} × {side} pixels")
    runs = [(int(few), 1), (int(many), 1), (int(many), 2)]
    *_, one, two = [run(int(side), *case) for case in dict.fromkeys(runs)]
    loops.append(ceiling(float(seconds)))
    print(f"two workers against one         {two / one:.2f}   (target: at least 1.7)")
    print(f"two busy loops against one      {' and '.join(f'{ratio:.2f}' for ratio in loops)}   (before and after)")


if __name__ == "__main__":
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(Path.cwd())
    main(*sys.argv[1:])
