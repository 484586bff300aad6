"""The configuration as the commands read it, and where each of its values comes from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml  # type: ignore[import-untyped]
from kedro.framework.project import settings
from kedro.utils import find_kedro_project
from pydantic import BaseModel

from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.environments import UserExperimentConfigLoader, layer_files
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

_KINDS: Final[dict[str, type[BaseModel]]] = {"parameters": Parameters, "globals": Globals}
_SECTION: Final = object()
_GLOBAL: Final = re.compile(r"\$\{\s*globals:\s*([\w.]+)\s*\}")


class Source(NamedTuple):
    """One place that says what a key is worth."""

    where: str
    """File and line, or the code's own default."""
    value: object


def find_project() -> Path:
    """Return the folder of the project around the current one.

    Raises:
        ConfigError: there is none.
    """
    project: Path | None = find_kedro_project(Path.cwd())
    if project is None:
        raise ConfigError(
            str(Path.cwd()),
            found="no Kedro project in it or above it",
            allowed="a folder of the project",
            remedy="change into the project's folder",
        )
    return project


def conf_folder() -> Path:
    """Return the folder of the project's configuration."""
    return find_project() / str(settings.CONF_SOURCE)


def open_configuration(env: str | None) -> UserExperimentConfigLoader:
    """Return the configuration of `<user>/<experiment>`; nothing: of KEDRO_ENV, or else the default.

    Its catalog names the files of the newest finished run, or of the one that follows an `@`.
    """
    chosen, _, run = (env or os.environ.get("KEDRO_ENV") or "").partition("@")
    given = {"run": run} if run else None
    return UserExperimentConfigLoader(
        str(conf_folder()), env=chosen or None, runtime_params=given, **CONFIG_LOADER_ARGS
    )


def find_path(loader: UserExperimentConfigLoader, dataset: str) -> Path:
    """Return where a dataset of the catalog lies."""
    entry: dict[str, Any] = loader["catalog"][dataset]
    return find_project() / Path(entry["filepath"])


def explain(loader: UserExperimentConfigLoader, key: str) -> tuple[object, list[Source]]:
    """Return the value that holds, and every place that says one, the weakest first.

    Where the last of them is `${globals:...}`, what says that global follows.

    Args:
        loader: of the user and experiment.
        key: dotted, such as `training.learning_rate`; a key of parameters goes before one of globals.

    Raises:
        ConfigError: no such key.
    """
    for kind in _KINDS:
        value = _walk(loader[kind], key)
        if value is not _SECTION:
            sources = _sources(loader, kind, key)
            named = _GLOBAL.fullmatch(str(sources[-1].value)) if sources else None
            return value, sources + (_sources(loader, "globals", named[1]) if named else [])
    keys = [leaf for kind in _KINDS for leaf in leaves(loader[kind])]
    near = get_close_matches(key, keys, n=3)
    raise ConfigError(
        f"--explain {key}",
        found="no such key",
        allowed="a dotted key of parameters or globals, down to a value",
        remedy=f"try {' or '.join(near)}" if near else "look into conf/base",
    )


def leaves(tree: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the dotted name of every value."""
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def _walk(tree: object, key: str) -> object:
    for part in key.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return _SECTION
        tree = tree[part]
    return _SECTION if isinstance(tree, dict) and tree else tree


def _sources(loader: UserExperimentConfigLoader, kind: str, key: str) -> list[Source]:
    said = [source for layer in loader.layers for source in _said(kind, layer, key)]
    default = _default(_KINDS[kind], key)
    return said if default is _SECTION else [Source("the default of the code", default), *said]


def _default(model: type[BaseModel], key: str) -> object:
    """Return what holds where no file says anything; globals need a user and an experiment for that."""
    required = {name: name for name, field in model.model_fields.items() if field.is_required()}
    return _walk(model(**required).model_dump(mode="json", by_alias=True), key) if key not in required else _SECTION


def _said(kind: str, layer: str, key: str) -> Iterator[Source]:
    """Yield each place where a layer says something of a key, with the value as written there."""
    for path in layer_files(str(conf_folder()), layer, kind):
        node = _composed(path)
        for part in key.split("."):
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            node = next((value for name, value in pairs if name.value == part), None)
        if node is not None:
            yield Source(f"{path.relative_to(find_project())}:{node.start_mark.line + 1}", _written(node))


@cache  # a command asks for many keys of few files
def _composed(path: Path) -> yaml.Node:
    return yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)


def _written(node: yaml.Node) -> object:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()
