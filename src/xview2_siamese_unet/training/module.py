"""The LightningModule: steps of training and validation, optimiser and schedule."""

from __future__ import annotations

import logging
from functools import reduce
from typing import Any, Literal, Self

import lightning
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.metrics.confusion import N_JOINT, Counts, joint_codes
from xview2_siamese_unet.metrics.scores import mean_scores, official_score
from xview2_siamese_unet.models.build import DamageNet
from xview2_siamese_unet.models.postprocess import Logits, decide, probabilities
from xview2_siamese_unet.models.siamese_unet import Normalise
from xview2_siamese_unet.models.tensors import ClassLogits, Scalar, SceneTensor, Targets
from xview2_siamese_unet.training.augmentation import augment
from xview2_siamese_unet.training.data import Batch, unpack_batch
from xview2_siamese_unet.training.learning_rate import learning_rate
from xview2_siamese_unet.training.logging import Panels, StepProfiler
from xview2_siamese_unet.training.losses import ReduceMean, mix_losses

_log = logging.getLogger(__name__)
_CHECK_EVERY = 10  # steps between two checks of the loss
_LOSSES = ("train_loss_localization", "train_loss_damage")
_VALIDATED = tuple(f"validation_{name}" for name in ("loss", "score", "mean_score", "localization_f1", "damage_f1"))


