"""Set up the folder of a reader and run the commands of the pages there, with tiny scenes and nets."""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from subprocess import CompletedProcess
from urllib.request import urlopen

import numpy as np
import rasterio
import yaml
from affine import Affine
from docs_blocks import PROJECT, Block, lines

from run_command import run_python
from shipped_project import SMALL
from xview2_siamese_unet.config.dataset import SampleParams, SampleScenes
from xview2_siamese_unet.raster.export import SYNTHETIC_TAG
from xview2_siamese_unet.raster.io import read_rgb
from xview2_siamese_unet.synthetic import plan_sample, write_scene

INSTALLS = ("git clone", "pip install", "uv sync")
"""Left out: they need a network and are done once for all tests."""
SERVERS = {
    "http.server": ("{port}", "Kedro-Viz"),
    "kedro viz run": ("--no-browser --port {port}", "Kedro-Viz"),
    "kedro jupyter lab": ("--no-browser --allow-root --port {port} --ServerApp.token=", "JupyterLab"),
    "zensical serve": ("--dev-addr 127.0.0.1:{port}", "xView2"),
}
"""Command → options that are added here, and text that its page must show."""
SUBSTITUTES = {
    "PRE POST --out DIR": "/path/to/before.tif /path/to/after.tif --out /path/to/out",
    "PREDICTIONS TARGETS": "/path/to/predictions /path/to/targets",
    "palu-tsunami": "sample-earthquake",
    "socal-fire": "sample-wildfire",
    "--folds 3": "--folds 2",
    "--nproc-per-node 4": "--nproc-per-node 2",
}
"""Placeholder on a page → its value here."""
REFUSES_TINY = {"--pipelines submission": "1024 × 1024"}
"""Command that accepts only scenes of the official size → its error for tiny ones."""
TINY = SMALL | {
    "training": {"epochs": 1, "localization_epochs": 0, "batch_size": 4, "crop": 64},
    "dataloader": {"num_workers_multiplier": 0},
    "hardware": {"device": "cpu"},
    "reporting": SMALL["reporting"] | {"intervals": {"draws": 100}},
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
KEDRO = """
import sys
from kedro.framework.cli import main
sys.argv[0] = "kedro"
main()
"""


def fill_folder(folder: Path) -> Path:
    """Write the data of the reader, a tiny copy of xBD and two images, and copy the project."""
    for scene in plan_sample(SampleParams(seed=1, size=64, scenes=SampleScenes(tier1=6, tier3=4, hold=3, test=4))):
        write_scene(folder / "path/to/xbd", scene, 64)
    for image, name in (("pre", "before"), ("post", "after")):
        write_geotiff(
            next((folder / "path/to/xbd/test/images").glob(f"*_{image}_disaster.png")), folder / f"path/to/{name}.tif"
        )
    lay_down_project(folder)
    (folder / "xview2/conf/local/parameters.yml").write_text(yaml.safe_dump(TINY))
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    return folder


def lay_down_project(folder: Path) -> None:
    """Copy the parts of the project that commands need."""
    (folder / "xview2").mkdir()
    for name in ("conf", "src", "slurm", "notebooks"):
        shutil.copytree(PROJECT / name, folder / "xview2" / name, ignore=shutil.ignore_patterns("local", "__pycache__"))
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(PROJECT / name, folder / "xview2")
    (folder / "xview2/conf/local").mkdir()


def write_geotiff(image: Path, path: Path) -> None:
    pixels = np.moveaxis(read_rgb(image), 2, 0)
    georeference = {"crs": "EPSG:32615", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)}
    _, height, width = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=3, height=height, width=width, **georeference
    ) as target:
        target.write(pixels)
        target.update_tags(**SYNTHETIC_TAG)


def filled_in(text: str, folder: Path) -> str:
    text = text.replace("<you>", "ada").replace("/path/to", f"{folder}/path/to")
    for placeholder, value in SUBSTITUTES.items():
        text = text.replace(placeholder, value.replace("/path/to", f"{folder}/path/to"))
    return re.sub(r"\buv run (--group \w+ )?", "", text)


