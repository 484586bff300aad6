"""The pipeline registry: every folder below `pipelines` with a `create_pipeline`."""

from __future__ import annotations

from typing import Final

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

MAIN_JOB: Final = ("data_processing", "feature_statistics", "modelling", "reporting")
"""Pipelines of a plain `kedro run`."""


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines by name: those that a command names, or all."""
    try:
        pipelines = find_pipelines(raise_errors=True)
    except ImportError as error:
        if error.__cause__ is None:  # no such folder; Kedro suggests similar names for a KeyError
            raise KeyError(str(error)) from error
        raise
    # The tag names the pipeline of a node in any run; Kedro-Viz filters by it.
    tagged = {name: Pipeline(pipelines[name], tags=[name]) for name in sorted(pipelines) if name != "__default__"}
    if "__default__" in pipelines:
        tagged["__default__"] = sum((tagged[name] for name in MAIN_JOB), Pipeline([]))
    return tagged
