"""`kedro doctor`: check hardware, configuration and data before a run, and explain the value of a key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel

from xview2_siamese_unet.cli.command import (
    ProjectCommand,
    as_called,
    env_option,
    json_option,
    open_configuration,
    print_json,
)
from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader, layer_files
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.project import find_project

_COLOURS: Final = {"good": "green", "note": "yellow", "bad": "red"}
_KINDS: Final[dict[str, type[BaseModel]]] = {"parameters": Parameters, "globals": Globals}
_SECTION: Final = object()
"""In place of a value, if a key is missing or names a section."""
_GLOBAL: Final = re.compile(r"\$\{\s*globals:\s*([\w.]+)\s*\}")


@click.command(cls=ProjectCommand)
@env_option
@click.option(
    "--explain",
    "keys",
    multiple=True,
    metavar="KEY",
    help="Show the value of a key and the files that set it.",
)
@json_option
def doctor(env: str | None, keys: tuple[str, ...], *, as_json: bool) -> None:
    """Check the machine, the configuration and the data before a run.

    Exits with status 1 if a run would fail.

    \b
    kedro doctor --env lab/002
    kedro doctor --env lab/002 --explain training.learning_rate
    """  # noqa: D301  click takes the escaped character
    loader = open_configuration(env)
    if keys:
        _explain_all({key: explain(loader, key) for key in keys}, as_json=as_json)
        return
    from xview2_siamese_unet.cli.checks import run_checks  # noqa: PLC0415  torch and rasterio are slow to import

    findings = [finding._replace(hint=as_called(finding.hint)) for finding in run_checks(loader)]
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            # Lines and no table: a path must stay one word to be copied.
            state = click.style(f"{finding.state:<5}", fg=_COLOURS[finding.state])
            hint = f". {finding.hint}" if finding.hint else ""
            click.echo(f"{state} {finding.subject:<19} {finding.message.removesuffix('.')}{hint}")
    if any(finding.state == "bad" for finding in findings):
        raise SystemExit(1)


class Setting(NamedTuple):
    """One file or default that sets a key."""

    where: str
    """File and line, or the default of the code."""
    value: object


def explain(loader: UserExperimentConfigLoader, key: str) -> tuple[object, list[Setting]]:
    """Return the value in effect and all settings of a key, the weakest first.

    If the last of them is `${globals:...}`, the settings of that global follow.

    Args:
        loader: of the user and experiment.
        key: dotted, such as `training.learning_rate`; parameters take precedence over globals.

    Raises:
        ConfigError: there is no such key.
    """
    for kind in _KINDS:
        value = _walk(loader[kind], key)
        if value is not _SECTION:
            sources = _sources(loader, kind, key)
            named = _GLOBAL.fullmatch(str(sources[-1].value)) if sources else None
            return value, sources + (_sources(loader, "globals", named[1]) if named else [])
    near = get_close_matches(key, [leaf for kind in _KINDS for leaf in leaves(loader[kind])], n=3)
    raise ConfigError(
        f"--explain {key}: neither parameters nor globals have such a key with a value.",
        hint=f"Try {' or '.join(near)}." if near else "See conf/base for the keys.",
    )


def leaves(tree: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the dotted key of every value."""
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


def _sources(loader: UserExperimentConfigLoader, kind: str, key: str) -> list[Setting]:
    files = [source for layer in loader.layers for source in _set_in(kind, layer, key)]
    default = _walk(_defaults(kind), key)
    return files if default is _SECTION else [Setting("the default of the code", default), *files]


@cache
def _defaults(kind: str) -> dict[str, Any]:
    model = _KINDS[kind]
    # Globals need a user and an experiment, which have no default.
    required = {name: name for name, field in model.model_fields.items() if field.is_required()}
    return model(**required).model_dump(mode="json", by_alias=True, exclude=set(required))


def _set_in(kind: str, layer: str, key: str) -> Iterator[Setting]:
    """Yield each setting of a key in a layer, with the value as written there."""
    folder, conf = find_project()
    for path in layer_files(str(conf), layer, kind):
        node = _composed(path)
        for part in key.split("."):
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            node = next((value for name, value in pairs if name.value == part), None)
        if node is not None:
            value = yaml.SafeLoader("").construct_document(node)
            shown = path.relative_to(folder) if path.is_relative_to(folder) else path
            yield Setting(f"{shown}:{node.start_mark.line + 1}", value)


@cache  # a command may read many keys of few files
def _composed(path: Path) -> yaml.Node:
    return yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)


def _explain_all(explanations: dict[str, tuple[object, list[Setting]]], *, as_json: bool) -> None:
    if as_json:
        tree = {
            key: {"value": value, "set": [source._asdict() for source in sources]}
            for key, (value, sources) in explanations.items()
        }
        print_json(json.loads(json.dumps(tree, default=str)))  # YAML has dates, too
        return
    for key, (value, sources) in explanations.items():
        click.echo(_explained(key, value, sources))


def _explained(key: str, value: object, sources: list[Setting]) -> str:
    width = max((len(json.dumps(source.value, default=str)) for source in sources), default=0)
    lines = [f"{key} = {json.dumps(value, default=str)}"]
    for source in sources:
        mark = "  <- in effect" if source is sources[-1] else ""
        lines.append(f"  {json.dumps(source.value, default=str):<{width}}  {source.where}{mark}")
    return "\n".join(lines)
