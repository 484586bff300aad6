"""Which scenes there are: the built-in sample, or a download of xBD."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xview2_siamese_unet.config.base import Strict

Tier = Literal["tier1", "tier3", "hold", "test"]
"""A folder of the xBD download."""
SceneCount = Annotated[int, Field(ge=0, le=100_000)]


class SampleScenes(Strict):
    """How many scenes the built-in sample has in each folder of the xBD layout."""

    tier1: SceneCount = 24
    """Scenes in the folder tier1, for training."""
    tier3: SceneCount = 8
    """Scenes in the folder tier3, for training and validation."""
    hold: SceneCount = 8
    """Scenes in the folder hold, for validation."""
    test: SceneCount = 8
    """Scenes in the folder test."""


class SampleParams(Strict):
    """What the built-in sample looks like."""

    seed: int = Field(default=7, ge=0)
    """Seed of everything drawn: the same seed gives the same bytes."""
    size: int = Field(default=256, ge=64, le=4096, multiple_of=32)
    """Width and height of a scene in pixels; xBD has 1024."""
    scenes: SampleScenes = SampleScenes()


class SubsetParams(Strict):
    """How much of the dataset is used; both limits hold at once."""

    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the scenes of each event."""
    count: int | None = Field(default=None, ge=1)
    """Scenes at most, over all events, in proportion to their size."""


class DatasetParams(Strict):
    """Which scenes there are."""

    source: Literal["sample", "xbd"] = "sample"
    """`sample` fabricates scenes; `xbd` reads a download where it lies."""
    name: str = Field(default="sample", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Folder below which everything made from these scenes goes, so that two datasets never mix."""
    root: Path | None = None
    """Folder that holds tier1 (or train), tier3, hold and test, or a zip or tar file of it; only for `source: xbd`. A
    relative path starts at the project."""
    use_main_dataset: bool = True
    """`false` uses the subset below in place of all scenes."""
    subset: SubsetParams = SubsetParams()
    sample: SampleParams = SampleParams()

    @model_validator(mode="after")
    def _root_where_needed(self) -> Self:
        if self.source == "xbd" and self.root is None:
            raise ValueError("source xbd needs root, the folder that holds tier1, tier3, hold and test")
        return self
