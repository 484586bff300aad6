"""The plugin in QGIS, installed from its archive."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import geopandas as gpd
import numpy as np
import pandas as pd
import psutil
import pytest
from shapely import box

from image_pair import Smooth, Write, smooth, write_raster  # noqa: F401  fixtures
from onnx_nets import FIVE_CLASSES, Coarse, write_card, write_onnx
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.inference.products import damage_style
from xview2_siamese_unet.raster.cog import RasterContent, write_cog
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.io import NO_DATA

pytestmark = pytest.mark.slow
XVIEW2 = Path(sys.executable).with_name("xview2")
"""The command in the environment of the tests."""
PYTHON = "/usr/bin/python3"
"""On Debian and Ubuntu, QGIS is a module of this Python."""
ALGORITHMS = {"adapt", "assess", "check", "estimate", "label", "validate"}


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    # QGIS takes the libraries of the first Python on PATH.
    ours = {"PATH": os.defpath, "QT_QPA_PLATFORM": "offscreen", "QGIS_CUSTOM_CONFIG_PATH": str(home)}
    return {**kept, **ours, "PYTHONDONTWRITEBYTECODE": "1"}


def run_here(folder: Path, *command: str) -> CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        command, env=environment(folder / "profile"), capture_output=True, text=True, timeout=300, check=False
    )


def tables(package: Path) -> dict[str, pd.DataFrame]:
    """Return every row of the layers and styles of a GeoPackage, without the times of writing."""
    with closing(sqlite3.connect(package)) as file:
        listed = pd.read_sql("SELECT * FROM gpkg_contents ORDER BY table_name", file).drop(columns="last_change")
        geometry = pd.read_sql("SELECT * FROM gpkg_geometry_columns ORDER BY table_name", file)
        rows = {name: pd.read_sql(f'SELECT * FROM "{name}"', file) for name in listed["table_name"]}  # noqa: S608
    rows["layer_styles"] = rows["layer_styles"].drop(columns="update_time")
    return {"gpkg_contents": listed, "gpkg_geometry_columns": geometry, **rows}


@pytest.fixture
def folder(tmp_path: Path, write_raster: Write, smooth: Smooth) -> Path:  # noqa: F811
    """A pair, one footprint inside and one outside of it, a model, and a raster of all codes; skip without QGIS."""
    if run_here(tmp_path, PYTHON, "-c", "import qgis.core").returncode:
        pytest.skip(f"needs QGIS as a module of {PYTHON}: apt-get install qgis python3-qgis")
    for name, phase in (("pre.tif", 0.0), ("post.tif", 0.3)):
        write_raster(name, smooth(phase=phase))
    corners = ((500_020, 3_999_960), (500_600, 3_999_960))
    footprints = [box(x, y, x + 20, y + 20) for x, y in corners]
    houses = gpd.GeoDataFrame({"building_id": ["near", "far"]}, geometry=footprints, crs="EPSG:32615")
    houses.to_file(tmp_path / "buildings.gpkg", layer="houses", engine="pyogrio")
    write_card(tmp_path / "model.yml", {**write_onnx(Coarse(6, 5, 0), tmp_path / "net.onnx", 6), **FIVE_CLASSES})
    codes = np.array([[[*Damage, NO_DATA]]], np.uint8)
    blocks = [(slice(0, 1), slice(0, codes.size), codes)]
    grid = Grid("EPSG:32615", 500_000, 4_000_000, 0.5, codes.size, 1)
    colours = {int(code): (*code.rgb, 255) for code in Damage}
    write_cog(tmp_path / "codes.tif", RasterContent(grid, ("damage",), blocks, colours))
    (tmp_path / "codes.qml").write_text(damage_style())
    return tmp_path


def check_equal_to_the_command(folder: Path, out: Path) -> None:
    """Compare the layers of an assessment with those that `xview2 assess` writes for the same inputs."""
    written = folder / "command"
    # The plugin writes a layer in memory to a file with this name, and each building names the file as its source.
    footprints = shutil.copy(folder / "buildings.gpkg", folder / "layer.gpkg")
    images = str(folder / "pre.tif"), str(folder / "post.tif")
    given = f"--footprints={footprints}", f"--model={folder / 'model.yml'}", f"--out={written}"
    done = run_here(folder, str(XVIEW2), "assess", *given, *images)
    assert done.returncode == 0, done.stderr
    for name in ("damage.tif", "probability.tif"):
        assert (out / name).read_bytes() == (written / name).read_bytes(), name
    found, expected = tables(out / "buildings.gpkg"), tables(written / "buildings.gpkg")
    assert found.keys() == expected.keys()
    assert {"near", "far"} == {*expected["buildings"]["building_id"]}
    for name, rows in expected.items():
        pd.testing.assert_frame_equal(found[name], rows, check_exact=True, obj=name)


def test_algorithms_run_from_the_toolbox_in_a_model_and_can_be_canceled(folder: Path) -> None:
    done = run_here(folder, PYTHON, str(Path(__file__).with_name("in_qgis.py")), str(folder), str(XVIEW2))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["features"] == ["random", "package", None]
    shown = found["show"]
    out = folder / "shown"
    assert shown["outputs"] == {
        "OUT": str(out),
        "BUILDINGS": f"{out / 'buildings.gpkg'}|layername=buildings",
        "DAMAGE": str(out / "damage.tif"),
        "PROBABILITY": str(out / "probability.tif"),
        "MAP": str(out / "map.html"),
        "REPORT": str(out / "report.html"),
        "SUMMARY": str(out / "summary.csv"),
        "TEXT": "",
    }
    record = json.loads((out / "run.json").read_text())
    assert shown["warnings"][: len(record["warnings"])] == record["warnings"] != []
    assert shown["progress"] == sorted(shown["progress"])
    assert shown["progress"][-1] > 90
    assert shown["buildings"] == ["no-damage", "minor-damage", "major-damage", "destroyed", "not assessed"]
    assert shown["damage"] == ["no-damage", "minor-damage", "major-damage", "destroyed", "un-classified"]
    check_equal_to_the_command(folder, out)
    assert found["by_hand"] == [f"ff{code.colour[1:]}" if code else "00000000" for code in Damage] + ["00000000"]
    assert found["model"] == [True, ["near"]]
    assert "Canceled" in found["cancel"]["error"]
    assert found["cancel"]["seconds"] < 5
    running = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    assert [words for words in running if str(folder) in words] == []


def test_qgis_process_runs_the_installed_archive(folder: Path, project_path: Path) -> None:
    program = shutil.which("qgis_process.bin") or shutil.which("qgis_process")  # Debian's script passes a wrong option
    if program is None:
        pytest.skip("needs qgis_process: apt-get install qgis")
    if not (project_path / ".git").exists():
        pytest.skip("needs git, which writes the archive")
    archive = folder / "plugin.zip"
    built = subprocess.run([project_path / "scripts" / "build_qgis_plugin.sh", archive], check=False)  # noqa: S603
    assert built.returncode == 0
    profile = folder / "profile" / "profiles" / "default"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(profile / "python" / "plugins")
    (profile / "QGIS").mkdir()
    settings = profile / "QGIS" / "QGIS3.ini"
    settings.write_text("[PythonPlugins]\nxview2_damage=true\n")
    listed = run_here(folder, program, "list").stdout
    assert {name for name in ALGORITHMS if f"xview2:{name}\t" in listed} == ALGORITHMS
    check = "run", "xview2:check", "--", f"PRE={folder / 'pre.tif'}", f"POST={folder / 'post.tif'}"
    refused = run_here(folder, program, *check)
    assert "The command xview2 is not on PATH:" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr
    with settings.open("a") as file:
        file.write(f"[Processing]\nConfiguration\\XVIEW2_COMMAND={XVIEW2}\n")
    printed = run_here(folder, program, *check).stdout
    grid = json.loads(printed[printed.index("{\n") : printed.index("\n}\n") + 2])["grid"]
    assert (grid["width"], grid["height"], grid["crs"]) == (300, 200, "EPSG:32615")
