"""The command `xview2` of the installed wheel, outside of any project."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from built_wheels import install_wheel
from xview2_siamese_unet.assessment import assess
from xview2_siamese_unet.config_loader import known_names

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(project_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    if shutil.disk_usage(folder).free < 8e9:
        pytest.skip("needs 8 GB of disk: uv copies the packages if its cache is on another file system")
    return install_wheel(project_path, folder)


@pytest.fixture
def folder(material: Path, tmp_path: Path) -> Path:
    """A pair and a model in a folder whose name a shell or a URL would split."""
    return Path(shutil.copytree(material, tmp_path / "a ä # %20b"))


def xview2(python: Path, folder: Path, *args: str, **env: str) -> CompletedProcess[str]:
    # Kedro sets PYTHONPATH in the process of the tests; with it, the code of the clone would run.
    around = {name: value for name, value in os.environ.items() if name not in ("MPLCONFIGDIR", "PYTHONPATH")}
    home = str(folder / "pre.tif" / "home")  # nobody can write there, not even root
    return subprocess.run(  # noqa: S603
        [python.with_name("xview2"), *args],
        cwd=folder,
        env={**around, "HOME": home, "COLUMNS": "300", **env},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_an_assessment_with_user_settings_equals_one_in_the_project(python: Path, folder: Path, project: Path) -> None:
    settings = shutil.copytree(project / "conf" / "local", folder.parent / "config" / "xview2").parent
    command = "assess", "pre.tif", "post.tif", "--out", "ö out", "--model", "model.pth"
    done = xview2(python, folder, *command, XDG_CONFIG_HOME=str(settings))
    assert done.returncode == 0, done.stderr
    ours = assess(folder / "pre.tif", folder / "post.tif", project / "out", model=folder / "model.pth")
    names = {*ours.products} - {"run.json"}  # which names the paths
    assert {path.name for path in (folder / "ö out").iterdir() if path.name[0] != "."} == names | {"run.json"}
    assert [name for name in names if (folder / "ö out" / name).read_bytes() != ours.products[name].read_bytes()] == []
    assert {path.name for path in folder.iterdir()} == {"pre.tif", "post.tif", "model.pth", "ö out"}


def test_help_and_errors_name_the_command(python: Path, folder: Path) -> None:
    assert "xview2 assess before.tif after.tif" in xview2(python, folder, "assess", "--help").stdout
    done = xview2(python, folder, "label", "nowhere")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    refused = xview2(python, folder, "assess", "none", "post.tif", "--out", "out", "--model", "model.pth")
    assert refused.returncode == 2
    assert "xview2 label" in refused.stderr
    listed = xview2(python, folder, "model", "list")
    assert "Train one with kedro run. The command kedro works only in a clone of the project." in listed.stderr


def test_the_wheel_contains_the_configuration_and_cards_of_the_repository(python: Path, project_path: Path) -> None:
    package = next(python.parents[1].glob("lib/python*/site-packages")) / "xview2_siamese_unet"
    conf = package / "conf"
    for kind in ("users", "experiments"):
        assert {*known_names(str(conf), kind)} <= {*known_names(str(project_path / "conf"), kind)}
    assert not (conf / "local").exists()
    assert {path.name for path in (conf / "base").iterdir()} == {
        path.name for path in (project_path / "conf" / "base").iterdir()
    }
    cards, shipped = (
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (project_path / "docs" / "cards", package / "cards")
    )
    assert shipped == cards
