"""The job script near its time limit, with stand-ins for the commands of a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unix

DATA, TRAINING, REPORTING = "data_processing,feature_statistics", "modelling", "reporting"
PHASES = (DATA, TRAINING, REPORTING)
STAND_INS = {
    "scontrol": 'if [ "$1" = show ]; then echo node1; else echo "scontrol $*" >> log; fi',
    "srun": 'echo "srun $*" >> log\nwhile [ "$1" != uv ]; do shift; done\nexec "$@"',
    # The phase in LASTS runs until SIGTERM and then exits with AT_STOP.
    "uv": f"""
        if [ "$2" = python ]; then shift 2; PYTHONPATH=$PWD exec {sys.executable} "$@"; fi
        echo "uv $*" >> log
        case "$*" in *"--pipelines $LASTS"*) ;; *) exit 0 ;; esac
        trap 'kill $!; echo stopped >> log; exit $AT_STOP' TERM
        echo "lasts $$" >> log
        sleep 30 & wait
    """,
}
TORCH = """
import os
class cuda:
    is_available = lambda: os.environ["VISIBLE"] != "0"
    device_count = lambda: int(os.environ["VISIBLE"])
"""

Submit = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def submit(tmp_path: Path, project_path: Path) -> Iterator[Submit]:
    """Start the job script as Slurm does; `LASTS` names the phase that runs until it is stopped."""
    for name, lines in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{lines}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "torch.py").write_text(TORCH)
    (tmp_path / "log").touch()
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, **variables: str) -> subprocess.Popen[str]:
        job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node1", "SLURM_NNODES": "1", "SLURM_GPUS_ON_NODE": "2"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        job |= {"SLURM_SUBMIT_DIR": str(tmp_path), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        process = subprocess.Popen(  # noqa: S603
            ["/usr/bin/env", "bash", str(project_path / "slurm" / "train.sh"), "lab/002", *options],
            env=inherited | job | {"LASTS": "none", "VISIBLE": "2"} | variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def log(tmp_path: Path) -> Callable[[str], list[str]]:
    """Return the lines of the stand-ins that begin with a word."""
    return lambda word: [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith(word)]


def wait_for(log: Callable[[str], list[str]], word: str) -> str:
    until = time.monotonic() + 20
    while not log(word) and time.monotonic() < until:
        time.sleep(0.02)
    return log(word)[0]


def ended(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=20)
    return process.returncode


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_job_with_enough_time_runs_three_phases(submit: Submit, log: Callable[[str], list[str]]) -> None:
    assert ended(submit("--params", "training.epochs=3")) == 0
    runs = log("uv")
    assert [line.split("--pipelines ")[1] for line in runs] == [f"{one} --params training.epochs=3" for one in PHASES]
    assert log("scontrol") == []


@pytest.mark.parametrize("phase", PHASES)
def test_a_job_out_of_time_stops_its_phase_and_requeues_once(
    submit: Submit, log: Callable[[str], list[str]], phase: str
) -> None:
    job = submit(LASTS=phase, AT_STOP="143")
    child = int(wait_for(log, "lasts").split()[1])
    job.send_signal(signal.SIGUSR1)
    assert ended(job) == 0
    assert log("stopped") == ["stopped"]
    assert not is_running(child)
    assert log("scontrol") == ["scontrol requeue 7"]
    assert len(log("uv")) == PHASES.index(phase) + 1


def test_a_second_signal_changes_nothing(submit: Submit, log: Callable[[str], list[str]]) -> None:
    job = submit(LASTS=TRAINING, AT_STOP="143")
    wait_for(log, "lasts")
    job.send_signal(signal.SIGUSR1)
    job.send_signal(signal.SIGUSR1)
    assert ended(job) == 0
    assert log("scontrol") == ["scontrol requeue 7"]


@pytest.mark.parametrize("phase", PHASES)
def test_a_finished_phase_requeues_only_if_another_follows(
    submit: Submit, log: Callable[[str], list[str]], phase: str
) -> None:
    job = submit(LASTS=phase, AT_STOP="0")
    wait_for(log, "lasts")
    job.send_signal(signal.SIGUSR1)
    assert ended(job) == 0
    assert log("scontrol") == ([] if phase == REPORTING else ["scontrol requeue 7"])
    assert len(log("uv")) == PHASES.index(phase) + 1


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_that_fails_ends_the_job_with_its_code(
    submit: Submit, log: Callable[[str], list[str]], phase: str
) -> None:
    job = submit(LASTS=phase, AT_STOP="3")
    os.kill(int(wait_for(log, "lasts").split()[1]), signal.SIGTERM)
    assert ended(job) == 3
    assert log("scontrol") == []
    assert len(log("uv")) == PHASES.index(phase) + 1


@pytest.mark.parametrize(
    ("given", "resumed"),
    [
        ([], ["--params", "training.reuse=true"]),
        (
            ["--params", "training.reuse=false,training.epochs=3", "--runner", "X Y"],
            ["--runner", "X Y", "--params", "training.reuse=false,training.epochs=3,training.reuse=true"],
        ),
        (["--params=a.b=1", "--params=a.b=2"], ["--params", "a.b=2,training.reuse=true"]),
        (["--config", "run.yml"], ["--config", "run.yml"]),
    ],
    ids=["none", "with others", "the last one counts", "in a file"],
)
def test_a_restart_always_reuses_its_run(
    submit: Submit, log: Callable[[str], list[str]], given: list[str], resumed: list[str]
) -> None:
    assert ended(submit(*given, SLURM_RESTART_COUNT="1")) == 0
    data, trained, reported = log("uv")
    assert data.endswith(f"{DATA} {' '.join(resumed)}")
    assert trained.endswith(f"{TRAINING} {' '.join(resumed)}")
    assert reported.endswith(f"{REPORTING} {' '.join(given)}".strip())


def test_the_first_start_keeps_the_given_reuse(submit: Submit, log: Callable[[str], list[str]]) -> None:
    assert ended(submit("--params", "training.reuse=false", SLURM_RESTART_COUNT="0")) == 0
    assert log("srun")[-1].endswith(f"--pipelines {TRAINING} --params training.reuse=false")


def test_each_process_gets_the_cores_that_the_job_requests(submit: Submit, log: Callable[[str], list[str]]) -> None:
    assert ended(submit(SLURM_CPUS_PER_TASK="16")) == 0
    assert ended(submit()) == 0
    with_cores, without = (line for line in log("srun") if "torchrun" in line)
    assert "--kill-on-bad-exit=1 --cpus-per-task 16 uv run torchrun" in with_cores
    assert "--kill-on-bad-exit=1 uv run torchrun" in without


@pytest.mark.parametrize("visible", ["0", "1"])
def test_a_job_with_invisible_gpus_fails_before_its_first_phase(
    submit: Submit, log: Callable[[str], list[str]], visible: str
) -> None:
    job = submit(VISIBLE=visible)
    output, _ = job.communicate(timeout=20)
    assert job.returncode == 1
    assert f"Slurm allocated 2 GPUs, but torch detects {visible}." in output
    assert log("uv") == []


@pytest.mark.parametrize("allocated", ["0", ""])
def test_a_job_without_gpus_trains_in_one_process_a_node(
    submit: Submit, log: Callable[[str], list[str]], allocated: str
) -> None:
    assert ended(submit(VISIBLE="0", SLURM_GPUS_ON_NODE=allocated)) == 0
    assert "--nproc-per-node 1 " in next(line for line in log("uv") if "torchrun" in line)
