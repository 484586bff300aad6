"""Adaptation of an assessment to its event."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeVar

from pydantic import Field

from xview2_siamese_unet.config.validation import Strict

Name = TypeVar("Name", bound=Path | str)
CHECKPOINTS: Final = (".pth", ".safetensors")
"""Suffixes of sources of features that are checkpoints."""


class AdaptationParams(Strict):
    """An assessment (the folder `inference.out`) and a few labels → buildings assessed by a head fitted on these."""

    labels: tuple[Path, ...] = ()
    """Files of labels; without any, the buildings keep the classes of the assessment."""
    head: Path | None = None
    """A `head.safetensors` of another folder of the same event, applied in place of a new one."""
    features: tuple[str, ...] = Field(default=("package",), min_length=1)
    """Sources of features: `package` (EfficientNet-Lite0 with ImageNet weights), `random` (convolutions of the images
    themselves, no weights), a checkpoint (`.pth` or `.safetensors`), or the name of a model of timm, which is
    downloaded."""
    pre: Path | None = None
    """Pre-disaster image, if it has moved since the assessment."""
    post: Path | None = None
    """Post-disaster image, if it has moved."""
    zones: Path | None = None
    """Polygons, such as districts, to count buildings by."""


def as_list(names: Name | Iterable[Name]) -> list[Name]:
    """Return one or several names or paths as a list."""
    return [names] if isinstance(names, str | Path) else list(names)


def is_checkpoint(source: str) -> bool:
    """Return whether a source of features is the file of a checkpoint."""
    return Path(source).suffix in CHECKPOINTS


def source_names(features: Iterable[str]) -> list[str]:
    """Return the names of sources, without the folders of checkpoints, which may be private."""
    return [Path(source).name if is_checkpoint(source) else source for source in features]
