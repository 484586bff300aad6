"""The newcomer's page works line by line, from an empty folder, without a network; scenes and nets are tiny here."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import yaml
from affine import Affine
from docs_blocks import DOCS, PROJECT, Block, blocks, first_column, lines

from xview2_siamese_unet.params.dataset import SampleParams, SampleScenes
from xview2_siamese_unet.raster.io import read_rgb
from xview2_siamese_unet.xbd.sample import plan_sample, write_scene

INSTALLS = ("git clone", "pip install", "uv sync")
"""Done once for all tests, and not without a network."""
TINY = {
    "dataset": {"sample": {"size": 64, "scenes": {"tier1": 6, "tier3": 4, "hold": 3, "test": 4}}},
    "model": {"encoder": {"name": "resnet18"}, "decoder_channels": [16, 8, 8, 8, 8]},
    "training": {"epochs": 1, "batch_size": 4, "crop": 64},
    "dataloader": {"num_workers_multiplier": 0},
    "hardware": {"device": "cpu"},
    "reporting": {"panels": {"best": 1, "median": 1, "worst": 1, "side": 64}, "intervals": {"draws": 100}},
    "inference": {"windows": {"size": 64, "overlap": 16}},
}
NO_NETWORK = """
import socket
connect = socket.socket.connect

def local_only(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"{address}: there is no network in this test")
    return connect(self, address)

socket.socket.connect = local_only
"""
PREVIEWS = ("raw_scenes", "scenes", "masks", "store", "class_histogram", "checkpoint", "damage_confusion", "report")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, but for what the reader brings: a copy of xBD and two images; and what `git clone` leaves."""
    folder = tmp_path_factory.mktemp("empty")
    for scene in plan_sample(SampleParams(seed=1, size=64, scenes=SampleScenes(tier1=6, tier3=4, hold=3, test=4))):
        write_scene(folder / "path/to/xbd", scene, 64)
    for image, name in (("pre", "before"), ("post", "after")):
        write_geotiff(
            next((folder / "path/to/xbd/test/images").glob(f"*_{image}_disaster.png")), folder / f"path/to/{name}.tif"
        )
    (folder / "xview2").mkdir()
    for name in ("conf", "src", "slurm", "notebooks"):
        shutil.copytree(PROJECT / name, folder / "xview2" / name, ignore=shutil.ignore_patterns("local", "__pycache__"))
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(PROJECT / name, folder / "xview2")
    (folder / "xview2/conf/local").mkdir()
    (folder / "xview2/conf/local/parameters.yml").write_text(yaml.safe_dump(TINY))
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    return folder


def write_geotiff(image: Path, path: Path) -> None:
    pixels = np.moveaxis(read_rgb(image), 2, 0)
    place = {"crs": "EPSG:32615", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)}
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", count=3, height=64, width=64, **place) as target:
        target.write(pixels)


def filled_in(text: str, folder: Path) -> str:
    return text.replace("<you>", "ada").replace("/path/to", f"{folder}/path/to").replace("uv run ", "")


def run(command: str, where: Path) -> subprocess.Popen[str]:
    env = {key: value for key, value in os.environ.items() if key not in ("KEDRO_ENV", "KEDRO_LOGGING_CONFIG")}
    env |= {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "PYTHONPATH": str(where.parent), "COLUMNS": "200"}
    return subprocess.Popen(  # noqa: S603
        ["/bin/bash", "-c", command], cwd=where, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def do(block: Block, folder: Path) -> None:
    project = folder / "xview2"
    if block.language == "yaml":
        assert (project / filled_in(block.title, folder)).parent.is_dir(), "a file in a folder that nobody made"
        (project / filled_in(block.title, folder)).write_text(filled_in(block.text, folder))
        return
    for line in lines(block) if block.language == "bash" else ():
        command = filled_in(line.replace("'<you>", "'ada"), folder)
        if command.startswith((*INSTALLS, "cd ")):
            continue
        if "http.server" in command:
            assert served(command, project)
            continue
        done = run(command, project)
        said, _ = done.communicate(timeout=240)
        assert done.returncode == 0, f"{command}\n{said}"


def served(command: str, project: Path) -> bool:
    """Return whether the folder that a server is started on shows the page of Kedro-Viz."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = run("exec " + command.replace("4141", str(port)), project)
    try:
        for _ in range(100):
            try:
                with urlopen(f"http://127.0.0.1:{port}/") as page:
                    return b"Kedro-Viz" in page.read()
            except OSError:
                time.sleep(0.1)
        return False
    finally:
        server.terminate()
        server.communicate()


def assert_dictionary_holds(folder: Path) -> None:
    """See that the page of the products names every file, layer, column and key of an assessment."""
    page = DOCS / "products.md"
    text = page.read_text(encoding="utf-8")
    assert [path.name for path in folder.iterdir() if f"`{path.name}`" not in text] == []
    layers = pyogrio.list_layers(folder / "buildings.gpkg")[:, 0]
    assert [name for name in layers if f"`{name}`" not in text] == []
    columns = pyogrio.read_info(folder / "buildings.gpkg", layer="buildings")["fields"]
    assert sorted(first_column(page, "### Layer `buildings`")) == sorted(columns)
    assert (
        first_column(page, "## `summary.csv` and `summary.json`")
        == pd.read_csv(folder / "summary.csv").columns.tolist()
    )
    assert sorted(first_column(page, "## `run.json`")) == sorted(json.loads((folder / "run.json").read_text()))


@pytest.mark.soak
def test_every_line_of_the_first_day_works(folder: Path) -> None:
    for block in blocks(DOCS / "start.md"):
        do(block, folder)
    project = folder / "xview2"
    assert (project / "data/08_reporting/default/quickstart/report.html").is_file()
    assert (folder / "path/to/storage/08_reporting/ada/second/report.html").is_file()
    assert (project / "data/assessment/run.json").is_file()
    assert (project / "data/comparison.html").is_file()
    assert_dictionary_holds(project / "data/assessment")
    nodes = json.loads((project / "build/api/main").read_text())["nodes"]
    ids = {node["name"]: node["id"] for node in nodes}
    shown = [name for name in PREVIEWS if json.loads((project / f"build/api/nodes/{ids[name]}").read_text())["preview"]]
    assert shown == list(PREVIEWS)


def test_a_shown_explanation_names_lines_that_say_so() -> None:
    """What `doctor --explain` prints on the page, without a run."""
    page = list(blocks(DOCS / "start.md"))
    written = {block.title: block.text for block in page if block.title}
    (shown,) = (block.text for block in page if "<- holds" in block.text)
    key = shown.split()[0].split(".")[-1]
    for value, path, number in re.findall(r"^ +(\S+) +(conf/\S+):(\d+)", shown, re.MULTILINE):
        text = written.get(path) or (PROJECT / path).read_text(encoding="utf-8")
        assert text.splitlines()[int(number) - 1].split()[:2] == [f"{key}:", value], path


def test_the_page_counts_its_steps() -> None:
    text = (DOCS / "start.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d)\.", text, re.MULTILINE) == re.findall(r"^## (\d)\.", text, re.MULTILINE)
