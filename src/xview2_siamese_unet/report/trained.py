"""The settings that a scored net was made with, beside those that are configured now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import numpy as np
from pydantic import ValidationError

from xview2_siamese_unet.params.base import Strict
from xview2_siamese_unet.params.modelling import Recipe
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.report.settings import flatten
from xview2_siamese_unet.training.data import TrainingData, fingerprint

Section = TypeVar("Section", bound=Strict)

_OF_SCORING: Final = "hardware"
"""Part of a recipe that scoring takes from the configuration: it may compute elsewhere than training did."""


class _NoScenes:
    """All of a store that a fingerprint of no scenes asks for."""

    records = np.zeros(0, [("key", "S1")])

    def rows(self, names: Sequence[str]) -> list[int]:
        return []  # of the names, of which there are none


_NOTHING: Final = TrainingData("", cast("Store", _NoScenes()), [], [], [], {}, {}, [])


def as_trained(settings: Mapping[str, object], checkpoint: Mapping[str, Any]) -> dict[str, object]:
    """Return the settings, those that decide how a net answers as the checkpoint has them.

    Args:
        settings: that are configured now, all sections.
        checkpoint: what was scored, see `nets.checkpoint.Checkpoint`.
    """
    made = {section: value for section, value in checkpoint["recipe"].items() if section != _OF_SCORING}
    return {**settings, **made}


def differences(settings: Mapping[str, object], checkpoint: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each key by which the configuration would have made another net than the one scored.

    A key that an older checkpoint does not have is passed over.

    Args:
        settings: that are configured now, all sections.
        checkpoint: what was scored, see `nets.checkpoint.Checkpoint`.
    """
    now = Recipe.model_validate({section: settings[section] for section in Recipe.model_fields})
    try:
        made = Recipe.model_validate({**checkpoint["recipe"], _OF_SCORING: now.hardware})
    except ValidationError:
        return [
            f"The net was made by version {checkpoint['version']}, whose settings this one cannot compare with the "
            "configuration; what the checkpoint says is what was used."
        ]
    configured, used = flatten(now), flatten(as_trained({}, checkpoint))
    return [
        f"{key} is {configured[key]} in the configuration, but {used[key]} in the checkpoint, which is what was used."
        for key in configured
        if configured[key] != used.get(key, configured[key]) and _matters(key, now, made)
    ]


def _matters(key: str, now: Recipe, made: Recipe) -> bool:
    """Return whether training tells two nets apart by this key."""
    return fingerprint(_NOTHING, now) != fingerprint(_NOTHING, _replaced(now, made, key.split(".")))


def _replaced(section: Section, other: Section, path: Sequence[str]) -> Section:
    """Return a section with one value of another; unchecked, for a key may fit only together with a second one."""
    name, *rest = path
    value = getattr(other, name)
    return section.model_copy(update={name: _replaced(getattr(section, name), value, rest) if rest else value})
