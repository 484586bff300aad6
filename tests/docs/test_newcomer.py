"""The newcomer's page works line by line, from an empty folder, without a network; scenes and nets are tiny here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pyogrio
import pytest
from docs_blocks import DOCS, PROJECT, blocks, first_column
from typed import do, fill_folder

PREVIEWS = ("raw_scenes", "scenes", "masks", "store", "class_histogram", "checkpoint", "damage_confusion", "report")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_folder(tmp_path_factory.mktemp("empty"))


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


@pytest.mark.slow
def test_every_line_of_the_first_day_works(folder: Path) -> None:
    for block in blocks(DOCS / "start.md"):
        do(block, folder)
    project = folder / "xview2"
    assert list(project.glob("data/08_reporting/default/quickstart/*/report.html"))
    assert list(folder.glob("path/to/storage/08_reporting/ada/second/*/report.html"))
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
    (shown,) = (block.text for block in page if "<- in effect" in block.text)
    key = shown.split()[0].split(".")[-1]
    for value, path, number in re.findall(r"^ +(\S+) +(conf/\S+):(\d+)", shown, re.MULTILINE):
        text = written.get(path) or (PROJECT / path).read_text(encoding="utf-8")
        assert text.splitlines()[int(number) - 1].split()[:2] == [f"{key}:", value], path


def test_the_page_counts_its_steps() -> None:
    text = (DOCS / "start.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d)\.", text, re.MULTILINE) == re.findall(r"^## (\d)\.", text, re.MULTILINE)
