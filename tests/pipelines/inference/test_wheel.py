"""The command `xview2` of the wheel, outside of any project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from built_wheels import build_wheel
from xview2_siamese_unet.assessment import assess
from xview2_siamese_unet.config_loader import known_names

pytestmark = pytest.mark.slow
XVIEW2 = "import sys; sys.path.insert(0, {site!r}); from xview2_siamese_unet.standalone import main; main()"


@pytest.fixture(scope="module")
def site(project_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(build_wheel(project_path, folder)) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def folder(material: Path, tmp_path: Path) -> Path:
    """A pair and a model in a folder that a shell or a URL would take apart."""
    return Path(shutil.copytree(material, tmp_path / "a ä # %20b"))


def xview2(site: Path, folder: Path, *args: str, **env: str) -> CompletedProcess[str]:
    places = {"HOME": str(folder / "pre.tif"), "MPLCONFIGDIR": str(folder.parent / "fonts"), **env}  # no folder
    # Not in a copy of a process that has imported the package of the clone.
    command = [sys.executable, "-c", XVIEW2.format(site=str(site)), *args]
    around = {**os.environ, "COLUMNS": "300", **places}
    return subprocess.run(  # noqa: S603
        command, cwd=folder, env=around, capture_output=True, encoding="utf-8", timeout=120, check=False
    )


def test_an_assessment_with_settings_of_the_user_is_that_of_the_project(
    site: Path, folder: Path, project: Path
) -> None:
    settings = shutil.copytree(project / "conf" / "local", folder.parent / "config" / "xview2").parent
    command = "assess", "pre.tif", "post.tif", "--out", "ö out", "--model", "model.pth"
    done = xview2(site, folder, *command, XDG_CONFIG_HOME=str(settings))
    assert done.returncode == 0, done.stderr
    ours = assess(folder / "pre.tif", folder / "post.tif", project / "out", model=folder / "model.pth")
    names = {*ours.products} - {"run.json"}  # which names the paths
    assert {path.name for path in (folder / "ö out").iterdir() if path.name[0] != "."} == names | {"run.json"}
    assert [name for name in names if (folder / "ö out" / name).read_bytes() != ours.products[name].read_bytes()] == []
    assert {path.name for path in folder.iterdir()} == {"pre.tif", "post.tif", "model.pth", "ö out"}


def test_help_and_errors_name_the_command(site: Path, folder: Path) -> None:
    assert "xview2 assess before.tif after.tif" in xview2(site, folder, "assess", "--help").stdout
    done = xview2(site, folder, "label", "nowhere")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    refused = xview2(site, folder, "assess", "none", "post.tif", "--out", "out", "--model", "model.pth")
    assert refused.returncode == 2
    assert "xview2 label" in refused.stderr
    listed = xview2(site, folder, "model", "list")
    assert "Train one with kedro run. The command kedro works only in a clone of the project." in listed.stderr


def test_the_wheel_holds_the_configuration_that_is_in_git(site: Path, project_path: Path) -> None:
    conf = site / "xview2_siamese_unet" / "conf"
    for kind in ("users", "experiments"):
        assert {*known_names(str(conf), kind)} <= {*known_names(str(project_path / "conf"), kind)}
    assert not (conf / "local").exists()
    assert {path.name for path in (conf / "base").iterdir()} == {
        path.name for path in (project_path / "conf" / "base").iterdir()
    }