class DamageModule(lightning.LightningModule):
    """A Siamese U-Net in training.

    Args:
        net: with its first weights.
        normalise: grey values → input of the net.
        recipe: losses, optimiser and schedule.
        class_weights: `pre` (2,) and `post` (k,), for the loss.
    """

    def __init__(
        self,
        net: DamageNet,
        normalise: Normalise,
        recipe: Recipe,
        class_weights: dict[str, list[float]],
    ) -> None:
        super().__init__()
        self.net = net
        self.normalise = normalise
        self.recipe = recipe
        use_weights = recipe.focal_loss.alpha == "class_weights"
        for phase, weights in class_weights.items():
            self.register_buffer(f"alpha_{phase}", torch.tensor(weights) if use_weights else None, persistent=False)
        self.history: list[dict[str, float]] = []
        self.pretrained: dict[str, str] = {}
        self._joint = torch.zeros(N_JOINT, dtype=torch.int64)
        self._validation_losses: list[Tensor] = []
        self._panels = Panels()
        self._rate = 0.0
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, except for frozen batch norms."""
        super().train(mode)
        if self.recipe.training.batch_norm == "freeze":
            for layer in self.net.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        return self

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
        """Seed the step, so that a resumed run repeats it."""
        # Batches are counted, not optimiser steps, of which one may take several batches.
        step = self.current_epoch * int(self.trainer.num_training_batches) + batch_idx
        numbers = np.random.SeedSequence([self.recipe.training.seed, step, self.global_rank])
        torch.manual_seed(int(numbers.generate_state(1)[0]))

    def training_step(self, pixels: SceneTensor) -> Scalar:
        """Return the loss of one batch of bytes."""
        losses = self._training_losses(pixels, self._mean_over_ranks)
        loss = reduce(torch.add, losses)
        self._rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("train_loss_step", loss, prog_bar=True)  # of this rank: the others would wait
        epoch = {"train_loss_epoch": loss, **dict(zip(_LOSSES, losses, strict=False))}  # the first stage has one
        self.log_dict(epoch, on_step=False, on_epoch=True, batch_size=len(pixels), sync_dist=True)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Stop a net that diverged.

        Raises:
            ConfigError: the loss is not finite.
        """
        skipped = self.trainer.precision == "16-mixed"  # the gradient scaler skips such a step, and the net recovers
        # Not at every step, because reading the loss waits for the device.
        if not skipped and batch_idx % _CHECK_EVERY == 0:
            self._refuse_divergence(outputs["loss"], "training")

    def training_loss(self, pixels: SceneTensor, reduce_mean: ReduceMean) -> Scalar:
        """Return the loss of bytes on the module's device, without a trainer."""
        return reduce(torch.add, self._training_losses(pixels, reduce_mean))

    def _training_losses(self, pixels: SceneTensor, reduce_mean: ReduceMean) -> list[Scalar]:
        """Return the weighted loss of localisation, and of damage if it has a weight."""
        training = self.recipe.training
        truth = unpack_batch(pixels, self.recipe.classes.unclassified, training.damage_dilation)
        batch = augment(truth, training.augmentation)
        if self.recipe.loss_weights.post:
            return self._losses(self._forward(batch), batch, reduce_mean)
        building = self.net.localise(self.normalise(batch.pre))
        return [self._head_loss("pre", building, batch.building, reduce_mean)]

    def on_validation_epoch_start(self) -> None:
        """Reset the counts, and average batch norm statistics over ranks."""
        self._joint = torch.zeros(N_JOINT, dtype=torch.int64, device=self.device)
        self._validation_losses, self._panels = [], Panels()
        if self.trainer.world_size > 1:  # each rank was trained on other batches
            for buffer in self.net.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self._reduce(buffer.clone(), "mean"))

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient and log its norm."""
        # Not by Lightning, which refuses to clip for a fused optimiser in bfloat16.
        if gradient_clip_val is None:
            norm = torch.nn.utils.get_total_norm([w.grad for w in self.net.parameters() if w.grad is not None])
        else:
            norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), gradient_clip_val)
        self.log("gradient_norm", norm)

    def validation_step(self, pixels: SceneTensor, batch_idx: int) -> None:
        """Count a batch of whole scenes; results do not depend on the batch size."""
        batch = unpack_batch(pixels, self.recipe.classes.unclassified)
        logits = self._forward(batch)
        for n in range(len(pixels)):
            scene = Logits(*(part[n : n + 1] for part in logits)), Batch(*(part[n : n + 1] for part in batch))
            # No reduction over ranks, which have different numbers of scenes and would wait for each other.
            self._validation_losses.append(reduce(torch.add, self._losses(*scene, torch.clone)))
        predicted = decide(probabilities(logits))
        joint = joint_codes((predicted > 0).to(torch.uint8), pixels[..., 6], pixels[..., 7], predicted)
        self._joint += torch.bincount(joint.flatten(), minlength=N_JOINT)
        self._panels.offer(pixels, predicted)

    def on_validation_epoch_end(self) -> None:
        """Log loss and official score of the scenes of all ranks.

        Raises:
            ConfigError: the loss is not finite; no checkpoint of this epoch has been written.
        """
        total = sum(self._validation_losses, torch.zeros((), device=self.device))
        scenes = torch.tensor(float(len(self._validation_losses)), device=self.device)
        loss = self._reduce(total, "sum") / self._reduce(scenes, "sum")
        self._refuse_divergence(loss, "validation")
        self.log("validation_loss", loss)
        counts = Counts.from_joint(self._reduce(self._joint, "sum").cpu().numpy())
        scores = official_score(counts, self.recipe.classes.unclassified)
        self.log_dict({f"validation_{name}": value for name, value in scores.items() if name != "score"})
        self.log("validation_score", scores["score"], prog_bar=True)
        self.log("validation_mean_score", float(mean_scores(counts, self.recipe.classes.unclassified)["score"]))
        if isinstance(self.logger, TensorBoardLogger) and self.trainer.is_global_zero:
            self.logger.experiment.add_image("validation", self._panels.image(), self.global_step, dataformats="HWC")

    def on_train_epoch_end(self) -> None:
        """Add a row to the history; validation has already run."""
        logged = self.trainer.callback_metrics
        row = {name: float(logged[name]) for name in ("train_loss_epoch", *_VALIDATED)}
        row["train_loss"] = row.pop("train_loss_epoch")
        text = ", ".join(f"{name} {value:.4f}" for name, value in row.items())
        _log.info("epoch %d: %s", self.current_epoch, text.replace("validation_", "validation "))
        row |= {name: float(logged[name]) for name in _LOSSES if name in logged}
        profiler = self.trainer.profiler  # type: ignore[attr-defined]
        if isinstance(profiler, StepProfiler):
            pairs = len(self.trainer.train_dataloader.sampler) * self.trainer.world_size  # type: ignore[union-attr]
            row |= profiler.end_epoch(self.current_epoch, pairs)
        self.history.append({"epoch": self.current_epoch, "learning_rate": self._rate, **row})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add history and origin of the first weights, for a resumed run."""
        checkpoint["history"] = self.history
        checkpoint["pretrained"] = self.pretrained

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore history and origin of the first weights."""
        self.history = checkpoint["history"]
        self.pretrained = checkpoint["pretrained"]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW, and a schedule stepped at every batch."""
        training = self.recipe.training
        peak = training.learning_rate
        optimizer = torch.optim.AdamW(
            self.net.parameters(),
            lr=peak,
            weight_decay=training.weight_decay,
            fused=self.trainer.precision != "16-mixed",  # which would unscale gradients after the clipping
        )
        epoch = training.epochs / float(self.trainer.estimated_stepping_batches)
        # Not SequentialLR of LinearLR and CosineAnnealingWarmRestarts: these count whole steps, where warmup_epochs
        # may be a fraction, and LinearLR cannot start from an eta_min of 0.
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate(step * epoch, peak, training.scheduler, training.warmup_epochs) / peak
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _refuse_divergence(self, loss: Scalar, kind: str) -> None:
        if not loss.isfinite():
            rate = self.recipe.training.learning_rate
            raise ConfigError(
                f"The net diverged with training.learning_rate {rate:g}: the {kind} loss in epoch "
                f"{self.current_epoch} is {loss:g}.",
                hint=f"Lower the rate, for example to {rate / 10:g}, or replace hardware.precision 16-mixed by "
                "bf16-mixed.",
            )

    def _reduce(self, number: Tensor, operation: Literal["sum", "mean"]) -> Tensor:
        reduced: Tensor = self.trainer.strategy.reduce(number, reduce_op=operation)
        return reduced

    def _mean_over_ranks(self, numbers: Tensor) -> Tensor:
        if self.trainer.world_size == 1:
            return numbers
        gathered: Tensor = self.all_gather(numbers, sync_grads=True)  # type: ignore[assignment]
        return gathered.mean(dim=0)

    def _forward(self, batch: Batch) -> Logits:
        logits: Logits = self.net(self.normalise(batch.pre), self.normalise(batch.post))
        return logits

    def _losses(self, logits: Logits, batch: Batch, reduce_mean: ReduceMean) -> list[Scalar]:
        building = self._head_loss("pre", logits.building, batch.building, reduce_mean)
        return [building, self._head_loss("post", logits.damage, batch.damage, reduce_mean)]

    def _head_loss(
        self, phase: Literal["pre", "post"], logits: ClassLogits, target: Targets, reduce_mean: ReduceMean
    ) -> Scalar:
        mix, weight = getattr(self.recipe.training.losses, phase), getattr(self.recipe.loss_weights, phase)
        alpha, gamma = getattr(self, f"alpha_{phase}"), self.recipe.focal_loss.gamma
        loss: Scalar = weight * mix_losses(logits, target, mix, alpha=alpha, gamma=gamma, reduce_mean=reduce_mean)
        return loss
