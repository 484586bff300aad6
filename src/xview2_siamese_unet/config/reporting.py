"""Predictions, scores and report."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from xview2_siamese_unet.config.validation import Strict


class PanelParams(Strict):
    """Scenes shown as images, ranked by their scores, and buildings."""

    best: int = Field(default=2, ge=0, le=20)
    """Scenes with the highest score."""
    median: int = Field(default=2, ge=0, le=20)
    """Scenes from the middle."""
    worst: int = Field(default=4, ge=0, le=20)
    """Scenes with the lowest score."""
    side: int = Field(default=320, ge=64, le=2048)
    """Longer side of each image in pixels."""
    window: int | None = Field(default=512, ge=32)
    """Side in pixels of the part of a scene that is shown, where most buildings are; `null` shows whole scenes."""
    buildings: int = Field(default=6, ge=0, le=40)
    """Buildings: half of them the most confident wrong predictions, half the largest that were missed."""


class IntervalParams(Strict):
    """The 95 % intervals of the scores: a bootstrap over scenes."""

    draws: int = Field(default=2000, ge=100, le=100_000)
    """Bootstrap samples."""
    seed: int = Field(default=0, ge=0)
    """Random seed; the same seed and scenes give the same intervals."""


class ReportingParams(Strict):
    """The report."""

    split: Literal["test", "validation"] = "test"
    """Split that is predicted and scored; `validation` compares experiments without using the test split."""
    batch_size: int = Field(default=1, ge=1)
    """Whole scenes predicted at a time."""
    title: str = Field(default="Building damage: how good is this model?", min_length=1)
    """Heading of the page."""
    model_file: str | None = None
    """Name of the checkpoint file on the page; `null` leaves it unnamed."""
    intervals: IntervalParams = IntervalParams()
    panels: PanelParams = PanelParams()


class SubmissionParams(Strict):
    """Files of `kedro run --pipelines submission`."""

    part: Literal["test", "hold"] = "test"
    """First word of the file names."""
