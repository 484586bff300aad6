"""The net and how it is trained; sections and keys carry the names of the seed's configuration where it had them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xview2_siamese_unet.config.base import Strict
from xview2_siamese_unet.config.prediction import PredictionParams
from xview2_siamese_unet.config.training import AugmentationParams, SchedulerParams, TrainingParams

__all__ = [
    "AugmentationParams",
    "ClassesParams",
    "DataloaderParams",
    "EncoderParams",
    "EncoderWeightsParams",
    "FocalLossParams",
    "HardwareParams",
    "LossWeightsParams",
    "ModelParams",
    "PredictionParams",
    "Recipe",
    "SchedulerParams",
    "TrainingParams",
    "Unclassified",
]

Width = Annotated[int, Field(ge=1)]
Unclassified = Literal["ignore", "no_damage", "class"]


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

    architecture: Literal["siamese_unet", "seed"] = "siamese_unet"
    """`seed`: two nets without skips that meet at their logits, as the university project had it, for comparison."""
    encoder: EncoderParams = EncoderParams()
    decoder: Literal["unet", "unetplusplus", "fpn", "upernet", "segformer"] = "unet"
    """Of segmentation-models-pytorch; the last three answer at a quarter of the size, and logits are enlarged."""
    decoder_channels: tuple[Width, ...] = Field(default=(256, 128, 64, 32, 16), min_length=3, max_length=5)
    """Channels from the deepest level to the full size; `unet` with fewer than five stops at a half or a quarter of it.
    `fpn` takes the first two (pyramid and segmentation, a multiple of 32), `upernet` and `segformer` the first."""
    bottleneck: int | None = Field(default=512, ge=1)
    """Channels to which `unet` and `unetplusplus` reduce the encoder's deepest features where these are wider, as
    those of ResNet50 are (2048); `null` reduces nothing, and each step takes longer."""
    share_weights: bool = True
    """One U-Net for both dates; `false` gives each date its own."""
    fusion: Literal["concat", "difference", "both"] = "both"
    """What the damage head sees of the two dates."""
    fusion_levels: Literal["last", "all"] = "last"
    """Where the dates are joined: behind the decoder, or at each level of the encoder and then decoded."""
    normalisation: Literal["measured", "imagenet"] = "measured"
    """Mean and deviation of the training split, or those that ImageNet weights were trained with."""

    @model_validator(mode="after")
    def _channels_fit_the_decoder(self) -> Self:
        if self.decoder == "unetplusplus" and len(self.decoder_channels) < 5:
            raise ValueError("five decoder_channels for unetplusplus")
        if self.decoder == "fpn" and self.decoder_channels[1] % 32:
            raise ValueError("a multiple of 32 as second of decoder_channels for fpn")
        return self


class HardwareParams(Strict):
    """What computes, and in which numbers."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto` takes a GPU where there is one."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """`auto` takes bfloat16 where the hardware computes in it."""
    channels_last: bool = True
    """Channels lie beside each other in memory, as the convolutions of CPU and GPU like it best."""
    compile: bool = False
    """Compile the net with torch.compile: minutes at the start, faster steps after; a first stage of localisation alone
    stays as it is."""
    deterministic: bool = False
    """Refuse operations whose result varies from run to run, at some cost of speed."""
    profile: bool = False
    """Say in log and history which share of each step waits for data, goes forward, backward, and optimises."""


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

    location: Literal["auto", "host", "device"] = "auto"
    """Where the scenes lie: on the device, where crops are cut without any loading, or in the host's memory as a map of
    the file; `auto` takes a GPU where they fill at most 60 % of its free memory."""
    num_workers_multiplier: float = Field(default=1.0, ge=0)
    """Workers for each core that this process may use; 0 reads in the process itself."""
    pin_memory: bool = True
    """Page-locked host memory, where there is a GPU."""


class Recipe(Strict):
    """All that decides what a net learns from given data."""

    model: ModelParams
    classes: ClassesParams
    training: TrainingParams
    prediction: PredictionParams
    loss_weights: LossWeightsParams
    focal_loss: FocalLossParams
    dataloader: DataloaderParams
    hardware: HardwareParams
