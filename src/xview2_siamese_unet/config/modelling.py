"""The net, its training and its decision rule; keys have the names of the original university project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from xview2_siamese_unet.config.validation import Strict

Width = Annotated[int, Field(ge=1)]
LossWeight = Annotated[float, Field(ge=0)]
VoteWeight = Annotated[float, Field(gt=0)]
VoteWeights = tuple[VoteWeight, VoteWeight, VoteWeight, VoteWeight]
Tta = Literal["none", "flips", "d4"]
Unclassified = Literal["ignore", "no_damage", "class"]


class ClassesParams(Strict):
    """The meaning of the labels."""

    unclassified: Unclassified = "ignore"
    """`ignore`: a building for localisation, not counted for damage; `no_damage`; or a separate `class`."""

    @property
    def damage_classes(self) -> int:
        """Number of classes of the damage head, including background."""
        return 6 if self.unclassified == "class" else 5


class EncoderWeightsParams(Strict):
    """Initial weights of the encoder."""

    source: Literal["none", "package", "cache", "hub", "file"] = "none"
    """`none`: random; `package`: of an installed package, for `tu-tf_efficientnet_lite0` to `lite2`;
    `cache`: downloaded before; `hub`: download if needed; `file`: the path below."""
    name: str = "imagenet"
    """Name of the weights in segmentation-models-pytorch, for `cache` and `hub`."""
    path: Path | None = None
    """A .safetensors or .pth file of encoder weights, for `file`."""

    @model_validator(mode="after")
    def _path_of_file(self) -> Self:
        if self.source == "file" and self.path is None:
            raise ValueError("needs path for source file")
        return self


class EncoderParams(Strict):
    """The encoder."""

    name: str = "resnet50"
    """Any encoder of segmentation-models-pytorch, or tu-<name> of timm, such as tu-convnext_tiny."""
    weights: EncoderWeightsParams = EncoderWeightsParams()


class ModelParams(Strict):
    """The net."""

    architecture: Literal["siamese_unet", "seed"] = "siamese_unet"
    """`seed`: the net of the university project, two nets without skips, for comparison."""
    encoder: EncoderParams = EncoderParams()
    decoder: str = "unet"
    """`unet`, `unetplusplus`, `fpn`, `upernet` or `segformer` of segmentation-models-pytorch, or another name in
    `models/decoders.py`; these last three predict at a quarter of the size, and logits are resized."""
    decoder_channels: tuple[Width, ...] = Field(default=(256, 128, 64, 32, 16), min_length=3, max_length=5)
    """Channels from the deepest level to the full size; `unet` with fewer than five stops at a half or a quarter of it.
    `fpn` takes the first two (pyramid and segmentation, a multiple of 32), `upernet` and `segformer` the first."""
    bottleneck: int | None = Field(default=512, ge=1)
    """Channels to which `unet` and `unetplusplus` reduce wider features of the deepest level (2048 in ResNet50);
    `null` reduces nothing, and each step takes longer."""
    share_weights: bool = True
    """One U-Net for both images; `false` gives each image its own."""
    fusion: Literal["concat", "difference", "both"] = "both"
    """Input of the damage head: the features of both images, their difference, or both."""
    fusion_levels: Literal["last", "all"] = "last"
    """Fuse the features of the decoder, or those of each level of the encoder, which are then decoded."""
    normalisation: Literal["measured", "imagenet"] = "measured"
    """Mean and standard deviation of the training split, or of ImageNet."""


class SchedulerParams(Strict):
    """CosineAnnealingWarmRestarts, stepped at every batch; names as in torch."""

    T_0: int = Field(default=10, ge=1)
    """Epochs to the first restart."""
    T_mult: int = Field(default=1, ge=1)
    """Factor by which each next period is longer."""
    eta_min: float = Field(default=1e-6, ge=0)
    """Lowest learning rate."""


class AugmentationParams(Strict):
    """Random changes of a training batch, computed on its device."""

    flips: bool = True
    """Flips and quarter turns, the same for images and masks."""
    brightness: float = Field(default=0.15, ge=0, lt=1)
    """Largest relative change of brightness, independent for each image."""
    contrast: float = Field(default=0.15, ge=0, lt=1)
    """Largest relative change of contrast, independent for each image."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Largest rotation in degrees, in addition to quarter turns."""
    scale: float = Field(default=0.0, ge=0, lt=1)
    """Largest relative change of size."""
    shift: float = Field(default=0.0, ge=0, lt=1)
    """Largest shift, as a share of the crop."""
    post_shift: float = Field(default=0.0, ge=0)
    """Largest shift of only the post-disaster image, in pixels, because of leaning roofs and georeferencing errors."""


class LossMix(Strict):
    """Weights of the losses summed for the localisation head; 0 leaves one out.

    Further losses of `training/losses.py` are named in the same way.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, LossWeight]  # losses without a field; `check_losses` refuses unknown names

    focal: LossWeight = 1.0
    """Softmax focal loss, with `focal_loss.gamma` and `focal_loss.alpha`."""
    cross_entropy: LossWeight = 0.0
    """Cross entropy, with class weights if `focal_loss.alpha` sets them."""
    dice: LossWeight = 0.0
    """One minus the Dice coefficient, a smooth F1."""
    lovasz: LossWeight = 0.0
    """Lovász-softmax, a smooth intersection over union, Berman et al. 2018, arXiv:1705.08790."""

    @classmethod
    def _is_number(cls, name: str) -> bool:
        return True  # also a weight without a field


class DamageLossMix(LossMix):
    """The same for the damage head; dice, Lovász and ordinal count buildings only."""

    ordinal: LossWeight = 0.0
    """Squared earth mover's distance over no-damage to destroyed: two classes off costs more than one."""


