"""Validation sample of an assessment, and its labels."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from xview2_siamese_unet.config.validation import Strict


class ValidationParams(Strict):
    """A random sample of buildings → estimates for all of them; the assessment is `inference.out`."""

    count: int = Field(default=200, ge=10)
    """Buildings in the sample; a larger number than before enlarges it and keeps the buildings drawn before."""
    seed: int = Field(default=0, ge=0)
    """Seed of the random numbers."""
    labels: Path | None = None
    """Labels of the sample, see `kedro label`."""
    folder: Path | None = None
    """Folder of the sample, which the catalog needs too; `null`: `validation` in the folder of the assessment."""
