"""Which pipelines there are, and what a plain run runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kedro.framework import project
from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet import pipeline_registry
from xview2_siamese_unet.environments import UserExperimentConfigLoader
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS


def one(name: str) -> Pipeline:
    return Pipeline([Node(lambda: name, None, name, name=name)])


@pytest.mark.parametrize(
    ("found", "main_job"),
    [
        (["reporting", "inference", "data_processing"], {"reporting", "data_processing"}),
        (["inference"], set()),
        ([], set()),
    ],
)
def test_a_plain_run_is_the_main_job_as_far_as_it_exists(
    monkeypatch: pytest.MonkeyPatch, found: list[str], main_job: set[str]
) -> None:
    monkeypatch.setattr(pipeline_registry, "find_pipelines", lambda **_: {name: one(name) for name in found})
    registered = pipeline_registry.register_pipelines()
    assert registered.keys() == {*found, "__default__"}
    assert registered["__default__"].all_outputs() == main_job


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> project._ProjectPipelines:
    """What Kedro's `--pipelines` sets."""
    asked = project._ProjectPipelines()
    monkeypatch.setattr(project, "PACKAGE_NAME", "xview2_siamese_unet")
    monkeypatch.setattr(project, "pipelines", asked)
    return asked


def test_an_unknown_pipeline_is_told_which_exist(asked_for: project._ProjectPipelines) -> None:
    asked_for.set_requested(["modeling"])
    with pytest.raises(ConfigError, match=r"found modeling; allowed: .*\bmodelling\b"):
        pipeline_registry.register_pipelines()


def test_a_defect_in_a_pipeline_that_exists_keeps_its_own_error(
    asked_for: project._ProjectPipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for.set_requested(["modelling"])
    monkeypatch.setitem(sys.modules, "xview2_siamese_unet.pipelines.modelling", None)
    with pytest.raises(ImportError, match="modelling"):
        pipeline_registry.register_pipelines()


@pytest.mark.usefixtures("asked_for")
def test_every_dataset_between_pipelines_is_in_the_catalog() -> None:
    """What one pipeline leaves for another, or for a reader, must outlive the process."""
    registered = pipeline_registry.register_pipelines()
    catalog = UserExperimentConfigLoader(Path(__file__).parents[2] / "conf", **CONFIG_LOADER_ARGS)["catalog"]
    for name, pipeline in registered.items():
        ends = {end for end in pipeline.inputs() | pipeline.outputs() if not end.startswith(("params:", "parameters"))}
        assert ends <= catalog.keys(), name