def run(command: str, where: Path) -> subprocess.Popen[str]:
    env = {key: value for key, value in os.environ.items() if key not in ("KEDRO_ENV", "KEDRO_LOGGING_CONFIG")}
    env |= {"PATH": search_path(where), "PYTHONPATH": str(where.parent), "COLUMNS": "200"}
    return subprocess.Popen(  # noqa: S603
        ["/bin/bash", "-c", command],
        cwd=where,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def do(block: Block, folder: Path) -> None:
    """Write the file that a block shows, or run its commands."""
    project = folder / "xview2"
    if block.language == "yaml":
        assert (project / filled_in(block.title, folder)).parent.is_dir(), "the folder of the file does not exist"
        (project / filled_in(block.title, folder)).write_text(filled_in(block.text, folder))
        return
    for command in commands(block, folder) if block.language == "bash" else ():
        type_line(command, project)


def commands(block: Block, folder: Path) -> list[str]:
    """Return the commands of a block with placeholders filled in, without installations."""
    typed = [filled_in(line.replace("'<you>", "'ada"), folder) for line in lines(block)]
    return [command for command in typed if not command.startswith((*INSTALLS, "cd "))]


def type_line(command: str, project: Path, timeout: float = 240) -> str:
    """Run a command and return its output; of a server, check its page and stop it."""
    if server := next((name for name in SERVERS if name in command), None):
        options, shown = SERVERS[server]
        serve(command, options, shown.encode(), project)
        return ""
    done = (run_kedro if is_kedro(command) else run_line)(command, project, timeout)
    output = done.stdout + done.stderr
    if refusal := next((words for part, words in REFUSES_TINY.items() if part in command), None):
        assert done.returncode == 1, f"{command}\n{output}"
        assert refusal in output
        return output
    assert done.returncode == 0, f"{command}\n{output}"
    return output


def is_kedro(command: str) -> bool:
    """Return whether a line is a command of Kedro, possibly after variables, that needs no shell."""
    return re.match(r"(\w+=\S+ )*kedro ", command) is not None and not set(command) & set("|&;<>$*`")


def run_kedro(command: str, where: Path, timeout: float = 240) -> CompletedProcess[str]:
    """Run a command of Kedro to its end, in a process that has imported torch."""
    words = shlex.split(command)
    first = words.index("kedro")
    env = {"PATH": search_path(where), "PYTHONPATH": str(where.parent), "COLUMNS": "200"}
    env |= dict(word.split("=", 1) for word in words[:first])
    return run_python(where, "-c", NO_NETWORK + KEDRO, *words[first + 1 :], timeout=timeout, **env)


def run_line(command: str, where: Path, timeout: float) -> CompletedProcess[str]:
    """Run a line of a shell to its end; `stdout` includes stderr."""
    done = run(command, where)
    output, _ = done.communicate(timeout=timeout)
    return CompletedProcess(command, done.returncode, output, "")


def search_path(where: Path) -> str:
    """Return the PATH: the folder of Python, that of the reader, then the inherited ones."""
    return f"{Path(sys.executable).parent}:{where.parent}:{os.environ['PATH']}"


def serve(command: str, options: str, shown: bytes, project: Path) -> None:
    """Start a server, check that its page shows a text, and stop it."""
    port = free_port()
    server = run(f"exec env {command.removesuffix(' 4141')} {options.format(port=port)}", project)
    try:
        page = page_of(server, port)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)  # also what the command started
        output, _ = server.communicate()
    assert shown in page, f"{command}\n{output}"


def page_of(server: subprocess.Popen[str], port: int) -> bytes:
    """Return the page of a server; nothing if it ends or shows none within a minute."""
    for _ in range(600):
        if server.poll() is not None:
            break
        try:
            with urlopen(f"http://127.0.0.1:{port}/") as page:
                return page.read()
        except OSError:
            time.sleep(0.1)
    return b""


def free_port() -> int:
    """Return a free port below the ephemeral ports, which Kedro-Viz does not accept."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port among 100 from 20000 to 32000")
