"""Label files → masks and splits."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from xview2_siamese_unet.config.dataset import Tier
from xview2_siamese_unet.config.validation import Share, Strict

TierShares = dict[Tier, Share]


class MaskParams(Strict):
    """Polygons → pixels."""

    rule: Literal["centre", "outline"] = "centre"
    """`centre`: a pixel belongs to a polygon that contains its centre; `outline`: also every pixel that it touches."""


class SplitParams(Strict):
    """Shares of the scenes of each folder in each split; the rest is not used."""

    train: TierShares = Field(default={"tier1": 1.0, "tier3": 0.75})
    """Share of each folder in the training split."""
    validation: TierShares = Field(default={"hold": 1.0, "tier3": 0.25})
    """Share in the validation split, which decides the best epoch and early stopping."""
    test: TierShares = Field(default={"test": 1.0})
    """Share in the test split, which is scored."""
    leave_events_out: tuple[str, ...] = ()
    """Events in the test split only: none of their scenes is used for training or validation."""
    fold: tuple[PositiveInt, PositiveInt] | None = None
    """Cross-validation over all scenes, instead of the shares: `[2, 5]` tests on the second of five parts of the scenes
    of each event, and validates on a quarter of the others."""
    file: Path | None = None
    """A CSV with the columns scene and split, instead of all of the above."""
    seed: int = Field(default=0, ge=0)
    """Start of the systematic sampling of scenes in each event; 0 splits all of xBD into 7,574 and 2,526 pairs."""

    @field_validator("fold")
    @classmethod
    def _part_of_parts(cls, fold: tuple[int, int] | None) -> tuple[int, int] | None:
        if fold is not None and not fold[0] <= fold[1] >= 2:
            raise ValueError(f"is part {fold[0]} of {fold[1]}; there are two parts or more, numbered from 1")
        return fold

    @model_validator(mode="after")
    def _no_scene_twice(self) -> Self:
        for tier in {*self.train, *self.validation, *self.test}:
            total = sum(shares.get(tier, 0.0) for shares in (self.train, self.validation, self.test))
            if total > 1 + 1e-9:
                raise ValueError(f"has shares of {tier} that add up to {total:g}, more than 1")
        return self


class ShardParams(Strict):
    """Part of the scenes that one task of a job array processes."""

    index: int = Field(default=0, ge=0)
    """Number of this part, from 0."""
    count: int = Field(default=1, ge=1)
    """Number of parts."""

    @model_validator(mode="after")
    def _index_in_count(self) -> Self:
        if self.index >= self.count:
            raise ValueError(f"has index {self.index} of {self.count} parts, which are numbered from 0")
        return self


class DataProcessingParams(Strict):
    """Label files → masks and splits."""

    on_problem: Literal["stop", "skip"] = "stop"
    """A scene that cannot be used stops the run, or is skipped and listed in the ingest report."""
    masks: MaskParams = MaskParams()
    split: SplitParams = SplitParams()
    shard: ShardParams = ShardParams()
