"""A mistyped selection of `kedro run` is one sentence with names that are like it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.project import settings
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner

from xview2_siamese_unet import session as sessions
from xview2_siamese_unet.errors import ConfigError


@pytest.fixture
def project(write_project: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_project({})
    monkeypatch.chdir(folder)
    bootstrap_project(folder)
    return folder


def run(project: Path, **selection: Any) -> None:  # noqa: ANN401
    with settings.SESSION_CLASS.create(project) as session:
        session.run(**selection)


def contents(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(
    ("option", "written", "name", "near"),
    [
        ("node_names", "--nodes", "trainn", "train"),
        ("from_nodes", "--from-nodes", "trainn", "train"),
        ("to_nodes", "--to-nodes", "pack_scene", "deal_scenes, pack_scenes"),
        ("from_inputs", "--from-inputs", "spits", "splits"),
        ("to_outputs", "--to-outputs", "metricss", "metrics"),
        ("tags", "--tags", "model", "modelling"),
        ("tags", "--tags", "nope", "data_processing, feature_statistics, modelling, reporting"),
        ("namespaces", "--namespaces", "nope", "no name, for this run has none"),
    ],
)
def test_names_like_a_mistyped_one_are_listed(project: Path, option: str, written: str, name: str, near: str) -> None:
    before = contents(project)
    with pytest.raises(ConfigError) as caught:
        run(project, **{option: [name]})
    assert str(caught.value).startswith(f"{written}: found {name}; allowed: {near}; next: write {written} with names")
    assert contents(project) == before


@pytest.mark.parametrize("name", ["metrics", "nothing"])
def test_a_version_of_a_dataset_without_versions_is_refused(project: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"--load-versions names {name}, .* No dataset of the catalog is"):
        run(project, load_versions={name: "2026-01-01T00.00.00.000Z"})


@pytest.mark.parametrize(
    ("pipeline", "nodes"), [(["reporting"], "predict"), (None, "predict"), (["data_processing"], None)]
)
def test_async_is_refused_before_the_first_node_where_a_node_yields(
    project: Path, pipeline: list[str] | None, nodes: str | None
) -> None:
    before = contents(project)
    with pytest.raises(Exception, match="cannot run .*predict" if nodes else "not found in the catalog") as caught:
        run(project, pipeline_names=pipeline, runner=SequentialRunner(is_async=True))
    assert (type(caught.value) is ConfigError, contents(project)) == (nodes is not None, before)


def test_names_are_those_of_the_pipelines_that_run(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--nodes: found train; allowed: count_confusion, .*submit"):
        run(project, pipeline_names=["reporting"], node_names=["train"])


def test_options_that_leave_no_node_are_named(project: Path) -> None:
    with pytest.raises(ConfigError, match="found no node that meets --nodes train and --tags reporting;"):
        run(project, tags=["reporting"], node_names=["train"])


def test_an_error_of_a_node_stays_what_it_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("of the node")

    toy = {"__default__": Pipeline([Node(fail, None, "x", name="fail")])}
    monkeypatch.setattr("xview2_siamese_unet.pipeline_registry.register_pipelines", lambda: toy)
    bootstrap_project(project)
    for selection in ({}, {"node_names": ["fail"]}):
        with pytest.raises(ValueError, match="of the node"):
            run(project, **selection)


def test_namespaces_hold_those_below_them(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = {"__default__": Pipeline([Node(lambda: 1, None, "x", name="one", namespace="a.b")])}
    monkeypatch.setattr(sessions, "pipelines", toy)
    assert [sessions._mistake({"namespaces": [name]}) for name in ("a", "a.b")] == [None, None]
    found = sessions._mistake({"namespaces": ["a.c"]})
    assert found is not None
    assert found.allowed == "a.b"


def test_the_command_ends_with_1_and_writes_nothing(project: Path) -> None:
    before = contents(project)
    command = [sys.executable, "-m", "kedro", "run", "--from-nodes", "trainn", "--quiet"]
    wide = os.environ | {"COLUMNS": "300"}
    done = subprocess.run(command, cwd=project, env=wide, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 1
    assert done.stderr.startswith("--from-nodes: found trainn; allowed: train;"), done.stderr
    assert done.stderr.count("\n") == 1
    assert contents(project) == before
