"""The net and how it is trained; sections and keys carry the names of the seed's configuration where it had them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xview2_siamese_unet.params.base import Strict

Unclassified = Literal["ignore", "no_damage", "class"]
Positive = Annotated[float, Field(gt=0)]


class ClassesParams(Strict):
    """What the truth means to this experiment."""

    unclassified: Unclassified = "ignore"
    """`ignore`: a building for localisation, not counted for damage; `no_damage`; or a `class` of its own."""

    @property
    def damage_classes(self) -> int:
        """Classes of the damage head, background among them."""
        return 6 if self.unclassified == "class" else 5


class EncoderWeightsParams(Strict):
    """Where the encoder's first weights come from."""

    source: Literal["none", "cache", "hub", "file"] = "none"
    """`none`: random; `cache`: what an earlier download left; `hub`: download if need be; `file`: the path below."""
    name: str = "imagenet"
    """Name of the weights in segmentation-models-pytorch, for `cache` and `hub`."""
    path: Path | None = None
    """A .safetensors or .pth file of encoder weights, for `file`."""

    @model_validator(mode="after")
    def _path_where_needed(self) -> Self:
        if self.source == "file" and self.path is None:
            raise ValueError("source file needs path")
        return self


class EncoderParams(Strict):
    """One encoder of segmentation-models-pytorch."""

    name: str = "resnet50"
    """Any encoder of segmentation-models-pytorch, such as resnet50 or tu-convnext_tiny."""
    weights: EncoderWeightsParams = EncoderWeightsParams()


class ModelParams(Strict):
    """The net."""

    encoder: EncoderParams = EncoderParams()
    decoder_channels: tuple[int, int, int, int, int] = (256, 128, 64, 32, 16)
    """Channels of the decoder, from the deepest level to the full size."""
    share_weights: bool = True
    """One U-Net for both dates; `false` gives each date its own."""
    fusion: Literal["concat", "difference", "both"] = "both"
    """What the damage head sees of the two dates."""
    normalisation: Literal["measured", "imagenet"] = "measured"
    """Mean and deviation of the training split, or those that ImageNet weights were trained with."""


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


class TrainingParams(Strict):
    """The loop."""

    seed: int = Field(default=0, ge=0)
    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: Positive = 2e-4
    weight_decay: float = Field(default=0.01, ge=0)
    scheduler: SchedulerParams = SchedulerParams()
    patience: int = Field(default=8, ge=1)
    """Epochs without a better value before training stops."""
    delta: float = Field(default=0.0, ge=0)
    """Change that counts as better."""
    monitor: Literal["validation_loss", "validation_score"] = "validation_score"
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
    reuse: bool = True
    """A finished checkpoint with the same settings, data and version is taken in place of training again."""


class HardwareParams(Strict):
    """What computes, and in which numbers."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto` takes a GPU where there is one."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """`auto` takes bfloat16 where the hardware computes in it."""


class LossWeightsParams(Strict):
    """Shares of the two heads in the loss."""

    pre: float = Field(default=1.0, ge=0)
    """Localisation, on the pre-disaster features."""
    post: float = Field(default=1.0, ge=0)
    """Damage, on both dates."""


class FocalLossParams(Strict):
    """Softmax focal loss, Lin et al. 2017, arXiv:1708.02002."""

    gamma: float = Field(default=2.0, ge=0)
    """0 is cross entropy."""
    alpha: Literal["class_weights", "none"] = "class_weights"
    """Weights of the classes."""


class DataloaderParams(Strict):
    """How batches reach the device."""

    num_workers_multiplier: float = Field(default=1.0, ge=0)
    """Workers for each core that this process may use; 0 reads in the process itself."""
    pin_memory: bool = True
    """Page-locked host memory, where there is a GPU."""


class Recipe(Strict):
    """All that decides what a net learns from given data."""

    model: ModelParams
    classes: ClassesParams
    training: TrainingParams
    loss_weights: LossWeightsParams
    focal_loss: FocalLossParams
    dataloader: DataloaderParams
    hardware: HardwareParams
