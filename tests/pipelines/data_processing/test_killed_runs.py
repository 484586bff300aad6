"""data_processing that is killed at random points and rerun gives the bytes of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

PROGRAM = """
import os
import sys
from pathlib import Path

if __name__ == "__main__":  # a spawned worker also reads this file, but needs no imports
    from xview2_siamese_unet.datasets.store import BuildingsDataset
    from xview2_siamese_unet.datasets.partitions import MasksDataset, SceneFolderDataset
    from xview2_siamese_unet.datasets.store import StoreDataset
    from xview2_siamese_unet.config.data_processing import DataProcessingParams
    from xview2_siamese_unet.config.dataset import DatasetParams, SampleParams, SampleScenes
    from xview2_siamese_unet.config.execution import ExecutorParams
    from xview2_siamese_unet.pipelines.data_processing import nodes


def work(out, kind):
    executor = ExecutorParams(kind=kind, workers=2)
    dataset = DatasetParams(sample=SampleParams(size=64, scenes=SampleScenes(tier1=9, tier3=5, hold=3, test=3)))
    params = DataProcessingParams()
    raw = SceneFolderDataset(filepath=str(out / "raw"))
    buildings = BuildingsDataset(filepath=str(out / "buildings.parquet"))
    masks = MasksDataset(filepath=str(out / "masks"))
    store = StoreDataset(filepath=str(out / "store"))
    raw.save(nodes.provide_scenes(None, dataset, executor))
    files = nodes.list_scenes(raw.load(), params)
    _, scenes, _ = nodes.parse_labels(raw.load(), files, dataset, params, executor)
    scenes.to_parquet(out / "scenes.parquet")
    buildings.save(nodes.tabulate_buildings(raw.load(), files, scenes, executor))
    masks.save(nodes.burn_masks(raw.load(), files, scenes, params, executor))
    store.save(nodes.pack_scenes(raw.load(), scenes, masks.load(), params, executor))


if __name__ == "__main__":
    for line in sys.stdin:  # each run is a fork with its own process group, so that imports are needed only once
        if (pid := os.fork()) == 0:
            os.setsid()
            work(Path(line.split()[1]), line.split()[0])
            os._exit(0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Runs:
    """Starts runs of data_processing, and kills them."""

    def __init__(self, folder: Path) -> None:
        program = folder / "program.py"
        program.write_text(PROGRAM)
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, out: Path, kind: str, kill_after: float | None = None) -> int:
        """Return the exit status of a run, -9 if it was killed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{kind} {out}\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        return int(self.process.stdout.readline())


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(tmp_path)
    yield runs
    runs.process.communicate(timeout=60)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path.relative_to(folder) for path in folder.rglob("[!.]*") if path.is_file())
    return {path.as_posix(): (folder / path).read_bytes() for path in files if not path.parent.name.endswith(".part")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "kills"),
    [("serial", 12), ("processes", 2)],
    ids=["serial", "processes"],
)
def test_the_same_bytes_after_any_number_of_kills(tmp_path: Path, runs: Runs, kind: str, kills: int) -> None:
    assert runs.run(tmp_path / "whole", "serial") == 0
    started = time.perf_counter()
    assert runs.run(tmp_path / "again", kind) == 0
    seconds = time.perf_counter() - started
    rng = random.Random(kind)  # noqa: S311
    # Each short run reuses the results of the runs before it and gets a little further.
    ends = [runs.run(tmp_path / "torn", kind, rng.uniform(0.05, 0.5) * seconds) for _ in range(kills)]
    assert -signal.SIGKILL in ends
    assert runs.run(tmp_path / "torn", kind) == 0
    assert contents(tmp_path / "torn") == contents(tmp_path / "again") == contents(tmp_path / "whole")
