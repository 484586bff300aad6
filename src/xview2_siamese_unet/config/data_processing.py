"""From label files to masks and splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xview2_siamese_unet.config.base import Strict
from xview2_siamese_unet.config.dataset import Tier

Share = Annotated[float, Field(ge=0, le=1)]
TierShares = dict[Tier, Share]


class MaskParams(Strict):
    """How polygons become pixels."""

    rule: Literal["centre", "outline"] = "centre"
    """`centre`: a pixel belongs to a polygon that holds its centre; `outline`: also every pixel that it touches."""


class SplitParams(Strict):
    """Which scenes are trained on, validated on and tested on.

    Shares are of the scenes of each folder; what no split asks for stays unused.
    """

    train: TierShares = Field(default={"tier1": 1.0, "tier3": 0.75})
    """Share of the scenes of each folder that is trained on."""
    validation: TierShares = Field(default={"hold": 1.0, "tier3": 0.25})
    """Share that chooses the best epoch and when to stop."""
    test: TierShares = Field(default={"test": 1.0})
    """Share that the score is measured on."""
    leave_events_out: tuple[str, ...] = ()
    """Events that are tested on and neither trained nor validated on."""
    file: Path | None = None
    """A CSV with the columns scene and split, in place of all of the above."""
    keep_empty: Share = 1.0
    """Share of the training scenes without buildings that are kept; validation and test keep all of theirs."""
    seed: int = Field(default=0, ge=0)
    """Where in each event the systematic choice of scenes starts; 0 gives all of xBD 7,574 and 2,526 pairs."""

    @model_validator(mode="after")
    def _no_scene_twice(self) -> Self:
        for tier in {*self.train, *self.validation, *self.test}:
            total = sum(shares.get(tier, 0.0) for shares in (self.train, self.validation, self.test))
            if total > 1 + 1e-9:
                raise ValueError(f"the shares of {tier} add up to {total:g}, more than 1")
        return self


class ShardParams(Strict):
    """Which part of the scenes `burn_masks` and `pack_scenes` work on, so that the tasks of a job array share them."""

    index: int = Field(default=0, ge=0)
    """Number of this part, from 0."""
    count: int = Field(default=1, ge=1)
    """Number of parts."""

    @model_validator(mode="after")
    def _index_in_count(self) -> Self:
        if self.index >= self.count:
            raise ValueError(f"index {self.index} of {self.count} parts; they are numbered from 0")
        return self


class DataProcessingParams(Strict):
    """From label files to masks and splits."""

    on_problem: Literal["stop", "skip"] = "stop"
    """A scene that cannot be used stops the run, or is left out and stands in the ingest report."""
    masks: MaskParams = MaskParams()
    split: SplitParams = SplitParams()
    shard: ShardParams = ShardParams()
