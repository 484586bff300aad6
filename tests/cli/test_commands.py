"""Every entry point of Kedro reads the environment: run, catalog, notebooks, Kedro-Viz, a packaged run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from run_command import run_python
from xview2_siamese_unet import __main__ as packaged
from xview2_siamese_unet.config_loader import overlooked_logging

WriteProject = Callable[[dict[str, str]], Path]

LAB = {
    "users/lab/globals.yml": "default_experiment: e2\nstorage: lab_data",
    "experiments/e2/globals.yml": 'experiment: "002"',
    "logging.yml": (Path(__file__).parents[2] / "conf" / "logging.yml").read_text(),
}
METRICS = "lab_data/08_reporting/lab/002/metrics.json"
NOBODY = "Unknown user 'nobody' in --env nobody"


@pytest.fixture
def project(write_project: WriteProject) -> Path:
    return write_project(LAB)


def python(folder: Path, *args: str, **env: str) -> CompletedProcess[str]:
    return run_python(folder, *args, **{"HOME": str(folder), **env})


def ended_in_one_line(done: CompletedProcess[str], sentence: str) -> bool:
    return done.returncode == 1 and sentence in done.stderr and done.stderr.count("\n") == 1


def test_an_unknown_user_ends_a_run_in_one_line(project: Path) -> None:
    done = python(project, "-m", "kedro", "run", "--env", "nobody")
    assert ended_in_one_line(done, NOBODY), done.stderr


def test_bad_parameters_end_any_command_in_one_line(project: Path) -> None:
    (project / "conf" / "local").mkdir()
    (project / "conf" / "local" / "parameters.yml").write_text("dataset: {sample: {size: 1}}")
    done = python(project, "-m", "kedro", "catalog", "describe-datasets", KEDRO_ENV="lab")
    assert ended_in_one_line(done, "dataset.sample.size"), done.stderr


def test_a_malformed_version_ends_a_run_in_one_line(project: Path) -> None:
    done = python(project, "-m", "kedro", "run", "--load-versions", "metrics")
    assert ended_in_one_line(done, "Expected the form of 'load_versions'"), done.stderr


OUTSIDE = """
import logging
from xview2_siamese_unet import assessment
try:
    assessment.look("pre.tif", "post.tif")
except Exception as error:
    logging.getLogger("xview2_siamese_unet").info("a line of a log")
    print(type(error).__name__, error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "other", ["", '[tool.kedro]\npackage_name = "a"\nproject_name = "a"\nkedro_init_version = "1"']
)
def test_an_assessment_outside_of_the_project_logs_and_raises(tmp_path: Path, other: str) -> None:
    (tmp_path / "pyproject.toml").write_text(other)
    done = python(tmp_path, "-c", OUTSIDE)
    assert "pre.tif: no such file" in done.stdout, done.stderr
    assert "a line of a log" in done.stderr


@pytest.mark.slow
def test_kedro_viz_reads_the_environment(project: Path) -> None:
    script = """
import os
from pathlib import Path
from kedro_viz.integrations.kedro.data_loader import load_data
print(load_data(Path.cwd())[0]["metrics"])
os.environ["KEDRO_ENV"] = "nobody"
load_data(Path.cwd())
"""
    done = python(project, "-c", script, KEDRO_ENV="lab/e2")
    assert METRICS in done.stdout, done.stderr
    assert "ConfigError" in done.stderr
    assert NOBODY in done.stderr


@pytest.mark.slow
def test_notebooks_load_and_reload_an_environment(project: Path) -> None:
    script = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "kedro.ipython")
print(shell.user_ns["catalog"]["metrics"])
shell.run_line_magic("reload_kedro", "--env=lab/e2 --params=dataset.name=x")
print(shell.user_ns["catalog"]["metrics"])
print(shell.user_ns["catalog"]["scenes"], shell.user_ns["catalog"]["params:dataset.name"].load())
"""
    done = python(project, "-c", script)
    assert "data/08_reporting/default/quickstart/metrics.json" in done.stdout, done.stderr
    assert METRICS in done.stdout
    assert re.search(r"lab_data/02_intermediate/x/scenes\.json.* x\n", done.stdout)


PACKAGED = """
import logging, sys, warnings
from kedro.pipeline import Node, Pipeline
from xview2_siamese_unet import pipeline_registry
from xview2_siamese_unet.__main__ import main

