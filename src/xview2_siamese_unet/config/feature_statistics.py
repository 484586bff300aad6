"""Class weights and sample weights from the masks."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from xview2_siamese_unet.config.validation import Strict


class ClassWeightParams(Strict):
    """Class weights from pixel counts, scaled to a mean of 1 and then clipped."""

    method: Literal["inverse", "sqrt_inverse", "effective_number", "list", "none"] = "sqrt_inverse"
    """`effective_number` is (1 − beta) / (1 − beta ** count), Cui et al. 2019, doi:10.1109/CVPR.2019.00949."""
    beta: float = Field(default=0.9999999, gt=0, lt=1)
    """Only for `effective_number`."""
    pre: tuple[float, ...] | None = None
    """Only for `list`: weights of background and building."""
    post: tuple[float, ...] | None = None
    """Only for `list`: weights of background and the damage classes that are trained."""
    clip: float | None = Field(default=10.0, gt=0)
    """Largest weight; `null` clips nothing."""

    @model_validator(mode="after")
    def _both_lists(self) -> Self:
        if self.method == "list" and (self.pre is None or self.post is None):
            raise ValueError("needs both pre and post for method list")
        return self


class SampleWeightParams(Strict):
    """Sampling weights of the training scenes.

    1 + damaged·[any minor, major, destroyed] + rare·[any minor, major] + rare_pixels·(minor + major) / buildings

    where [ ] is 1 if there is any such pixel, else 0, and the last term counts pixels; `empty` if the scene has no
    building.
    """

    empty: float = Field(default=0.5, ge=0)
    """Weight of a scene without buildings."""
    damaged: float = Field(default=1.0, ge=0)
    """Added if any pixel is minor-damage, major-damage or destroyed."""
    rare: float = Field(default=1.0, ge=0)
    """Added if any pixel is minor-damage or major-damage."""
    rare_pixels: float = Field(default=0.0, ge=0)
    """Added in proportion to the share of minor- and major-damage among the pixels of buildings."""


class FeatureStatisticsParams(Strict):
    """Class weights and sample weights from the masks."""

    class_weights: ClassWeightParams = ClassWeightParams()
    sample_weights: SampleWeightParams = SampleWeightParams()
