"""The base of every parameter model."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class Strict(BaseModel):
    """Parameters as written: an unknown key is refused, and no value changes once it is read.

    Text that says a number or a flag is taken for it (`"3"`, `"yes"`), for `--params` passes nothing else. A flag where
    a number belongs is refused: YAML reads `yes` as one, which would count as 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _no_flag_for_a_number(cls, values: Any) -> Any:  # noqa: ANN401  a mapping, or what pydantic refuses
        """Write a flag as text where a number belongs, which pydantic refuses there with the name of the key."""
        if not isinstance(values, dict):
            return values
        flags = {name for name, value in values.items() if isinstance(value, bool) and cls._wants_number(name)}
        return values | {name: str(values[name]).lower() for name in flags}

    @classmethod
    def _wants_number(cls, name: str) -> bool:
        annotation = cls.model_fields[name].annotation if name in cls.model_fields else None
        kinds = {annotation, *get_args(annotation)}
        return bool(kinds & {int, float}) and bool not in kinds
