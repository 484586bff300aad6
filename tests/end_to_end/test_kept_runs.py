"""Runs after a change of code, after a kill, and with a limit on their number (`keep`)."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch
from kedro.framework.startup import bootstrap_project

from run_command import run_python
from xview2_siamese_unet.runs import ProjectSession
from xview2_siamese_unet.training.module import DamageModule

PACKAGE = Path(__file__).parents[2] / "src" / "xview2_siamese_unet"
KEDRO = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "xview2_siamese_unet"]:
    del sys.modules[name]  # what the server of forks has imported is the code of the clone
sys.path.insert(0, "src")
from kedro.framework.cli import main
sys.argv[0] = "kedro"
main()
"""
TRAINED = ["data_processing", "feature_statistics", "modelling"]


@pytest.fixture
def copied(project: Path, main_run: Path, tmp_path: Path) -> Path:
    """A copy of the project with its finished run."""
    assert main_run.is_dir()
    shutil.copytree(project, tmp_path / "copied")
    for path in (tmp_path / "copied/data/06_models/default/quickstart").iterdir():
        if path.name != first(main_run):
            shutil.rmtree(path)
    return tmp_path / "copied"


def first(storage: Path) -> str:
    return min(runs(storage))


def runs(storage: Path) -> list[str]:
    return sorted(path.name for path in (storage / "06_models/default/quickstart").iterdir())


def contents(storage: Path, run: str) -> dict[str, bytes]:
    files = (path for path in storage.glob(f"0?_*/default/quickstart/{run}/**/*") if path.is_file())
    return {str(path.relative_to(storage)): path.read_bytes() for path in files}


@pytest.mark.slow
def test_changed_code_repeats_only_the_steps_that_it_affects(copied: Path) -> None:
    package = shutil.copytree(PACKAGE, copied / "src" / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))

    def run(*pipelines: str) -> str:
        done = run_python(copied, "-c", KEDRO, "run", "--pipelines", ",".join(pipelines), timeout=240)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def edit(name: str, old: str, new: str) -> None:
        text = (package / name).read_text(encoding="utf-8")
        assert old in text
        (package / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    def all_of(log: str, what: str, done: str) -> bool:
        return f"{what}: {'17 made, 0' if done == 'made' else '0 made, 17'} reused" in log

    edit("report/page.py", "from __future__", "# another page\nfrom __future__")
    log = run("data_processing")
    assert "is finished and reused" in log
    assert log.count(": 0 made, 17 reused") == 3
    before = contents(copied / "data", first(copied / "data"))
    edit("training/losses.py", "from __future__", "# another loss\nfrom __future__")
    log = run(*TRAINED)
    assert "is new: run " in log
    assert "has other code" in log
    assert "best epoch" in log
    assert log.count(": 0 made, 17 reused") == 3
    assert len(runs(copied / "data")) == 2
    edit("raster/store.py", "from __future__", "# packed otherwise\nfrom __future__")
    log = run("data_processing")
    assert all_of(log, "scene masks", "reused")
    assert all_of(log, "packed scenes", "made")
    edit("raster/rasterize.py", "from __future__", "# burnt otherwise\nfrom __future__")
    log = run("data_processing")
    assert all_of(log, "scene masks", "made")
    assert all_of(log, "packed scenes", "made")
    assert contents(copied / "data", first(copied / "data")) == before


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_a_killed_run_resumes_in_its_own_folder_and_keep_removes_the_oldest(
    copied: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bootstrap_project(copied)
    step = DamageModule.training_step

    def until_the_second_epoch(self: DamageModule, pixels: torch.Tensor) -> torch.Tensor:
        if self.current_epoch == 1:
            raise Killed
        return step(self, pixels)

    def train() -> None:
        with ProjectSession.create(copied, runtime_params={"training": {"seed": 5}}) as session:
            session.run(pipeline_names=TRAINED)

    one, before = first(copied / "data"), contents(copied / "data", first(copied / "data"))
    with monkeypatch.context() as patch:
        patch.setattr(DamageModule, "training_step", until_the_second_epoch)
        with pytest.raises(Killed):
            train()
    [two] = {*runs(copied / "data")} - {one}
    assert contents(copied / "data", one) == before
    (copied / "conf/local/globals.yml").write_text("keep: 1")
    with caplog.at_level(logging.INFO, "xview2_siamese_unet"):
        train()
    assert f"run {two} is resumed: same settings, scenes and code" in caplog.text
    assert "training resumes after epoch 0" in caplog.text
    assert f"removed 1 old runs because keep is 1: {one}" in caplog.text
    assert runs(copied / "data") == [two]
    assert contents(copied / "data", one) == {}