def score(name: str) -> dict:
    warnings.warn("a warning of Python")
    logging.getLogger("xview2_siamese_unet").warning("a warning of ours")
    return {"dataset": name, "score": 0.5, "constant_prediction_score": 0.1, "localization_f1": 0.5, "damage_f1": 0.5}

toy = Pipeline([Node(score, "params:dataset.name", "metrics", name="score")])
pipeline_registry.register_pipelines = lambda: {"__default__": toy}
main()
"""


@pytest.mark.slow
def test_a_packaged_run_reads_its_archive_and_sends_no_telemetry(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DO_NOT_TRACK")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    archive = shutil.make_archive(str(elsewhere / "conf-x"), "gztar", root_dir=project, base_dir="conf")
    options = ["--conf-source", archive, "--params", "dataset.name=y"]
    done = python(elsewhere, "-c", PACKAGED, *options, "--env", "lab/e2")
    assert done.returncode == 0, done.stderr
    assert json.loads((elsewhere / METRICS).read_text())["dataset"] == "y"
    assert "Score: 0.500 (best constant prediction 0.100)" in done.stdout
    assert not (elsewhere / ".config" / "kedro").exists()
    done = python(elsewhere, "-m", "xview2_siamese_unet", *options, "--env", "nobody")
    assert ended_in_one_line(done, NOBODY), done.stderr


@pytest.mark.slow
def test_a_command_in_the_project_sends_no_telemetry(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DO_NOT_TRACK")
    before = (project / "pyproject.toml").read_text()
    done = python(project, "-m", "kedro", "catalog", "list-patterns", "--env", "lab")
    assert done.returncode == 0, done.stderr
    assert (project / "pyproject.toml").read_text() == before
    assert not (project / ".config" / "kedro").exists()


HEAVY = """
import sys
from kedro.framework.cli import main
sys.argv[0] = "kedro"
try:
    main()
finally:
    print("heavy:", sorted({"torch", "lightning", "torchvision", "segmentation_models_pytorch"} & sys.modules.keys()))
"""


def run_in_new_python(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `HEAVY` in a Python that has imported nothing."""
    command = [sys.executable, "-c", HEAVY, *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603


@pytest.mark.slow
def test_listing_pipelines_imports_nothing_heavy(project_path: Path) -> None:
    done = run_in_new_python(project_path, "registry", "list")
    assert done.returncode == 0, done.stderr
    assert "- __default__" in done.stdout
    assert "heavy: []" in done.stdout


@pytest.mark.slow
def test_data_processing_imports_nothing_heavy(project_path: Path, tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(project_path / "conf", conf)
    (conf / "local").mkdir(exist_ok=True)
    (conf / "local" / "globals.yml").write_text(f"storage: {tmp_path}\nexecutor: {{kind: serial}}\n")
    small = ",".join(f"dataset.sample.scenes.{tier}=1" for tier in ("tier1", "tier3", "hold", "test"))
    options = ["--conf-source", str(conf), "--params", f"dataset.sample.size=64,{small}"]
    done = run_in_new_python(project_path, "run", "--pipelines", "data_processing", *options)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("03_primary/**/*.tif"))) == 8
    assert "heavy: []" in done.stdout


def test_every_command_can_be_quiet_and_verbose(project: Path) -> None:
    script = """
import logging, sys
from click.testing import CliRunner
from xview2_siamese_unet import cli
ours = logging.getLogger("xview2_siamese_unet")
for option in ("--quiet", "--verbose"):
    for path in ("score", "compare", "slurm", "doctor", "assess", "model list", "experiment new", "experiment list"):
        ours.setLevel(logging.INFO)
        CliRunner().invoke(cli.cli, [*path.split(), option, "--help"])
        print(path, option, ours.level)
"""
    done = python(project, "-c", script)
    levels = [line.rsplit(" ", 1)[1] for line in done.stdout.splitlines()]
    assert levels == ["30"] * 8 + ["10"] * 8, done.stderr


