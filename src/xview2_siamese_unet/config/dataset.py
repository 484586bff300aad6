"""The dataset: the built-in sample, a download of xBD, or one in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xview2_siamese_unet.config.validation import PathPart, Strict

Tier = Literal["tier1", "tier3", "hold", "test"]
"""A folder of the xBD download."""
SourceKind = Literal["sample", "xbd", "other"]
SceneCount = Annotated[int, Field(ge=0, le=100_000)]


class SampleScenes(Strict):
    """Scenes of the built-in sample in each folder of the xBD layout."""

    tier1: SceneCount = 24
    """Scenes in the folder tier1, for training."""
    tier3: SceneCount = 8
    """Scenes in the folder tier3, for training and validation."""
    hold: SceneCount = 8
    """Scenes in the folder hold, for validation."""
    test: SceneCount = 8
    """Scenes in the folder test."""


class SampleParams(Strict):
    """The built-in sample."""

    seed: int = Field(default=7, ge=0)
    """Random seed: the same seed gives the same bytes."""
    size: int = Field(default=256, ge=64, le=4096, multiple_of=32)
    """Width and height of a scene in pixels; xBD has 1024."""
    scenes: SampleScenes = SampleScenes()


class SubsetParams(Strict):
    """Limits on the scenes used; both apply at once."""

    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the scenes of each event."""
    count: int | None = Field(default=None, ge=1)
    """Largest number of scenes, over all events, in proportion to their size."""


class DatasetParams(Strict):
    """The scenes."""

    source: SourceKind = "sample"
    """`sample` makes synthetic scenes; `xbd` reads a download in place; `other` converts the dataset of the catalog
    entry `download`, which has another layout."""
    name: PathPart = "sample"
    """Name of the folders for what is made from these scenes, so that two datasets never mix."""
    root: Path | None = None
    """Folder that holds tier1 (or train), tier3, hold and test, or a zip or tar file of it; only for `source: xbd`. A
    relative path starts at the project folder."""
    use_main_dataset: bool = True
    """`false` uses the subset below instead of all scenes."""
    subset: SubsetParams = SubsetParams()
    sample: SampleParams = SampleParams()

    @model_validator(mode="after")
    def _root_of_xbd(self) -> Self:
        if self.source == "xbd" and self.root is None:
            raise ValueError("needs root, the folder that holds tier1, tier3, hold and test, for source xbd")
        return self
