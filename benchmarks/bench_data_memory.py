"""Peak memory of data_processing with 40 and with 400 synthetic scenes of 1024².

    OMP_NUM_THREADS=1 uv run python benchmarks/bench_data_memory.py [FEW MANY [SIDE]]

The sample is drawn once; the other scenes are the same images under other names, with their own labels and uids. Each
number of scenes is a run of `data_processing` in its own process on one core, measured as a whole: imports, catalog,
report. Target: growth below 15 %. Needs about 10 GB of disk while it runs.
"""

from __future__ import annotations

import re
import resource
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from multiprocessing import get_context
from pathlib import Path

import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from xview2_siamese_unet.config.dataset import SampleParams, SampleScenes
from xview2_siamese_unet.synthetic import plan_sample, write_scene
from xview2_siamese_unet.xbd.scenes import parse_stem

PROJECT = Path(__file__).parents[1]
DISTINCT = 20
_UID = re.compile(rb'("uid":")([0-9a-f]{6})')


def draw_distinct_scenes(root: Path, scenes: int, side: int) -> None:
    """Draw the scenes that are repeated, a multiple of four."""
    part = scenes // 4
    sample = SampleParams(size=side, scenes=SampleScenes(tier1=part, tier3=part, hold=part, test=part))
    for scene in plan_sample(sample):
        write_scene(root, scene, side)


def repeat(drawn: Path, root: Path, turns: int) -> int:
    """Link images and copy labels under new names, `turns` times; return the number of buildings."""
    buildings = 0
    for turn in range(turns):
        for path in sorted(drawn.glob("*/*/*.*")):
            scene, phase = parse_stem(path.stem)
            name = f"{scene.disaster}_{scene.number + 1000 * turn:08d}_{phase}_disaster{path.suffix}"
            copy = root / path.parent.relative_to(drawn) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json":
                text, changed = _UID.subn(rb"\g<1>%06x" % turn, path.read_bytes())
                copy.write_bytes(text)
                buildings += changed // 2 * (phase == "post")  # each is listed in pixels and in degrees
            else:
                copy.hardlink_to(path)
    return buildings


def measure(root: Path, folder: Path) -> tuple[float, float]:
    """Run the pipeline on the scenes of `root`; return the highest resident memory in MB and its seconds."""
    conf = folder / "conf"
    shutil.copytree(PROJECT / "conf", conf, ignore=shutil.ignore_patterns("local"))
    (conf / "local").mkdir()
    dataset = {"source": "xbd", "root": str(root), "name": "memory"}
    settings = {"storage": str(folder / "data"), "dataset": dataset, "executor": {"kind": "serial"}}
    (conf / "local" / "globals.yml").write_text(yaml.safe_dump(settings))
    started = time.monotonic()
    bootstrap_project(PROJECT)
    with redirect_stdout(sys.stderr), KedroSession.create(PROJECT, conf_source=str(conf)) as session:
        session.run(pipeline_names=["data_processing"])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.monotonic() - started


def main(few: int = 40, many: int = 400, side: int = 1024) -> None:
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "drawn"
        distinct = min(DISTINCT, few)
        draw_distinct_scenes(drawn, distinct, side)
        for scenes in (few, many):
            here = Path(folder) / str(scenes)
            buildings = repeat(drawn, here / "raw", scenes // distinct)
            with ProcessPoolExecutor(1, get_context("forkserver")) as fresh:
                memory, seconds = fresh.submit(measure, here / "raw", here).result()
            peaks.append(memory)
            print(f"{scenes:4d} scenes, {buildings:6d} buildings   peak {memory:.0f} MB   {seconds:.0f} s", flush=True)
    print(f"growth {100 * (peaks[1] / peaks[0] - 1):.1f} %  (target: below 15 %)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
