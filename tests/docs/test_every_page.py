"""What the pages beside the newcomer's tell a reader to type works, without a network and with tiny scenes and nets."""

from __future__ import annotations

import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from docs_blocks import DOCS, PROJECT, blocks
from PIL import Image
from shapely import box
from typed import commands, fill_folder, filled_in, type_line

ON_OTHERS = {
    "docs/start.md": "test_newcomer.py",
    "docs/benchmarks.md": "minutes to hours each; tests/project/test_benchmarks.py runs each with less",
    "docs/results.md": "days; tests/project/test_results.py runs it with less",
    "docs/index.md": "the first two lines of the README",
    "docs/campaigns.md": "test_campaigns_page.py",
    "docs/new_event.md": "test_new_event.py",
    "docs/new_event_methods.md": "half an hour; tests/project/test_benchmarks.py runs it with less",
}
PAGES = ("README.md", "docs/assess.md", "docs/data.md", "docs/lineage.md", "docs/research.md", "docs/slurm.md")
GLOBALS = """
storage: /path/to/storage
dataset: {name: xbd_tiny, source: xbd, root: /path/to/xbd}
"""
SBATCH = """#!/bin/bash
# Takes a job as Slurm does: an option that is none of its own, or no script, is refused.
set -eu
[ "$1" = --nodes ] && [ "$2" -gt 0 ] && shift 2
[ "$1" != --gpus-per-node ] || { [ "$3" = --cpus-per-task ] && [ "$4" -gt 0 ] && shift 4; }
[ -f "$1" ] && echo "Submitted batch job 1"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A newcomer's folder with a user and two trainings, a cluster, masks to score, and areas to count."""
    folder = fill_folder(tmp_path)
    project = folder / "xview2"
    for name in ("docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "zensical.toml"):
        (shutil.copytree if (PROJECT / name).is_dir() else shutil.copy)(PROJECT / name, project / name)
    (folder / "sbatch").write_text(SBATCH)
    (folder / "sbatch").chmod(0o755)
    (project / "conf/users/ada").mkdir()
    (project / "conf/users/ada/globals.yml").write_text(filled_in(GLOBALS, folder))
    write_masks(folder / "path/to")
    write_places(folder / "path/to")
    for command in ("kedro run", "kedro run --env ada/strong"):
        type_line(command, project)
    shutil.copy(
        next(project.glob("data/06_models/default/quickstart/*/checkpoints/quickstart_best_siamese_unet_state.pth")),
        folder / "path/to/model.pth",
    )
    return folder


def write_masks(folder: Path) -> None:
    for end in ("prediction", "target"):
        (folder / f"{end}s").mkdir()
        for kind in ("localization", "damage"):
            mask = np.tile(np.arange(4, dtype=np.uint8), (1024, 256))
            Image.fromarray(mask).save(folder / f"{end}s" / f"test_{kind}_00000_{end}.png")


def write_places(folder: Path) -> None:
    """Write footprints, an area and districts where the images of the reader lie."""
    west, south = 500_000, 3_999_968
    outlines = {
        "buildings.gpkg": [
            box(west + 4, south + 4, west + 12, south + 12),
            box(west + 18, south + 6, west + 28, south + 16),
        ],
        "cloud-mask.gpkg": [box(west, south, west + 8, south + 8)],
        "area.geojson": [box(west, south, west + 32, south + 24)],
        "districts.geojson": [box(west, south, west + 16, south + 32), box(west + 16, south, west + 32, south + 32)],
    }
    for name, geometry in outlines.items():
        places = gpd.GeoDataFrame(
            {"name": [f"{name} {i}" for i in range(len(geometry))]}, geometry=geometry, crs="EPSG:32615"
        )
        places.to_crs("OGC:CRS84").to_file(folder / name, engine="pyogrio")


def test_every_page_with_commands_is_run_somewhere() -> None:
    typed = {
        str(page.relative_to(PROJECT))
        for page in (PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *DOCS.glob("*.md"))
        if any(block.language == "bash" for block in blocks(page))
    }
    assert typed == {*PAGES, *ON_OTHERS}


@pytest.mark.slow
def test_every_command_of_these_pages_works(folder: Path) -> None:
    typed = (block for page in PAGES for block in blocks(PROJECT / page) if block.language == "bash")
    # A page that repeats another's command shows nothing new.
    for command in dict.fromkeys(command for block in typed for command in commands(block, folder)):
        type_line(command, folder / "xview2")
