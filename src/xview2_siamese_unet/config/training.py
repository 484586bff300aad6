"""The loop that trains a net; keys carry the names of the seed's configuration where it had them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from xview2_siamese_unet.config.base import Strict

Share = Annotated[float, Field(ge=0)]


class SchedulerParams(Strict):
    """CosineAnnealingWarmRestarts, stepped at every batch; names as in torch."""

    T_0: int = Field(default=10, ge=1)
    """Epochs to the first restart."""
    T_mult: int = Field(default=1, ge=1)
    """Factor by which each next period is longer."""
    eta_min: float = Field(default=1e-6, ge=0)
    """Lowest learning rate."""


class AugmentationParams(Strict):
    """What happens to a training batch, on the device where it is."""

    flips: bool = True
    """Flips and quarter turns, the same for both dates and masks."""
    brightness: float = Field(default=0.15, ge=0, lt=1)
    """Largest relative change of brightness, drawn for each date alone."""
    contrast: float = Field(default=0.15, ge=0, lt=1)
    """Largest relative change of contrast, drawn for each date alone."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Largest turn in degrees, beside the quarter turns."""
    scale: float = Field(default=0.0, ge=0, lt=1)
    """Largest relative change of size."""
    shift: float = Field(default=0.0, ge=0, lt=1)
    """Largest shift, as a share of the crop."""
    post_shift: float = Field(default=0.0, ge=0)
    """Largest shift of the post-disaster image alone, in pixels: roofs lean, and georeferences are off."""


class LossMix(Strict):
    """Weights of the losses that are added up for the localisation head; 0 leaves one out."""

    focal: Share = 1.0
    """Softmax focal loss, with `focal_loss.gamma` and `focal_loss.alpha`."""
    cross_entropy: Share = 0.0
    """Cross entropy, weighted by class where `focal_loss.alpha` says so."""
    dice: Share = 0.0
    """One minus the Dice coefficient, a smooth F1."""
    lovasz: Share = 0.0
    """Lovász-softmax, a smooth intersection over union, Berman et al. 2018, arXiv:1705.08790."""


class DamageLossMix(LossMix):
    """The same for the damage head; dice, Lovász and ordinal look at building pixels only."""

    ordinal: Share = 0.0
    """Squared earth mover's distance over no-damage to destroyed: two classes off costs more than one."""


class LossesParams(Strict):
    """What each head is trained with."""

    pre: LossMix = LossMix()
    post: DamageLossMix = DamageLossMix()


class TrainingParams(Strict):
    """The loop."""

    seed: int = Field(default=0, ge=0)
    """Of the first weights, the draws of scenes and crops, and the augmentation."""
    epochs: int = Field(default=40, ge=1)
    """Epochs at most; `patience` may stop earlier."""
    batch_size: int = Field(default=16, ge=1)
    """Crops in a batch."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Peak of the learning rate, of AdamW."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay, of AdamW."""
    scheduler: SchedulerParams = SchedulerParams()
    patience: int = Field(default=8, ge=1)
    """Epochs without a better value before training stops."""
    delta: float = Field(default=0.0, ge=0)
    """Change that counts as better."""
    monitor: Literal["validation_loss", "validation_score", "validation_localization_f1", "validation_damage_f1"] = (
        "validation_score"
    )
    """What `patience` and the best checkpoint look at."""
    crop: int | None = Field(default=512, ge=32, multiple_of=32)
    """Side of the random crop in pixels; `null` trains on whole scenes."""
    crops_per_scene: int = Field(default=1, ge=1)
    """Crops drawn from each scene in an epoch, on average."""
    gradient_clip: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient; `null` clips nothing."""
    sampler: Literal["weighted", "uniform"] = "weighted"
    """`weighted` draws scenes by their sample weights, with replacement."""
    augmentation: AugmentationParams = AugmentationParams()
    losses: LossesParams = LossesParams()
    localization_epochs: int = Field(default=0, ge=0)
    """Epochs of a first stage that trains localisation alone; the whole net then starts from its weights."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs over which the learning rate rises to its peak, before the first period of the schedule."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients are added up before a step."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Decay a step of the averaged weights that are validated and saved; `null` takes those of the last step."""
    batch_norm: Literal["learn", "synchronise", "freeze"] = "learn"
    """`synchronise` counts over all processes; `freeze` keeps the statistics that the first weights came with."""
    damage_dilation: int = Field(default=1, ge=1)
    """Side of the square by which damaged buildings grow in the truth of training, odd; 1 grows nothing."""
    crop_candidates: int = Field(default=1, ge=1)
    """Crops looked at for each one taken, which is the one with most of the rare classes."""
    lr_find: bool = False
    """First measure the loss while the rate rises and leave a suggestion beside the logs; `learning_rate` stays."""
    reuse: bool = True
    """Take the newest run of the same settings, data and code, or resume it; `false` begins a new run."""

    @field_validator("damage_dilation")
    @classmethod
    def _odd(cls, side: int) -> int:
        if side % 2 == 0:
            raise ValueError("an odd number of pixels")
        return side
