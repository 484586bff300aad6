"""The commands of the pages work from an empty folder, without a network, with tiny scenes and nets."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
from docs_blocks import DOCS, PROJECT, blocks, first_column
from PIL import Image
from shapely import box
from typed import commands, do, fill_folder, run_kedro, type_line

from xview2_siamese_unet.metrics.confusion import total
from xview2_siamese_unet.metrics.scores import official_score

TESTED_ELSEWHERE = {
    "docs/benchmarks.md": "minutes to hours each; tests/project/test_benchmarks.py runs each with less",
    "docs/results.md": "days; tests/project/test_results.py runs it with less",
    "docs/index.md": "the first two lines of the README",
    "docs/campaigns.md": "test_campaigns_page.py",
    "docs/new_event.md": "test_new_event.py",
    "docs/new_event_methods.md": "half an hour; tests/project/test_benchmarks.py runs it with less",
}
FIRST_DAY = DOCS / "start.md"
PAGES = ("README.md", "docs/assess.md", "docs/data.md", "docs/lineage.md", "docs/research.md", "docs/slurm.md")
EVENTS = {"sample-wildfire", "sample-earthquake"}
"""The events that the reader leaves out of a training."""
PREVIEWS = ("raw_scenes", "scenes", "masks", "store", "class_histogram", "checkpoint", "damage_confusion", "report")
SBATCH = """#!/bin/bash
# Accepts a job as Slurm does: an unknown option or a missing script is refused.
set -eu
[ "$1" = --nodes ] && [ "$2" -gt 0 ] && shift 2
[ "$1" != --gpus-per-node ] || { [ "$3" = --cpus-per-task ] && [ "$4" -gt 0 ] && shift 4; }
[ -f "$1" ] && echo "Submitted batch job 1"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a new user after the commands of the first page."""
    folder = fill_folder(tmp_path_factory.mktemp("empty"))
    for block in blocks(FIRST_DAY):
        do(block, folder)
    return folder


@pytest.fixture(scope="module")
def project(folder: Path) -> Path:
    """The project of that user after the commands of the other pages."""
    project = folder / "xview2"
    for name in ("docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "zensical.toml"):
        (shutil.copytree if (PROJECT / name).is_dir() else shutil.copy)(PROJECT / name, project / name)
    (folder / "sbatch").write_text(SBATCH)
    (folder / "sbatch").chmod(0o755)
    write_masks(folder / "path/to")
    write_areas(folder / "path/to")
    type_line("kedro run --env ada/strong", project)
    shutil.copy(
        next(project.glob("data/06_models/default/quickstart/*/checkpoints/quickstart_best_siamese_unet_state.pth")),
        folder / "path/to/model.pth",
    )
    shutil.copy(report_of_first_run(folder, "strong", "metrics.json"), folder / "mixed.json")
    done = {*typed_on(folder, FIRST_DAY)}
    for command in typed_on(folder, *(PROJECT / page for page in PAGES)):
        if command not in done:  # a repeated command is run once
            done.add(command)
            with (folder / "output.txt").open("a", encoding="utf-8") as output:
                output.write(type_line(command, project))
    return project


def report_of_first_run(folder: Path, experiment: str, name: str) -> Path:
    """Return a file of the report of an experiment's first run."""
    return min(folder.glob(f"path/to/storage/08_reporting/ada/{experiment}/*/{name}"))


def write_masks(folder: Path) -> None:
    for end in ("prediction", "target"):
        (folder / f"{end}s").mkdir()
        for kind in ("localization", "damage"):
            mask = np.tile(np.arange(4, dtype=np.uint8), (1024, 256))
            Image.fromarray(mask).save(folder / f"{end}s" / f"test_{kind}_00000_{end}.png")


def write_areas(folder: Path) -> None:
    """Write footprints, a cloud mask, an area and districts that overlap the images."""
    west, south = 500_000, 3_999_968
    layers = {
        "buildings.gpkg": [
            box(west + 4, south + 4, west + 12, south + 12),
            box(west + 18, south + 6, west + 28, south + 16),
        ],
        "cloud-mask.gpkg": [box(west, south, west + 8, south + 8)],
        "area.geojson": [box(west, south, west + 32, south + 24)],
        "districts.geojson": [box(west, south, west + 16, south + 32), box(west + 16, south, west + 32, south + 32)],
    }
    for name, geometry in layers.items():
        frame = gpd.GeoDataFrame(
            {"name": [f"{name} {i}" for i in range(len(geometry))]}, geometry=geometry, crs="EPSG:32615"
        )
        frame.to_crs("OGC:CRS84").to_file(folder / name, engine="pyogrio")


def assert_products_are_described(folder: Path) -> None:
    """Check that the page on products names every file, layer, column and key of an assessment."""
    page = DOCS / "products.md"
    text = page.read_text(encoding="utf-8")
    assert [path.name for path in folder.iterdir() if f"`{path.name}`" not in text] == []
    layers = pyogrio.list_layers(folder / "buildings.gpkg")[:, 0]
    assert [name for name in layers if f"`{name}`" not in text] == []
    columns = pyogrio.read_info(folder / "buildings.gpkg", layer="buildings")["fields"]
    assert sorted(first_column(page, "### Layer `buildings`")) == sorted(columns)
    summary = pd.read_csv(folder / "summary.csv")
    assert first_column(page, "## `summary.csv` and `summary.json`") == summary.columns.tolist()
    assert sorted(first_column(page, "## `run.json`")) == sorted(json.loads((folder / "run.json").read_text()))


