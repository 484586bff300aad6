"""What the report shows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from xview2_siamese_unet.config.base import Strict


class PanelParams(Strict):
    """Which scenes the report shows as pictures, ranked by a score of each scene, and which buildings."""

    best: int = Field(default=2, ge=0, le=20)
    """Scenes with the highest score."""
    median: int = Field(default=2, ge=0, le=20)
    """Scenes from the middle."""
    worst: int = Field(default=4, ge=0, le=20)
    """Scenes with the lowest score."""
    side: int = Field(default=320, ge=64, le=2048)
    """Longer side of each picture in pixels."""
    window: int | None = Field(default=512, ge=32)
    """Side of the square of the scene that is shown, where most buildings are; nothing shows whole scenes."""
    buildings: int = Field(default=6, ge=0, le=40)
    """Buildings, half of them the most confident wrong answers, half the largest that were missed."""
    building_window: int = Field(default=96, ge=16, le=1024)
    """Side of the square around a building in pixels; a larger building is shown whole."""


class IntervalParams(Strict):
    """The 95 % intervals of the scores: a bootstrap over scenes."""

    draws: int = Field(default=2000, ge=100, le=100_000)
    """How often as many scenes as there are are drawn with replacement."""
    seed: int = Field(default=0, ge=0)
    """Of the draws; the same seed and scenes give the same intervals."""


class ReportingParams(Strict):
    """What the report shows."""

    split: Literal["test", "validation"] = "test"
    """Which scenes are predicted and scored; `validation` compares experiments without a look at the test."""
    batch_size: int = Field(default=1, ge=1)
    """Whole scenes predicted at a time."""
    title: str = Field(default="Building damage: how good is this model?", min_length=1)
    """Heading of the page."""
    model_file: str | None = None
    """Name of the file of weights, as the page prints it; nothing leaves it unnamed."""
    intervals: IntervalParams = IntervalParams()
    panels: PanelParams = PanelParams()


class SubmissionParams(Strict):
    """What `kedro run --pipelines submission` writes."""

    part: Literal["test", "hold"] = "test"
    """First word of the names of its files."""
