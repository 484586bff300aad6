"""The base of all parameter models, and readable errors of validation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from xview2_siamese_unet.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Pattern of one part of a path: no separator, and never `.` or `..`."""
_FORBIDDEN: Final = re.compile(r'[\x00-\x1f<>:"/\\|?*]|[. ]\Z')
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9¹²³]) *(\..*)?", re.IGNORECASE | re.DOTALL)


def is_portable(name: str) -> bool:
    """Return whether a file can have a name on every system.

    Windows treats `nul.json` as a device and `a.json:b` as a stream of another file, and drops a dot at the end.
    """
    return name != "" and _FORBIDDEN.search(name) is None and _DEVICE.fullmatch(name) is None


def _portable(name: str) -> str:
    if not is_portable(name):
        raise ValueError("must not be the name of a Windows device, such as con or nul.txt, nor end in a dot")
    return name


PORTABLE: Final = AfterValidator(_portable)
PathPart = Annotated[str, Field(pattern=NAME, max_length=100), PORTABLE]
"""A name of a folder or file on every system."""


class Strict(BaseModel):
    """A section of parameters: unknown keys are refused, and values never change.

    Text is converted to a number or flag (`"3"`, `"yes"`), because `--params` passes text. A flag is not accepted as a
    number: YAML reads `yes` as a flag, which would count as 1.

    A `ValueError` of a validator is the rest of a sentence that begins with the key: "must be odd".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _no_flag_for_a_number(cls, values: Any) -> Any:  # noqa: ANN401  a mapping, or what pydantic refuses
        """Make pydantic refuse a flag in place of a number, by writing the flag as text."""
        if not isinstance(values, dict):
            return values
        flags = {name for name, value in values.items() if isinstance(value, bool) and cls._is_number(name)}
        return values | {name: str(values[name]).lower() for name in flags}

    @classmethod
    def _is_number(cls, name: str) -> bool:
        annotation = cls.model_fields[name].annotation if name in cls.model_fields else None
        kinds = {annotation, *get_args(annotation)}
        return bool(kinds & {int, float}) and bool not in kinds


Model = TypeVar("Model", bound=Strict)
Entry = TypeVar("Entry")
Fields = dict[str, FieldInfo]
_LONGEST: Final = 60
_KINDS: Final = {
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a section of keys"),
    "finite_number": "a finite number",
    "string_type": "text (in YAML between quotes)",
    "path_type": "a path",
    "missing": "given",
}
"""Pydantic's types of errors → what the key must be, if pydantic's own message uses terms of Python."""
_LIMITS: Final = {
    "gt": "greater than {}",
    "ge": "at least {}",
    "lt": "less than {}",
    "le": "at most {}",
    "multiple_of": "a multiple of {}",
}


def validate(raw: Mapping[str, Any], model: type[Model], where: str) -> Model:
    """Return `raw` as an instance of `model`.

    Args:
        raw: merged content of the files.
        model: what they may hold.
        where: for error messages, such as `parameters of lab/002`.

    Raises:
        ConfigError: unknown or missing keys, values of another type or out of range; all of them at once.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        # A default made of another field only repeats that field's problem.
        errors = [each for each in error.errors(include_url=False) if each["type"] != "default_factory_not_called"]
        described = [_describe(each, model) for each in errors]
    problems, hints = (dict.fromkeys(texts) for texts in zip(*described, strict=True))
    raise ConfigError(f"{where}: {'; '.join(problems)}.", hint=" ".join(hints))


def look_up(table: Mapping[str, Entry], name: str, key: str) -> Entry:
    """Return the entry of a name that users choose.

    Args:
        table: all names.
        name: the chosen one.
        key: begins the sentence of the error, such as `model.decoder`.

    Raises:
        ConfigError: no such name; the hint has the nearest ones.
    """
    if name in table:
        return table[name]
    near = get_close_matches(name, table, 3) or list(table)[:3]
    raise ConfigError(
        f"{key} must be one of {', '.join(table)}, got {_shown(name)}.",
        hint=f"Choose for example {' or '.join(near)}.",
    )


def _describe(details: ErrorDetails, model: type[Strict]) -> tuple[str, str]:
    """Return the problem and a hint."""
    path = [str(part) for part in details["loc"] if part != "[key]"]
    key, fields = ".".join(path) or "everything", _fields(path, model)
    if details["type"] == "extra_forbidden":
        nearest = get_close_matches(path[-1], fields, n=1)
        known = f"unknown key {key}; {'.'.join(path[:-1]) or 'the top level'} has the keys {', '.join(fields)}"
        other = ".".join([*path[:-1], *nearest])
        return known, f"Write {other} instead of {key}." if nearest else f"Remove {key}."
    if details["type"] == "value_error":
        rest = details["msg"].removeprefix("Value error, ")
    else:
        rest = f"must be {_allowed(details, fields.get(path[-1]) if path else None)}"
    value = details["input"]
    given = "" if isinstance(value, Mapping) or details["type"] == "missing" else f", got {_shown(value)}"
    return f"{key} {rest}{given}", f"Correct {key}."


def _fields(path: Sequence[str], model: type[Strict]) -> Fields:
    """Return the fields of the section that holds a key."""
    for part in path[:-1]:
        if part.isdigit():  # an item of a list of sections
            continue
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        inner = next(iter(get_args(inner)), inner) if get_origin(inner) is tuple else inner
        if not (isinstance(inner, type) and issubclass(inner, Strict)):
            return {}
        model = inner
    return model.model_fields


def _allowed(details: ErrorDetails, field: FieldInfo | None) -> str:
    context, kind = details.get("ctx", {}), details["type"]
    limits = {name: context[name] for name in _LIMITS if name in context}  # of an item of a list, which has no field
    for item in field.metadata if field else []:
        limits |= {name: getattr(item, name) for name in _LIMITS if hasattr(item, name)}
    words = [_KINDS[kind]] if kind in _KINDS else []
    words += [text.format(limits[name]) for name, text in _LIMITS.items() if name in limits]
    message = details["msg"].removeprefix("Input should be ").replace("String should match", "text that matches")
    return ", ".join(words) or message


def _shown(value: object) -> str:
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
