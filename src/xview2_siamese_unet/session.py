"""A session of Kedro that answers options of a run which cannot be met with one sentence."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from inspect import isgeneratorfunction
from typing import TYPE_CHECKING, Any, Final, cast

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.io.core import is_parameter
from kedro.pipeline import Pipeline

from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.runs import Run
from xview2_siamese_unet.training.processes import launched_shard

if TYPE_CHECKING:
    from xview2_siamese_unet.environments import UserExperimentConfigLoader

logger = logging.getLogger(__name__)

_OPTIONS: Final = {
    "node_names": "--nodes",
    "from_nodes": "--from-nodes",
    "to_nodes": "--to-nodes",
    "from_inputs": "--from-inputs",
    "to_outputs": "--to-outputs",
    "tags": "--tags",
    "namespaces": "--namespaces",
}
"""Argument of `KedroSession.run` → what `kedro run` calls it."""
_MAKES_RUNS: Final = {"__default__", "data_processing", "feature_statistics", "modelling"}
"""Pipelines that write what decides a run; all others look at one that is there."""


class ProjectSession(KedroSession):
    """What `kedro run` and notebooks run pipelines in.

    Attributes:
        begins_runs: whether what is running makes a run, and does not only look at one.
        worked_on: the run of the experiment that was worked on.
    """

    begins_runs = False
    worked_on: Run

    def load_context(self) -> KedroContext:
        """Open the configuration, whose catalog names the files of one run."""
        context = super().load_context()
        loader = cast("UserExperimentConfigLoader", context.config_loader)
        loader.project, loader.begins_runs = context.project_path, self.begins_runs
        if self.begins_runs:
            self.worked_on = loader.run
            if launched_shard().rank == 0:
                logger.info(self.worked_on.reason)
        return context

    def run(self, *args: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        """Run as Kedro does.

        Raises:
            ConfigError: a node, dataset, tag or namespace that the pipelines do not have, or none that has them all; a
                version of a dataset that has none; `--async` with nodes that yield.
        """
        self._refuse_versions(options.get("load_versions") or {})
        self.begins_runs = bool({*(options.get("pipeline_names") or ["__default__"])} & _MAKES_RUNS)
        if getattr(options.get("runner"), "_is_async", False):
            _refuse_async(options)
        try:
            return super().run(*args, **options)
        except ValueError as error:
            # Kedro looks at names before anything runs; a ValueError of a node leaves nothing to find here.
            if mistake := _mistake(options):
                raise mistake from error
            raise

    def _refuse_versions(self, asked: Mapping[str, str]) -> None:
        """Refuse versions of datasets that are not versioned, which Kedro reads without them and says nothing."""
        catalog = self.load_context().config_loader["catalog"] if asked else {}
        versioned = [name for name, entry in catalog.items() if isinstance(entry, dict) and entry.get("versioned")]
        if unknown := sorted(set(asked) - set(versioned)):
            others = f"Versioned datasets: {', '.join(versioned)}." if versioned else "No dataset of the catalog is."
            raise ConfigError(
                f"--load-versions names {', '.join(unknown)}, which is not a versioned dataset. {others}",
                hint="Leave the option out.",
            )


def _mistake(options: Mapping[str, Any]) -> ConfigError | None:
    asked = {option: tuple(options.get(option) or ()) for option in _OPTIONS}
    if not any(asked.values()):
        return None
    chosen = _chosen(options)
    for option, names in asked.items():
        known = _known(chosen, option)
        if unknown := sorted(set(names) - known):
            return ConfigError(
                _OPTIONS[option],
                found=", ".join(unknown),
                allowed=", ".join(_near(unknown, known)) or "no name, for this run has none",
                remedy=f"write {_OPTIONS[option]} with names that the pipelines of this run have",
            )
    return None if _filtered(chosen, asked) else _nothing(asked)


def _chosen(options: Mapping[str, Any]) -> Pipeline:
    return sum((pipelines[name] for name in options.get("pipeline_names") or ["__default__"]), Pipeline([]))


def _refuse_async(options: Mapping[str, Any]) -> None:
    """Refuse nodes that yield before the first node runs; Kedro does when their turn comes, after hours of training."""
    names = options.get("pipeline_names") or None
    pipelines.set_requested(names)  # as Kedro does, which loads those alone
    if not set(names or ()) <= set(pipelines):
        return  # a name that Kedro refuses
    run = _filtered(_chosen(options), {option: tuple(options.get(option) or ()) for option in _OPTIONS})
    if found := sorted(node.name for node in (run.nodes if run else ()) if isgeneratorfunction(node.func)):
        raise ConfigError(
            f"--async (is_async) cannot run {', '.join(found)}, which yield their results one by one.",
            hint="Leave it out, or run pipelines without these nodes.",
        )


def _known(chosen: Pipeline, option: str) -> set[str]:
    if option == "tags":
        return {tag for node in chosen.nodes for tag in node.tags}
    if option == "namespaces":
        # A namespace holds those below it: a.b is also in a.
        spaces = (node.namespace.split(".") for node in chosen.nodes if node.namespace)
        return {".".join(parts[:end]) for parts in spaces for end in range(1, len(parts) + 1)}
    if option in ("from_inputs", "to_outputs"):
        # A dataset with several formats is known with and without the one after its @.
        return {part for name in chosen.datasets() for part in (name, name.partition("@")[0])}
    return {node.name for node in chosen.nodes}


def _near(unknown: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return names like those that are unknown, or all where none is."""
    near = {match for name in unknown for match in get_close_matches(name, list(known))}
    return sorted(near or {name for name in known if not is_parameter(name)})


def _filtered(chosen: Pipeline, asked: Mapping[str, tuple[str, ...]]) -> Pipeline | None:
    """Return the nodes that meet all options, `None` where there are none or a name is unknown."""
    filters = dict(asked)
    spaces = filters.pop("namespaces")
    try:
        return chosen.filter(**filters, node_namespaces=spaces)
    except ValueError:
        return None


def _nothing(asked: Mapping[str, tuple[str, ...]]) -> ConfigError:
    written = (f"{_OPTIONS[option]} {','.join(names)}" for option, names in asked.items() if names)
    return ConfigError(
        "selection of this run",
        found=f"no node that meets {' and '.join(written)}",
        allowed="options that leave a node to run",
        remedy="leave one of them out",
    )
