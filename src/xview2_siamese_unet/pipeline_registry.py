"""Which pipelines there are: every folder below `pipelines` that has a `create_pipeline`.

Listing them must not import torch: a module of nodes imports it inside the functions that need it, and names no torch
type in a hint, because Kedro resolves the hints of a node with parameters when it starts.
"""

from __future__ import annotations

from typing import Final

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

MAIN_JOB: Final = ("data_processing", "feature_statistics", "modelling", "reporting")
"""What a plain `kedro run` runs."""


def register_pipelines() -> dict[str, Pipeline]:
    """Return all pipelines by name; where Kedro asks for some only, the others are not imported."""
    found = find_pipelines(raise_errors=True)
    return {**found, "__default__": sum((found[name] for name in MAIN_JOB if name in found), Pipeline([]))}
