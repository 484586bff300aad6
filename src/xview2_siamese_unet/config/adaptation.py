"""Adaptation of an assessment to its event."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from xview2_siamese_unet.config.validation import Strict


class AdaptationParams(Strict):
    """An assessment (the folder `inference.out`) and a few labels → buildings assessed by a head fitted on these."""

    labels: tuple[Path, ...] = ()
    """Files of labels; without any, the buildings keep the classes of the assessment."""
    head: Path | None = None
    """A `head.safetensors` of another folder of the same event, applied in place of a new one."""
    features: tuple[str, ...] = Field(default=("package",), min_length=1)
    """Sources of features: `package` (EfficientNet-Lite0 with ImageNet weights), `random` (convolutions of the images
    themselves, no weights), or the name of a model of timm, which is downloaded."""
    pre: Path | None = None
    """Pre-disaster image, if it has moved since the assessment."""
    post: Path | None = None
    """Post-disaster image, if it has moved."""
    zones: Path | None = None
    """Polygons, such as districts, to count buildings by."""
