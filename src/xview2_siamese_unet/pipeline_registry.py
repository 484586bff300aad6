"""Which pipelines there are: every folder below `pipelines` that has a `create_pipeline`.

Listing them must not import torch: a module of nodes imports it inside the functions that need it, and names no torch
type in a hint, because Kedro resolves the hints of a node with parameters when it starts.
"""

from __future__ import annotations

import pkgutil
from typing import Final

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

from xview2_siamese_unet import pipelines
from xview2_siamese_unet.errors import ConfigError

MAIN_JOB: Final = ("data_processing", "feature_statistics", "modelling", "reporting")
"""What a plain `kedro run` runs."""


def register_pipelines() -> dict[str, Pipeline]:
    """Return all pipelines by name; where Kedro asks for some only, the others are not imported.

    Raises:
        ConfigError: Kedro asks for one that does not exist.
    """
    try:
        found = find_pipelines(raise_errors=True)
    except ImportError as error:
        if error.__cause__ is not None:  # a pipeline that exists cannot be imported: a defect, not a name
            raise
        raise ConfigError(
            "pipelines of this run",
            found=str(error).split("'")[1].rpartition(".")[2],
            allowed=", ".join(sorted(module.name for module in pkgutil.iter_modules(pipelines.__path__))),
            remedy="write --pipelines with names that exist",
        ) from error
    return {**found, "__default__": sum((found[name] for name in MAIN_JOB if name in found), Pipeline([]))}
