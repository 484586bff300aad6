"""Nested settings as a flat table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel


def flatten(settings: object, prefix: str = "") -> dict[str, str]:
    """Return `a.b.c` → value as text, in the order given.

    Args:
        settings: nested mappings and lists; parameter models count as mappings.
        prefix: put before each key.
    """
    return dict(_leaves(settings, prefix))


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping | BaseModel) for inner in value):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]")
    else:
        yield path, _text(value)


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)
