"""Write docs/parameters.md and conf/base/parameters_*.yml from the code: `uv run python docs/reference.py`.

Defaults and meanings stand in `config/` alone. A test compares the files with what this writes.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Final, Literal, Union, get_args, get_origin

import yaml  # type: ignore[import-untyped]
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.config.validation import NAME, Strict

DOCS: Final = Path(__file__).parent
MADE: Final = "<!-- Made by docs/reference.py: change the code, then run it. -->\n"
PAGE: Final = """# Parameters

Every key of the files in `conf/`, its allowed values and its default. Unknown keys and invalid values stop a command
before it writes anything. `null` unsets a value. `conf/base` lists the same keys with the same defaults; an experiment
contains only what differs; `--params training.epochs=3` overrides a value for one run, and `--params run=<id>` selects
a run instead of the newest.

## Files `parameters*.yml`
"""
BASE: Final = {
    "data": ("dataset", "executor", "data_processing", "feature_statistics"),
    "inference": ("inference", "adaptation"),
    "modelling": (
        *("model", "classes", "training", "prediction", "loss_weights", "focal_loss", "dataloader", "hardware", "run"),
    ),
    "reporting": ("reporting", "submission"),
    "validation": ("validation",),
}
FROM_GLOBALS: Final = {
    **{key: f"${{globals:{key}}}" for key in ("dataset.source", "dataset.name", "dataset.root")},
    **{key: f"${{globals:{key}}}" for key in ("executor.kind", "executor.workers", "executor.scheduler")},
    "reporting.model_file": "${globals:experiment}_best_siamese_unet_state.pth",
}
GLOBALS: Final = """## Files `globals.yml`

What the catalog needs to know, and what other layers may refer to as `${globals:...}`.
"""
_PLAIN: Final[dict[object, str]] = {
    bool: "`true` · `false`",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
}
_SIGNS: Final = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}", "multiple_of": "multiple of {}"}


def parameters_page() -> str:
    """Return the page of all parameters and globals."""
    sections = [
        f"### {name}\n\n{_summary(model)}\n{_table(model, f'{name}.')}"
        for name, field in Parameters.model_fields.items()
        if isinstance(model := field.annotation, type)
    ]
    return "\n".join([PAGE, *sections, GLOBALS, _table(Globals, "")])


def base_file(sections: Iterable[str]) -> str:
    """Return YAML of all keys of some sections with their defaults, each below its meaning."""
    lines = [line for name in sections for line in ("", *_yaml(Parameters(), [name], "", ""))]
    return "\n".join(["# Made by docs/reference.py from the models in config/: change these, then run it.", *lines, ""])


def _yaml(model: Strict, names: Iterable[str], above: str, indent: str) -> Iterator[str]:
    for name in names:
        field, value = type(model).model_fields[name], getattr(model, name)
        choices = (
            f" Choices: {', '.join(get_args(field.annotation))}." if get_origin(field.annotation) is Literal else ""
        )
        meaning = " ".join((field.description or type(value).__doc__ or "").split()) + choices
        yield from textwrap.wrap(meaning, 120, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if isinstance(value, Strict):
            yield f"{indent}{name}:"
            yield from _yaml(value, type(value).model_fields, f"{above}{name}.", f"{indent}  ")
        else:
            default = yaml.safe_dump(model.model_dump(mode="json")[name], default_flow_style=True, width=1000)
            shown = FROM_GLOBALS.get(above + name, default.removesuffix("...\n").strip())
            yield f"{indent}{name}: {shown}"


def _summary(model: type[Strict]) -> str:
    first = (model.__doc__ or "").strip().split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in first) + "\n"


def _table(model: type[Strict], above: str) -> str:
    rows = [
        f"| <code>{key.replace('.', '.<wbr>')}</code> | {kind} | {default} | {text} |"
        for key, kind, default, text in _rows(model, above)
    ]
    return "\n".join(["| key | allowed | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def _rows(model: type[Strict], above: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Strict):
            yield from _rows(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}", _allowed(field), _default(field, model, name), _cell(field.description or "")


def _allowed(field: FieldInfo) -> str:
    null = " or `null`" if NoneType in get_args(field.annotation) else ""
    limits = _limits(field.metadata)
    return _cell(" ".join(filter(None, [_words(field.annotation), limits])) + null)


def _words(kind: object) -> str:
    """Return an annotation in the words of somebody who writes YAML."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_words(each) for each in inner if each is not NoneType)
    if origin is Literal:
        return " · ".join(f"`{each}`" for each in inner)
    if origin is tuple:
        return f"list of {_words(inner[0])}" if inner[-1] is Ellipsis else f"{len(inner)} × {_words(inner[0])}"
    if origin is dict:
        return f"for each of {_words(inner[0])}: {_words(inner[1])}"
    return " ".join([_words(inner[0]), _limits(inner[1:])]).strip() if origin is Annotated else _PLAIN[kind]


def _limits(metadata: Iterable[object]) -> str:
    marks = [mark for entry in metadata for mark in (entry.metadata if isinstance(entry, FieldInfo) else [entry])]
    limits = [
        text.format(f"{getattr(mark, key):,}") for mark in marks for key, text in _SIGNS.items() if hasattr(mark, key)
    ]
    patterns = [found for mark in marks if (found := getattr(mark, "pattern", None))]
    return ", ".join(limits + ["of letters, digits, `.` `_` `-`" if each == NAME else f"`{each}`" for each in patterns])


def _default(field: FieldInfo, model: type[Strict], name: str) -> str:
    if field.default_factory is not None:
        return "that of the user" if model is Globals else _shown(field.get_default(call_default_factory=True))
    if field.default is PydanticUndefined:
        return "from `--env`"
    return _shown(model.model_validate({}).model_dump(mode="json")[name] if model is not Globals else field.default)


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, (str, Path)) else json.dumps(value, ensure_ascii=False).replace('"', "")
    return f"`{text}`" if text else "empty text"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    (DOCS / "parameters.md").write_text(MADE + parameters_page(), encoding="utf-8")
    for name, sections in BASE.items():
        (DOCS.parent / "conf" / "base" / f"parameters_{name}.yml").write_text(base_file(sections), encoding="utf-8")
