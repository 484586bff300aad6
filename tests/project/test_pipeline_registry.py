"""Registered pipelines and the catalog entries of their datasets."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline

from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.pipeline_registry import MAIN_JOB, register_pipelines
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS


@pytest.fixture(scope="module")
def catalog() -> dict[str, Any]:
    return UserExperimentConfigLoader(Path(__file__).parents[2] / "conf", **CONFIG_LOADER_ARGS)["catalog"]


def test_a_plain_run_is_the_main_job(registered: dict[str, Pipeline]) -> None:
    main_job = {node.name for name in MAIN_JOB for node in registered[name].nodes}
    assert {node.name for node in registered["__default__"].nodes} == main_job


@pytest.mark.parametrize("name", ["data_processing", "reporting"])
@pytest.mark.usefixtures("registered")
def test_only_requested_pipelines_are_loaded(name: str) -> None:
    pipelines.set_requested([name])
    try:
        assert list(register_pipelines()) == [name]
    finally:
        pipelines.set_requested(None)


@pytest.mark.usefixtures("registered")
def test_a_pipeline_that_cannot_be_imported_raises_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xview2_siamese_unet.pipelines.modelling", None)
    with pytest.raises(ImportError, match="modelling"):
        register_pipelines()


def test_every_dataset_of_every_pipeline_is_in_the_catalog(
    registered: dict[str, Pipeline], catalog: dict[str, Any]
) -> None:
    used = {name.partition("@")[0] for pipeline in registered.values() for name in pipeline.datasets()}
    absent = {name for name in used - catalog.keys() if name != "parameters" and not name.startswith("params:")}
    assert absent == set()


def test_every_entry_of_the_catalog_is_used(registered: dict[str, Pipeline], catalog: dict[str, Any]) -> None:
    used = {name.partition("@")[0] for pipeline in registered.values() for name in pipeline.datasets()}
    assert {name for name in catalog if "{" not in name} - used == set()


def test_no_two_catalog_entries_share_a_file(catalog: dict[str, Any]) -> None:
    names = defaultdict(set)
    for name, entry in catalog.items():
        if path := entry.get("filepath") or entry.get("path"):
            names[str(path)].add(name)
    assert {path: found for path, found in names.items() if len(found) > 1} == {}


def test_datasets_in_memory_are_not_copied(catalog: dict[str, Any]) -> None:
    memory = {name: entry for name, entry in catalog.items() if entry["type"].endswith("MemoryDataset")}
    assert [name for name, entry in memory.items() if entry.get("copy_mode") != "assign"] == []
