"""A session of Kedro that answers a mistyped selection of nodes with one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.io.core import is_parameter
from kedro.pipeline import Pipeline

from xview2_siamese_unet.errors import ConfigError

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


class ProjectSession(KedroSession):
    """What `kedro run` and notebooks run pipelines in."""

    def run(self, *args: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        """Run as Kedro does.

        Raises:
            ConfigError: a node, dataset, tag or namespace that the pipelines do not have, or none that has them all.
        """
        try:
            return super().run(*args, **options)
        except ValueError as error:
            # Kedro looks at names before anything runs; a ValueError of a node leaves nothing to find here.
            if mistake := _mistake(options):
                raise mistake from error
            raise


def _mistake(options: Mapping[str, Any]) -> ConfigError | None:
    asked = {option: tuple(options.get(option) or ()) for option in _OPTIONS}
    if not any(asked.values()):
        return None
    chosen = sum((pipelines[name] for name in options.get("pipeline_names") or ["__default__"]), Pipeline([]))
    for option, names in asked.items():
        known = _known(chosen, option)
        if unknown := sorted(set(names) - known):
            return ConfigError(
                _OPTIONS[option],
                found=", ".join(unknown),
                allowed=", ".join(_near(unknown, known)) or "no name, for this run has none",
                remedy=f"write {_OPTIONS[option]} with names that the pipelines of this run have",
            )
    return None if _leaves_nodes(chosen, asked) else _nothing(asked)


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


def _leaves_nodes(chosen: Pipeline, asked: Mapping[str, tuple[str, ...]]) -> bool:
    filters = dict(asked)
    spaces = filters.pop("namespaces")
    try:
        chosen.filter(**filters, node_namespaces=spaces)
    except ValueError:
        return False
    return True


def _nothing(asked: Mapping[str, tuple[str, ...]]) -> ConfigError:
    written = (f"{_OPTIONS[option]} {','.join(names)}" for option, names in asked.items() if names)
    return ConfigError(
        "selection of this run",
        found=f"no node that meets {' and '.join(written)}",
        allowed="options that leave a node to run",
        remedy="leave one of them out",
    )