def test_every_page_with_commands_is_tested() -> None:
    typed = {
        str(page.relative_to(PROJECT))
        for page in (PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *DOCS.glob("*.md"))
        if any(block.language == "bash" for block in blocks(page))
    }
    assert typed == {"docs/start.md", *PAGES, *TESTED_ELSEWHERE}


@pytest.mark.slow
def test_every_line_of_the_first_day_works(folder: Path) -> None:
    project = folder / "xview2"
    assert list(project.glob("data/08_reporting/default/quickstart/*/report.html"))
    assert list(folder.glob("path/to/storage/08_reporting/ada/second/*/report.html"))
    assert (project / "data/assessment/run.json").is_file()
    assert (project / "data/comparison.html").is_file()
    assert_products_are_described(project / "data/assessment")
    nodes = json.loads((project / "build/api/main").read_text())["nodes"]
    ids = {node["name"]: node["id"] for node in nodes}
    shown = [name for name in PREVIEWS if json.loads((project / f"build/api/nodes/{ids[name]}").read_text())["preview"]]
    assert shown == list(PREVIEWS)


@pytest.mark.slow
def test_every_command_of_the_other_pages_works(project: Path) -> None:
    assert json.loads((project / "data/score.json").read_text())["localization_f1"] == 1  # a file against itself
    assert (project / "data/comparison.html").is_file()
    assert (project / "build/index.html").is_file()


@pytest.mark.slow
def test_events_that_are_left_out_are_not_trained_on(folder: Path, project: Path) -> None:
    held = "strong_without_sample-wildfire_sample-earthquake"
    counts = {
        name: pd.read_parquet(report_of_first_run(folder, name, "scene_counts.parquet")) for name in ("strong", held)
    }
    assert {*counts[held]["disaster"]} == EVENTS
    scenes = pd.read_parquet(folder / "path/to/storage/02_intermediate/xbd_200/scenes.parquet")
    splits = pd.read_csv(min(folder.glob(f"path/to/storage/05_model_input/ada/{held}/*/splits.csv")))
    trained = splits[splits["split"] != "test"].merge(scenes, on="scene")
    assert len(trained) > 0
    assert not EVENTS & {*trained["disaster"]}
    page = report_of_first_run(folder, held, "leave_events_out.html").read_text(encoding="utf-8")
    output = (folder / "output.txt").read_text(encoding="utf-8")
    assert "is trained without" in page
    for event in EVENTS:
        shared = {*counts["strong"].query("disaster == @event")["scene"]} & {*counts[held]["scene"]}
        sentence = f"Score on {len(shared)} scenes of {event}: "
        assert sentence in page
        assert sentence in output
    assert json.loads(report_of_first_run(folder, held, "metrics.json").read_text())["n_scenes"] == len(counts[held])
    assert report_of_first_run(folder, "strong", "metrics.json").read_bytes() == (folder / "mixed.json").read_bytes()


@pytest.mark.slow
def test_cross_validation_scores_every_scene_once(folder: Path, project: Path) -> None:
    folds = [report_of_first_run(folder, f"laptop_fold_{n}_of_2", "scene_counts.parquet") for n in (1, 2)]
    counts = pd.concat(map(pd.read_parquet, folds))
    scenes = pd.read_parquet(folder / "path/to/storage/02_intermediate/xbd_200/scenes.parquet")["scene"]
    assert sorted(counts["scene"]) == sorted(scenes)
    numbers = json.loads((project / "data/scores.json").read_text())
    assert numbers["score"] == pytest.approx(official_score(total(counts))["score"])
    assert numbers["n_scenes"] == len(scenes)
    (last,) = (line for line in (folder / "output.txt").read_text("utf-8").splitlines() if "all scenes" in line)
    assert f" {numbers['score']:.3f} " in last
    again = run_kedro("kedro cross-validate --env ada/laptop --by scene --folds 2 --json", project)
    assert json.loads(again.stdout) == numbers


def typed_on(folder: Path, *pages: Path) -> list[str]:
    return [command for block in blocks(*pages) if block.language == "bash" for command in commands(block, folder)]


def test_the_explanation_on_the_page_names_the_right_lines() -> None:
    """The output of `doctor --explain` on the page is checked without a run."""
    page = list(blocks(FIRST_DAY))
    written = {block.title: block.text for block in page if block.title}
    (shown,) = (block.text for block in page if "<- in effect" in block.text)
    key = shown.split()[0].split(".")[-1]
    for value, path, number in re.findall(r"^ +(\S+) +(conf/\S+):(\d+)", shown, re.MULTILINE):
        text = written.get(path) or (PROJECT / path).read_text(encoding="utf-8")
        assert text.splitlines()[int(number) - 1].split()[:2] == [f"{key}:", value], path


def test_the_page_counts_its_steps() -> None:
    text = FIRST_DAY.read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d)\.", text, re.MULTILINE) == re.findall(r"^## (\d)\.", text, re.MULTILINE)
