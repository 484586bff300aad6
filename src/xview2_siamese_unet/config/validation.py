"""Raw configuration → a model, or one sentence that a person can act on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, NamedTuple, TypeVar, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from xview2_siamese_unet.config.base import Strict
from xview2_siamese_unet.errors import ConfigError

Model = TypeVar("Model", bound=Strict)

_WORDS: Final = {
    "missing": "a value",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text (in YAML between quotes)",
    "path_type": "a path",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a section of keys",
    "model_type": "a section of keys",
    "model_attributes_type": "a section of keys",
    "literal_error": "{expected}",
    "union_tag_invalid": "with {discriminator} one of {expected_tags}",
    "union_tag_not_found": "with the key {discriminator}",
    "string_pattern_mismatch": "text that matches {pattern}",
}
"""Pydantic's kinds of error → what is allowed, in the words of somebody who writes YAML."""

_REPEATED: Final = "default_factory_not_called"
_LONGEST: Final = 60

_LIMITS: Final = {
    "gt": "above {}",
    "ge": "{} or more",
    "lt": "below {}",
    "le": "{} or less",
    "multiple_of": "a multiple of {}",
}
"""Pydantic's names of limits → the same in words."""

Fields = dict[str, FieldInfo]


class _Problem(NamedTuple):
    found: str
    allowed: str
    remedy: str


def validate(raw: Mapping[str, Any], model: type[Model], where: str) -> Model:
    """Return `raw` as an instance of `model`.

    Args:
        raw: what the files say, already merged.
        model: what they may say.
        where: name for error messages, such as `parameters of lab/002`.

    Raises:
        ConfigError: an unknown or missing key, a value of another type or out of its range; every problem at once.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        # A default made of another field only repeats that field's problem.
        own = (
            details for details in error.errors(include_url=False) if details["type"] != "default_factory_not_called"
        )
        problems = [_problem(details, model, raw) for details in own]
    found, allowed, remedy = (" and ".join(dict.fromkeys(parts)) for parts in zip(*problems, strict=True))
    raise ConfigError(where, found=found, allowed=allowed, remedy=remedy)


def _problem(details: ErrorDetails, model: type[Strict], raw: Mapping[str, Any]) -> _Problem:
    path, fields = _locate(details["loc"], model, raw)
    key = ".".join(path) or "everything"
    if details["type"] == "extra_forbidden":
        return _unknown(path, fields)
    found = "nothing" if details["type"] == "missing" else _shown(details["input"])
    allowed = _allowed(details, fields.get(path[-1]) if path else None)
    return _Problem(f"{key}: {found}", f"{key}: {allowed}", f"correct {key}")


def _unknown(path: list[str], fields: Fields) -> _Problem:
    *parents, name = path
    key = ".".join(path)
    nearest = get_close_matches(name, fields, n=1)
    return _Problem(
        f"the unknown key {key}",
        f"{'.'.join(parents) or 'at the top'}: the keys {', '.join(fields)}",
        f"write {'.'.join([*parents, *nearest])} in place of {key}" if nearest else f"remove {key}",
    )


def _locate(loc: tuple[int | str, ...], model: type[Strict], raw: Any) -> tuple[list[str], Fields]:  # noqa: ANN401
    """Return the path of a key as written in the files, and the fields of the section that holds it.

    Pydantic names the chosen member of a union as if that were a key; such a part only narrows the models.
    """
    path: list[str] = []
    fields: Fields = {}
    models = [model]
    for part in loc:
        known = _fields(models)
        if isinstance(raw, Mapping) and (part in raw or part in known):
            fields = known
            models = list(_models(known[str(part)].annotation)) if part in known else []
            raw = raw.get(part)
        elif isinstance(part, int) and isinstance(raw, list):
            fields, raw = {}, raw[part] if part < len(raw) else None
        else:
            models = [m for m in models if _is_named(m, part)] or models
            continue
        path.append(str(part))
    return path, fields


def _fields(models: list[type[Strict]]) -> Fields:
    return {field.alias or name: field for model in models for name, field in model.model_fields.items()}


def _models(annotation: object) -> Iterator[type[Strict]]:
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _is_named(model: type[Strict], part: int | str) -> bool:
    return part == model.__name__ or any(part in get_args(f.annotation) for f in model.model_fields.values())


def _allowed(details: ErrorDetails, field: FieldInfo | None) -> str:
    context = details.get("ctx", {})
    limits = {name: context[name] for name in _LIMITS if name in context}  # of a list's item, which has no field
    for item in field.metadata if field else []:
        limits |= {name: getattr(item, name) for name in _LIMITS if hasattr(item, name)}
    words = [text.format(limits[name]) for name, text in _LIMITS.items() if name in limits]
    kind = details["type"]
    if kind in _WORDS:
        words.insert(0, _WORDS[kind].format(**context))
    return ", ".join(words) or details["msg"].removeprefix("Value error, ").removeprefix("Input should be ")


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a section of keys"
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