class LossesParams(Strict):
    """Losses of each head."""

    pre: LossMix = LossMix()
    post: DamageLossMix = DamageLossMix()


class TrainingParams(Strict):
    """The training loop."""

    seed: int = Field(default=0, ge=0)
    """Seed of the initial weights, the sampler and the augmentation."""
    epochs: int = Field(default=40, ge=1)
    """Largest number of epochs; `patience` may stop earlier."""
    batch_size: int = Field(default=16, ge=1)
    """Crops in a batch, over all ranks."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Peak learning rate of AdamW."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay of AdamW."""
    scheduler: SchedulerParams = SchedulerParams()
    patience: int = Field(default=8, ge=1)
    """Epochs without a better value before training stops."""
    delta: float = Field(default=0.0, ge=0)
    """Change that counts as better."""
    monitor: Literal[
        "validation_loss",
        "validation_score",
        "validation_mean_score",
        "validation_localization_f1",
        "validation_damage_f1",
    ] = "validation_score"
    """Metric that decides the best checkpoint and early stopping; `validation_mean_score` takes the plain mean of the
    F1 of the classes in the scenes: the official score cannot distinguish models once a class is missed."""
    crop: int | None = Field(default=512, ge=32, multiple_of=32)
    """Side of the random crop in pixels; `null` trains on whole scenes."""
    crops_per_scene: int = Field(default=1, ge=1)
    """Crops of each scene in an epoch, on average."""
    gradient_clip: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient; `null` clips nothing."""
    sampler: Literal["weighted", "uniform"] = "weighted"
    """`weighted` samples scenes by their sample weights, with replacement."""
    augmentation: AugmentationParams = AugmentationParams()
    losses: LossesParams = LossesParams()
    localization_epochs: int = Field(default=0, ge=0)
    """Epochs of a first stage that trains only localisation; the whole net then starts from its weights."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs in which the learning rate rises to its peak, before the first period of the schedule."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients are accumulated before a step."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Decay per step of the averaged weights that are validated and saved; `null` uses those of the last step."""
    batch_norm: Literal["learn", "synchronise", "freeze"] = "learn"
    """`synchronise`: statistics over all ranks; `freeze`: keep those of the initial weights."""
    damage_dilation: int = Field(default=1, ge=1)
    """Side in pixels, odd, of the square by which buildings grow in the damage target of training; 1 grows nothing."""
    crop_candidates: int = Field(default=1, ge=1)
    """Random crops compared for each one taken, which is the one with most of the rare classes."""
    lr_find: bool = False
    """Run a learning rate range test first and write its suggestion next to the logs; `learning_rate` stays."""
    reuse: bool = True
    """Reuse or resume the newest run of the same settings, data and code; `false` begins a new run."""

    @field_validator("damage_dilation")
    @classmethod
    def _odd(cls, side: int) -> int:
        if side % 2 == 0:
            raise ValueError("must be an odd number of pixels")
        return side


class PredictionParams(Strict):
    """The decision rule, kept in the checkpoint; a change refits it without training."""

    tta: Tta = "none"
    """Views of a scene whose logits are averaged: as it is, its four flips, or all eight symmetries of a square."""
    vote: Literal["none", "connected"] = "none"
    """`connected`: one damage class for each predicted building, a connected component of pixels."""
    vote_weights: VoteWeights = (1.0, 1.0, 1.0, 1.0)
    """Factors of the summed probabilities of no damage to destroyed in the vote; `tune` starts from them."""
    tune: bool = False
    """Tune the probability thresholds of a building and the weights of the vote on the validation scenes."""
    calibrate: bool = True
    """Fit one temperature for each head on the validation scenes, so that probabilities are calibrated."""


class LossWeightsParams(Strict):
    """Weights of the two heads in the loss."""

    pre: float = Field(default=1.0, ge=0)
    """Localisation, from pre-disaster features."""
    post: float = Field(default=1.0, ge=0)
    """Damage, from both images."""


class FocalLossParams(Strict):
    """Softmax focal loss, Lin et al. 2017, arXiv:1708.02002."""

    gamma: float = Field(default=2.0, ge=0)
    """0 is cross entropy."""
    alpha: Literal["class_weights", "none"] = "class_weights"
    """Weights of the classes."""


class DataloaderParams(Strict):
    """Loading of batches."""

    location: Literal["auto", "host", "device"] = "auto"
    """Keep the scenes in the memory of the device, where crops are cut without loading, or in that of the host, as a
    map of the file; `auto` uses a GPU if they fill at most 60 % of its free memory."""
    num_workers_multiplier: float = Field(default=1.0, ge=0)
    """Workers for each core that this process may use; 0 loads in the process itself."""
    pin_memory: bool = True
    """Page-locked host memory, if there is a GPU."""


class HardwareParams(Strict):
    """Device and precision."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto` uses a GPU if there is one."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """`auto` uses bfloat16 if the hardware supports it."""
    channels_last: bool = True
    """Memory format with the channels innermost, which is faster on CPU and GPU."""
    compile: bool = False
    """Compile the net with torch.compile: minutes at the start, faster steps after; not in a first stage that
    trains only localisation."""
    deterministic: bool = False
    """Refuse operations whose result varies from run to run, at some cost in speed."""
    profile: bool = False
    """Profile the steps: shares of data loading, forward, backward and optimiser, in log and history."""


class Recipe(Strict):
    """All settings of a training."""

    model: ModelParams
    classes: ClassesParams
    training: TrainingParams
    prediction: PredictionParams
    loss_weights: LossWeightsParams
    focal_loss: FocalLossParams
    dataloader: DataloaderParams
    hardware: HardwareParams
