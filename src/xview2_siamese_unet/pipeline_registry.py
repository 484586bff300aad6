"""Which pipelines there are: every folder below `pipelines` that has a `create_pipeline`.

A pipeline is imported when its nodes are first looked at, so that listing the names costs nothing.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Final, NoReturn

from kedro.pipeline import Pipeline

from xview2_siamese_unet import pipelines
from xview2_siamese_unet.errors import ConfigError

MAIN_JOB: Final = ("data_processing", "feature_statistics", "modelling", "reporting")
"""What a plain `kedro run` runs."""


class UnknownPipelineError(ConfigError, KeyError):
    """A pipeline that does not exist is asked for.

    A KeyError as well, because that is what Kedro expects of a mapping without the name.
    """


class DeferredPipeline(Pipeline):
    """A pipeline that is created when any of its parts is first asked for."""

    def __init__(self, create: Callable[[], Pipeline]) -> None:
        # No super().__init__: it wants the nodes, and having them is what is put off.
        self._create = create

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Become the real pipeline; Python calls this only for what is not there yet."""
        create = self.__dict__.get("_create")
        if create is None:
            raise AttributeError(name)
        self.__dict__.update(create().__dict__)
        del self._create  # only now: a pipeline that cannot be imported says so at every access
        return getattr(self, name)


class Registry(dict[str, Pipeline]):
    """Pipelines by name."""

    def __missing__(self, name: str) -> NoReturn:
        """Say which names there are."""
        raise UnknownPipelineError(
            "pipelines of this run",
            found=name,
            allowed=", ".join(sorted(self)),
            remedy="write --pipelines with names that exist",
        )


def register_pipelines() -> dict[str, Pipeline]:
    """Return all pipelines by name."""
    names = (module.name for module in pkgutil.iter_modules(pipelines.__path__) if module.ispkg)
    found: dict[str, Pipeline] = {name: DeferredPipeline(partial(_create, name)) for name in sorted(names)}
    return Registry(found, __default__=DeferredPipeline(lambda: sum((found[name] for name in MAIN_JOB), Pipeline([]))))


def _create(name: str) -> Pipeline:
    # The tag says of a node, in whichever run, which pipeline it is from; Kedro-Viz filters by it.
    return Pipeline(import_module(f"{pipelines.__name__}.{name}").create_pipeline(), tags=[name])
