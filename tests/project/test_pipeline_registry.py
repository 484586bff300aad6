"""Which pipelines there are, and what a plain run runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.environments import UserExperimentConfigLoader
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.pipeline_registry import MAIN_JOB, DeferredPipeline, register_pipelines
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS


def test_a_plain_run_is_the_main_job() -> None:
    registered = register_pipelines()
    main_job = {node.name for name in MAIN_JOB for node in registered[name].nodes}
    assert {node.name for node in registered["__default__"].nodes} == main_job


def test_names_are_known_before_any_pipeline_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "xview2_siamese_unet.pipelines.modelling"
    monkeypatch.setitem(sys.modules, module, None)  # as a module that cannot be imported
    registered = register_pipelines()
    assert {*MAIN_JOB, "__default__"} <= set(registered)
    with pytest.raises(ImportError, match="modelling"):
        registered["modelling"].nodes  # noqa: B018


def test_a_deferred_pipeline_serves_as_any_other() -> None:
    made = Pipeline([Node(lambda: "text", None, "text", name="write")])
    deferred = DeferredPipeline(lambda: made)
    assert isinstance(deferred, Pipeline)
    assert deferred.outputs() == {"text"}
    assert (deferred + Pipeline([])).nodes == made.nodes
    with pytest.raises(AttributeError, match="colour"):
        deferred.colour  # noqa: B018


def test_an_unknown_pipeline_is_told_which_exist() -> None:
    registered = register_pipelines()
    with pytest.raises(ConfigError, match=r"found modeling; allowed: .*\bmodelling\b"):
        registered["modeling"]
    with pytest.raises(KeyError):
        registered["modeling"]


def test_every_dataset_between_pipelines_is_in_the_catalog() -> None:
    """What one pipeline leaves for another, or for a reader, must outlive the process."""
    registered = register_pipelines()
    catalog = UserExperimentConfigLoader(Path(__file__).parents[2] / "conf", **CONFIG_LOADER_ARGS)["catalog"]
    for name, pipeline in registered.items():
        ends = {end for end in pipeline.inputs() | pipeline.outputs() if not end.startswith(("params:", "parameters"))}
        assert ends <= catalog.keys(), name