@pytest.mark.slow
def test_the_help_of_every_command_shows_an_example(project: Path) -> None:
    script = """
import click
from xview2_siamese_unet.cli import cli
def show(path, command):
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if (path, name) != ("kedro", "run"):  # Kedro's own help
                show(f"{path} {name}", command.get_command(context, name))
    else:
        text = command.get_help(click.Context(command, info_name=path))
        print(path, any(line.startswith(f"  {path} ") for line in text.splitlines()))
show("kedro", cli)
"""
    done = python(project, "-c", script)
    shown = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert len(shown) == 24
    assert set(shown.values()) == {"True"}, shown


RESULT = ["Score: 0.500 (best constant prediction 0.100), localisation F1 0.500, damage F1 0.500"]


@pytest.mark.slow
def test_results_are_on_stdout_and_logs_and_warnings_on_stderr(project: Path) -> None:
    script = PACKAGED.replace("xview2_siamese_unet.__main__", "kedro.framework.cli")
    done = python(project, "-c", script, "run", "--env", "lab/e2")
    assert done.stdout.splitlines() == RESULT
    assert all(text in done.stderr for text in ("1 of 1: score", "a warning of Python", "a warning of ours"))
    done = python(project, "-c", script, "run", "--env", "lab/e2", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == RESULT
    assert "1 of 1: score" not in done.stderr


@pytest.mark.slow
def test_check_prints_only_json_to_stdout(shipped: Path) -> None:
    for name in ("pre", "post"):
        pixels = np.random.default_rng(0).integers(1, 255, (3, 64, 64), np.uint8)
        profile = {"driver": "GTiff", "count": 3, "height": 64, "width": 64, "dtype": "uint8", "crs": "EPSG:32614"}
        with rasterio.open(
            shipped / f"{name}.tif", "w", **profile, transform=Affine(0.5, 0, 500000, 0, -0.5, 2000000)
        ) as image:
            image.write(pixels)
    done = python(shipped, "-m", "kedro", "assess", "pre.tif", "post.tif", "--check", "--verbose")
    assert json.loads(done.stdout)["grid"]["crs"] == "EPSG:32614", done.stderr


@pytest.mark.parametrize("keywords", [{}, {"standalone_mode": False}])
def test_the_packaged_main_passes_its_options_to_run(
    monkeypatch: pytest.MonkeyPatch, keywords: dict[str, bool]
) -> None:
    configured: list[str] = []
    monkeypatch.setattr(packaged, "configure_project", configured.append)
    monkeypatch.setattr(packaged, "find_run_command", lambda package: lambda *args, **kwargs: (package, args, kwargs))
    expected = {"standalone_mode": keywords.get("standalone_mode", True)}
    assert packaged.main(["--env", "x"], **keywords) == ("xview2_siamese_unet", (["--env", "x"],), expected)
    assert configured == ["xview2_siamese_unet"]


def test_the_logging_configuration_applies_in_subfolders(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert overlooked_logging(shipped) is None  # Kedro finds it
    monkeypatch.chdir(shipped / "src")
    assert overlooked_logging(shipped) == shipped / "conf" / "logging.yml"


def test_an_explicit_or_local_logging_file_is_kept(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shipped / "src")
    with monkeypatch.context() as patch:
        patch.setenv("KEDRO_LOGGING_CONFIG", "mine.yml")
        assert overlooked_logging(shipped) is None
    (shipped / "src/conf").mkdir()
    (shipped / "src/conf/logging.yml").touch()
    assert overlooked_logging(shipped) is None


def test_outside_a_project_no_logging_file_is_overlooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert overlooked_logging(None) is None
