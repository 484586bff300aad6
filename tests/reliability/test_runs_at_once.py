"""Concurrent runs write the same files as consecutive runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from run_command import run_python
from shipped_project import SMALL

PROJECT = Path(__file__).parents[2]
SCENES = {"dataset": {"sample": {"size": 64, "scenes": {"tier1": 9, "tier3": 6, "hold": 4, "test": 4}}}}
# Imports are needed only once. Each argument is a round of environments that start at the same time, each in a fork.
PROGRAM = """
import os, sys
from contextlib import redirect_stdout
from pathlib import Path
from xview2_siamese_unet.runs import ProjectSession
from kedro.framework.startup import bootstrap_project
import rasterio
project, names, *rounds = sys.argv[1:]
bootstrap_project(Path(project))
from kedro.framework.project import pipelines
names = names.split(",")
assert all(pipelines[name].nodes for name in names)  # which imports them
import traceback
from xview2_siamese_unet.cli import sentence_of

def start(conf, env, log):
    if (pid := os.fork()) == 0:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(1, 2)
        code = 1
        try:
            with ProjectSession.create(project, env=env, conf_source=conf) as session:
                session.run(pipeline_names=names)
            code = 0
        except Exception as error:
            print(sentence_of(error) or traceback.format_exc(), file=sys.stderr)
        sys.stdout.flush()
        os._exit(code)
    return pid

for turn, argument in enumerate(rounds):
    conf, *envs = argument.split(",")
    pids = [start(conf, env, f"{turn}-{number}.log") for number, env in enumerate(envs)]
    print(*(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids), flush=True)
"""


class Storage:
    """A configuration with two users and two experiments, and its storage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        conf = folder / "conf"
        shutil.copytree(PROJECT / "conf", conf)
        shutil.copytree(conf / "users/default", conf / "users/lab")
        shutil.copytree(conf / "experiments/quickstart", conf / "experiments/second")
        (conf / "local").mkdir(exist_ok=True)
        (conf / "local/parameters.yml").write_text(yaml.safe_dump(SMALL | SCENES))
        (conf / "local/globals.yml").write_text(yaml.safe_dump({"storage": str(folder / "data")}))

    def contents(self, *patterns: str) -> dict[str, bytes]:
        data = self.folder / "data"
        files = (path for pattern in patterns for path in data.glob(pattern) if path.is_file())
        return {path.relative_to(data).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def storages(tmp_path: Path) -> tuple[Storage, Storage]:
    return Storage(tmp_path / "shared"), Storage(tmp_path / "alone")


def run(folder: Path, pipelines: str, *rounds: tuple[Storage, str]) -> tuple[list[str], str]:
    """Return the exit codes of each round, and the output of all runs."""
    arguments = [f"{storage.folder / 'conf'},{envs}" for storage, envs in rounds]
    done = run_python(folder, "-c", PROGRAM, str(PROJECT), pipelines, *arguments, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-len(rounds) :], "".join(path.read_text() for path in sorted(folder.glob("*.log")))


DATASET = ("01_raw/sample/**/*", "02_intermediate/sample/*", "03_primary/sample/**/*", "05_model_input/sample/**/*")


@pytest.mark.slow
def test_two_experiments_of_two_users_share_one_dataset(storages: tuple[Storage, Storage], tmp_path: Path) -> None:
    shared, alone = storages
    rounds = (shared, "default/quickstart,lab/second"), (alone, "default/quickstart")
    codes, output = run(tmp_path, "data_processing", *rounds)
    assert codes == ["0 0", "0"], output
    assert output.count("another run makes dataset sample: waiting until it is finished") == 1
    # Sample, masks and store, by the first of two runs and by the single run.
    assert output.count(": 23 made, 0 reused") == 3 * 2, output
    assert output.count(": 0 made, 23 reused") == 3
    assert shared.contents(*DATASET) == alone.contents(*DATASET)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow
def test_concurrent_main_jobs_have_the_scores_of_a_single_one(
    storages: tuple[Storage, Storage], tmp_path: Path
) -> None:
    shared, alone = storages
    rounds = (shared, "default/quickstart,lab/second,default/quickstart"), (alone, "default/quickstart")
    codes, output = run(tmp_path, "data_processing,feature_statistics,modelling,reporting", *rounds)
    assert sorted(codes[0].split()) == ["0", "0", "1"], output
    assert codes[1] == "0"
    assert "Another session is working on this run of default/quickstart" in output
    metrics = [each.contents("08_reporting/*/*/*/metrics.json") for each in storages]
    experiments = sorted("/".join(name.split("/")[1:3]) for name in metrics[0])
    assert experiments == ["default/quickstart", "lab/second"]
    assert set(metrics[0].values()) == set(metrics[1].values())
