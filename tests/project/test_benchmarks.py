"""Every benchmark runs at its smallest size; its time and memory are only meaningful on an idle machine."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from run_command import run_python

FOLDER = Path(__file__).parents[2] / "benchmarks"
XBD = Path(__file__).parents[3] / "shared" / "xbd"
SANTA_ROSA = XBD.with_name("santa_rosa")
SMALLEST = {
    "bench_adaptation": "{santa_rosa} 1 1 random",
    "bench_assess_memory": "1000",
    "bench_assess_speed": "tu-test_resnet 256",
    "bench_burn": "{few} 1",
    "bench_campaign": "64 1 1 0.1",
    "bench_campaign_table": "2",
    "bench_cold_read": "{folder} 4",
    "bench_counts": "{few}",
    "bench_crops": "2",
    "bench_data_memory": "4 8 256",
    "bench_embedding": "50",
    "bench_epoch": "1",
    "bench_intervals": "2",
    "bench_macs": "--encoder resnet18 --side 64",
    "bench_obscured": "{few} --scenes 1 --encoder tu-test_resnet",
    "bench_onnx": "tu-test_resnet 128",
    "bench_read": "{few}",
    "bench_report_memory": "1 2",
    "bench_score": "2",
    "bench_startup": "1",
    "bench_training": "--encoder tu-test_resnet --side 64 --size 64 --batch 2 --steps 1 --scenes 2 --location device",
    "bench_zero_shot": "1 1 1 2 1 2 1",
}


def few_scenes(folder: Path) -> Path:
    """Link the first scene of two folders of xBD."""
    if not XBD.is_dir():
        pytest.skip("the real scenes of ../shared/xbd are missing")
    for tier in ("tier1", "test"):
        (name, *_) = sorted(
            path.name.removesuffix("_post_disaster.json") for path in (XBD / tier).glob("labels/*_post*")
        )
        for path in (XBD / tier).glob(f"*/{name}_*"):
            link = folder / path.relative_to(XBD)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return folder


def test_every_benchmark_is_tested() -> None:
    # The main job and the first-day page have their own tests.
    elsewhere = {"bench_main_job", "bench_first_day"}
    assert SMALLEST.keys() | elsewhere == {path.stem for path in FOLDER.glob("bench_*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_prints_numbers(name: str, tmp_path: Path) -> None:
    if "{santa_rosa}" in SMALLEST[name] and not SANTA_ROSA.is_dir():
        pytest.skip("the real scenes of ../shared/santa_rosa are missing")
    few = few_scenes(tmp_path / "few") if "{few}" in SMALLEST[name] else None
    if name == "bench_burn":
        pytest.importorskip("cv2", reason="OpenCV, which the compared solutions use, is not installed")
    arguments = shlex.split(SMALLEST[name].format(few=few, santa_rosa=SANTA_ROSA, folder=tmp_path))
    program = (
        "import runpy, sys; sys.path[0] = 'benchmarks'; del sys.argv[0]; runpy.run_path(sys.argv[0], {}, '__main__')"
    )
    done = run_python(FOLDER.parent, "-c", program, str(FOLDER / f"{name}.py"), *arguments, timeout=240)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d", done.stdout)
