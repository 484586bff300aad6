"""The image of the Containerfile: read-only, without a network, as a user that the system does not list."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

from built_wheels import share_bytecode
from container_steps import Stage, build_image, read_steps, skip_without_mounts
from xview2_siamese_unet.assessment import assess

ASSESS = ("assess", "pre.tif", "post.tif", "--out", "out", "--model", "card.yml")
SETTINGS = "inference: {windows: {size: 96, overlap: 32}}\nhardware: {device: cpu, precision: 32-true}"


@pytest.fixture(scope="module")
def image(project_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The image without torch."""
    skip_without_mounts()
    if Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists():
        pytest.skip("needs a Python that pip may install into, like that of the base image")
    folder = tmp_path_factory.mktemp("image")
    folder.chmod(0o755)
    stage = build_image(project_path, folder, Path(sys.base_prefix), DISTRIBUTION="light", UV_COMPILE_BYTECODE="0")
    share_bytecode(next((stage.root / "opt/xview2").glob("lib/python*/site-packages")))
    return stage


@pytest.fixture
def data(material: Path, tmp_path: Path, card: Path) -> Path:
    """A folder that any user may write to, with a pair and a model."""
    folder = tmp_path / "data"
    shutil.copytree(card.parent, folder)
    for name in ("pre.tif", "post.tif"):
        shutil.copy2(material / name, folder)  # buildings.gpkg records their modification time
    folder.chmod(0o777)
    return folder


def test_only_the_files_that_are_copied_are_sent_to_the_engine(project_path: Path) -> None:
    steps = read_steps((project_path / "Containerfile").read_text())
    copied = {path for name, rest in steps if name == "COPY" and "--from" not in rest for path in rest.split()[:-1]}
    first, *lines = (project_path / ".dockerignore").read_text().splitlines()[1:]
    assert first == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert {"conf/local", "conf/**/*credentials*"} < {*lines}


@pytest.mark.slow
def test_any_user_gets_the_products_of_the_clone(
    image: Stage, material: Path, project: Path, data: Path, card: Path
) -> None:
    settings = project / "config" / "xview2"
    settings.mkdir(parents=True)
    (settings / "parameters.yml").write_text(SETTINGS)
    volumes = {data: "/data", settings: "/tmp/.config/xview2"}  # noqa: S108  inside the image
    done = image.start([*image.entrypoint, *ASSESS], user="4321:4321", volumes=volumes)
    assert done.returncode == 0, done.stderr
    ours = assess(material / "pre.tif", material / "post.tif", project / "ours", model=card)
    names = {*ours.products} - {"run.json"}  # which names the folder and the versions
    assert [name for name in names if (data / "out" / name).read_bytes() != ours.products[name].read_bytes()] == []
    assert {path.stat().st_uid for path in (data / "out").iterdir()} == {4321}


@pytest.mark.slow
@pytest.mark.parametrize("home", ["/data", "/opt"])  # the first is writable, the second is not
def test_an_assessment_leaves_nothing_but_its_folder(image: Stage, data: Path, home: str) -> None:
    before = {*data.iterdir()}
    done = image.start([*image.entrypoint, *ASSESS], user=image.user, volumes={data: "/data"}, HOME=home)
    assert done.returncode == 0, done.stderr
    assert {*data.iterdir()} - before == {data / "out"}


@pytest.mark.slow
def test_not_even_root_can_write_to_the_image(image: Stage, data: Path) -> None:
    paths = "/x", "/etc/x", "/opt/xview2/x", "/usr/x", "/usr/local/x", "/var/x"
    done = image.start(["touch", *paths], user="0:0", volumes={data: "/data"})
    assert done.stderr.count("Read-only file system") == len(paths)
