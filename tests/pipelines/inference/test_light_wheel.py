"""The distribution without torch gives the products of the clone, in an environment with nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import geopandas as gpd
import pandas as pd
import pytest

from built_wheels import install_wheel
from xview2_siamese_unet.assessment import Assessment, adapt, assess

pytestmark = pytest.mark.slow
TRAINING = ("torch", "lightning", "torchvision", "timm", "segmentation_models_pytorch", "tensorboard")
LARGEST = 900e6  # bytes
SETTINGS = "inference: {windows: {size: 96, overlap: 32}}\nhardware: {device: cpu, precision: 32-true}"
ASSESS = """
import sys
from xview2_siamese_unet.assessment import assess
assess(*sys.argv[1:4], model=sys.argv[4], registration="off")
print("training:", *sorted({*sys.argv[5:]} & {*sys.modules}))
"""


@pytest.fixture(scope="module")
def python(project_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and the package versions of this environment."""
    return install_wheel(project_path / "light", tmp_path_factory.mktemp("light"))


def xview2(python: Path, folder: Path, *args: str | Path) -> CompletedProcess[str]:
    """Run a command in an empty folder, with small windows as a setting of the user."""
    config, empty = folder / ".config" / "xview2", folder / "empty"
    for path in (config, empty):
        path.mkdir(parents=True, exist_ok=True)
    (config / "parameters.yml").write_text(SETTINGS)
    around = {"XDG_CONFIG_HOME": str(config.parent), "HOME": str(empty), "DO_NOT_TRACK": "1", "COLUMNS": "300"}
    command = [python.with_name("xview2"), *args]
    return subprocess.run(command, cwd=empty, env=around, capture_output=True, text=True, check=False)  # noqa: S603


def differing(folder: Path, ours: Assessment) -> list[str]:
    """Return the products whose bytes differ, except run.json, which names the folder and the versions."""
    names = {*ours.products} - {"run.json"}
    assert names | {"run.json"} == {path.name for path in folder.iterdir() if path.name[0] != "."}
    return [name for name in sorted(names) if (folder / name).read_bytes() != ours.products[name].read_bytes()]


def test_products_equal_those_of_the_clone(python: Path, material: Path, project: Path, card: Path) -> None:
    pair = [material / "pre.tif", material / "post.tif"]
    done = xview2(python, project, "assess", *pair, "--out", project / "out", "--model", card)
    assert done.returncode == 0, done.stderr
    assert differing(project / "out", assess(*pair, project / "ours", model=card)) == []
    assert "torch" not in json.loads((project / "out" / "run.json").read_text())["versions"]
    assert [*(project / "empty").iterdir()] == []  # ONNX Runtime writes no telemetry id


def test_products_without_a_model_and_adapted_ones_equal_those_of_the_clone(
    python: Path, town: Path, project: Path
) -> None:
    houses, labels = town / "houses.gpkg", town / "labels.csv"
    pair, out = [town / "pre.tif", town / "post.tif"], project / "out"
    inputs = *pair, "--footprints", houses, "--model", "none"
    assert xview2(python, project, "assess", *inputs, "--out", out).returncode == 0
    assert differing(out, assess(*pair, project / "ours", model="none", footprints=houses)) == []
    refused = xview2(python, project, "label", out)
    assert refused.returncode == 1
    assert "Use --features random" in refused.stderr
    random = "--features", "random"
    done = [xview2(python, project, *words, *random) for words in (["label", out], ["adapt", out, "--labels", labels])]
    assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
    assert (out / "label.html").is_file()
    ours = adapt(project / "ours", labels, features=["random"])
    assert differing(out / "adapted", ours) == []
    truth = pd.read_csv(town / "truth.csv")["label"]
    classes = gpd.read_file(ours.products["buildings.gpkg"], layer="buildings")["damage_label"]
    assert (classes[: len(truth)] == truth).mean() > 0.9


def test_the_error_for_a_checkpoint_names_the_package_to_install(python: Path, material: Path, project: Path) -> None:
    inputs = material / "pre.tif", material / "post.tif", "--model", material / "model.pth"
    done = xview2(python, project, "assess", *inputs, "--out", project / "out")
    assert done.returncode == 2
    assert "The package torch is not installed. It is needed for checkpoints" in done.stderr
    assert "pip install xview2_siamese_unet" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "out").exists()
    missing = xview2(python, project, "assess", *inputs[:3], "missing.pth", "--out", project / "out")
    assert "missing.pth is not a file" in missing.stderr


def test_doctor_lists_missing_packages_with_their_purpose(python: Path, tmp_path: Path) -> None:
    done = xview2(python, tmp_path, "doctor")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "for checkpoints, training and" in line)
    assert all(package in line for package in ("torch", "lightning", "timm", "pip install xview2_siamese_unet"))


def test_the_environment_is_small_and_has_nothing_for_training(python: Path) -> None:
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    assert {path.name for path in site.iterdir()} & {*TRAINING, "kedro_viz"} == set()
    assert sum(path.lstat().st_size for path in site.rglob("*") if path.suffix != ".pyc") < LARGEST


def test_the_clone_assesses_with_a_card_without_importing_torch(material: Path, project: Path, card: Path) -> None:
    args = [material / "pre.tif", material / "post.tif", project / "out", card, *TRAINING]
    command = [sys.executable, "-c", ASSESS, *args]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "training:"
