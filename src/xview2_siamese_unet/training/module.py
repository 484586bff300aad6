"""What one step of training and of validation does; the loop around it is Lightning's."""

from __future__ import annotations

import logging
from functools import reduce
from typing import Any, Self

import lightning
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.metrics.confusion import Counts, count_scene
from xview2_siamese_unet.metrics.scores import official_score
from xview2_siamese_unet.models.build import DamageNet
from xview2_siamese_unet.models.normalise import Normalise
from xview2_siamese_unet.models.postprocess import decide, probabilities
from xview2_siamese_unet.models.siamese_unet import Logits
from xview2_siamese_unet.training.augment import augment
from xview2_siamese_unet.training.losses import Spread, mix_losses
from xview2_siamese_unet.training.pairs import Batch, unpack
from xview2_siamese_unet.training.panel import Panels
from xview2_siamese_unet.training.schedule import learning_rate

_log = logging.getLogger(__name__)
_LOOKED_AT = 10  # steps between two looks at the loss
_PARTS = ("train_loss_localization", "train_loss_damage")
_VALIDATED = ("validation_loss", "validation_score", "validation_localization_f1", "validation_damage_f1")


class DamageModule(lightning.LightningModule):
    """A Siamese U-Net while it learns.

    Args:
        net: what learns.
        normalise: grey values → what the net expects.
        recipe: losses, optimiser and schedule.
        class_weights: `pre` (2,) and `post` (k,), for the loss.
    """

    alpha_pre: Tensor | None
    alpha_post: Tensor | None

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
            # None is no buffer; a tensor moves to the device with the module.
            self.register_buffer(f"alpha_{phase}", torch.tensor(weights) if use_weights else None, persistent=False)
        self.history: list[dict[str, float]] = []
        self.pretrained: dict[str, str] = {}
        self.profile: dict[str, float] = {}
        self._counts = Counts.zero()
        self._losses: list[Tensor] = []
        self._panels = Panels()
        self._rate = 0.0
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Switch to training, which frozen batch norms do not follow."""
        super().train(mode)
        if self.recipe.training.batch_norm == "freeze":
            for layer in self.net.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        return self

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
        """Make what is random in a step a function of seed, step and process: a resumed run repeats it."""
        # Not the steps of the optimiser, of which one may take several batches.
        step = self.current_epoch * int(self.trainer.num_training_batches) + batch_idx
        numbers = np.random.SeedSequence([self.recipe.training.seed, step, self.global_rank])
        torch.manual_seed(int(numbers.generate_state(1)[0]))

    def training_step(self, pixels: Tensor) -> Tensor:
        """Return the loss of one batch of bytes (b, h, w, 8)."""
        parts = self._parts_of(pixels, self._spread)
        loss = reduce(torch.add, parts)
        self._rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        of_all: dict[str, Any] = {"on_epoch": True, "batch_size": len(pixels), "sync_dist": True}
        self.log("train_loss", loss, on_step=True, prog_bar=True, **of_all)
        self.log_dict(dict(zip(_PARTS, parts, strict=False)), on_step=False, **of_all)  # the first stage has one part
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Stop a net that diverged; not at every step, because to read the loss is to wait for the device.

        Raises:
            ConfigError: the loss is no number.
        """
        skipped = self.trainer.precision == "16-mixed"  # its scaler leaves such a step out, and the net recovers
        if not skipped and batch_idx % _LOOKED_AT == 0:
            self._refuse_divergence(outputs["loss"], "a step")

    def loss_of(self, pixels: Tensor, spread: Spread) -> Tensor:
        """Return the loss of one batch of bytes (b, h, w, 8), augmented anew; needs no trainer.

        Args:
            pixels: where the module is.
            spread: mean of numbers over all processes.
        """
        return reduce(torch.add, self._parts_of(pixels, spread))

    def _parts_of(self, pixels: Tensor, spread: Spread) -> list[Tensor]:
        """Return what each head adds to the loss: localisation, and damage where it learns."""
        training = self.recipe.training
        truth = unpack(pixels, self.recipe.classes.unclassified, training.damage_dilation)
        batch = augment(truth, training.augmentation)
        if self.recipe.loss_weights.post:
            return self._losses_of(self._forward(batch), batch, spread)
        return [self._localization_loss(self.net.localise(self.normalise(batch.pre)), batch, spread)]

    def on_validation_epoch_start(self) -> None:
        """Start counting anew, in every process with the same net: each has seen other batches to normalise by."""
        self._counts, self._losses, self._panels = Counts.zero(), [], Panels()
        if self.trainer.world_size > 1:
            for buffer in self.net.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self._mean(buffer.clone()))

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient and log its length in one pass; Lightning itself refuses a fused optimiser in bfloat16."""
        if gradient_clip_val is None:
            norm = torch.nn.utils.get_total_norm([w.grad for w in self.net.parameters() if w.grad is not None])
        else:
            norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), gradient_clip_val)
        self.log("gradient_norm", norm)

    def validation_step(self, pixels: Tensor, batch_idx: int) -> None:
        """Add one batch of whole scenes to counts and losses; what they are does not depend on how they are batched."""
        batch = unpack(pixels, self.recipe.classes.unclassified)
        logits = self._forward(batch)
        for n in range(len(pixels)):
            alone = Logits(*(part[n : n + 1] for part in logits)), Batch(*(part[n : n + 1] for part in batch))
            # Processes have different numbers of scenes to validate, and would wait for each other.
            self._losses.append(reduce(torch.add, self._losses_of(*alone, torch.clone)))
        for scene, answer in zip(pixels.cpu().numpy(), decide(probabilities(logits)).cpu().numpy(), strict=True):
            self._counts += count_scene(scene[..., 6], scene[..., 7], answer, scene="validation")
            self._panels.offer(scene, answer)

    def on_validation_epoch_end(self) -> None:
        """Log loss and official score of all scenes, whichever process looked at them.

        Raises:
            ConfigError: the loss is no number; no checkpoint has been written of this epoch.
        """
        total = sum(self._losses, torch.zeros((), device=self.device))
        scenes = torch.tensor(float(len(self._losses)), device=self.device)
        loss = self._sum(total) / self._sum(scenes)
        self._refuse_divergence(loss, "validation")
        self.log("validation_loss", loss)
        counts = (
            self._sum(torch.from_numpy(part).to(self.device))
            for part in (self._counts.localization, self._counts.damage)
        )
        scores = official_score(Counts(*(part.cpu().numpy() for part in counts)), self.recipe.classes.unclassified)
        self.log_dict({f"validation_{name}": value for name, value in scores.items() if name != "score"})
        self.log("validation_score", scores["score"], prog_bar=True)
        if isinstance(self.logger, TensorBoardLogger) and self.trainer.is_global_zero:
            self.logger.experiment.add_image("validation", self._panels.picture(), self.global_step, dataformats="HWC")

    def on_train_epoch_end(self) -> None:
        """Add a row to the history; validation has already run."""
        logged = self.trainer.callback_metrics
        row = {name: float(logged[name]) for name in ("train_loss_epoch", *_VALIDATED)}
        row["train_loss"] = row.pop("train_loss_epoch")
        parts = {name: float(logged[name]) for name in _PARTS if name in logged}
        self.history.append({"epoch": self.current_epoch, "learning_rate": self._rate, **row, **parts, **self.profile})
        text = ", ".join(f"{name} {value:.4f}" for name, value in row.items())
        _log.info("epoch %d: %s", self.current_epoch, text.replace("validation_", "validation "))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what a resumed run needs beside weights and optimiser."""
        checkpoint["history"] = self.history
        checkpoint["pretrained"] = self.pretrained

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history up again."""
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
            fused=self.trainer.precision != "16-mixed",  # which would scale gradients back behind the clipping
        )
        epoch = training.epochs / float(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate(step * epoch, peak, training.scheduler, training.warmup_epochs) / peak
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _refuse_divergence(self, loss: Tensor, of: str) -> None:
        if not loss.isfinite():
            rate, epoch = self.recipe.training.learning_rate, self.current_epoch
            raise ConfigError(
                "training.learning_rate",
                found=f"{rate:g}, with which the net diverged: in epoch {epoch} the loss of {of} is {loss:g}",
                allowed="a rate at which the loss stays a number",
                remedy=f"lower it, for example to {rate / 10:g}, or with hardware.precision 16-mixed take bf16-mixed",
            )

    def _sum(self, number: Tensor) -> Tensor:
        total: Tensor = self.trainer.strategy.reduce(number, reduce_op="sum")
        return total

    def _mean(self, number: Tensor) -> Tensor:
        mean: Tensor = self.trainer.strategy.reduce(number, reduce_op="mean")
        return mean

    def _spread(self, numbers: Tensor) -> Tensor:
        if self.trainer.world_size == 1:
            return numbers
        gathered: Tensor = self.all_gather(numbers, sync_grads=True)  # type: ignore[assignment]
        return gathered.mean(dim=0)

    def _forward(self, batch: Batch) -> Logits:
        logits: Logits = self.net(self.normalise(batch.pre), self.normalise(batch.post))
        return logits

    def _losses_of(self, logits: Logits, batch: Batch, spread: Spread) -> list[Tensor]:
        mix, weight = self.recipe.training.losses.post, self.recipe.loss_weights.post
        gamma = self.recipe.focal_loss.gamma
        post = mix_losses(logits.damage, batch.damage, mix, alpha=self.alpha_post, gamma=gamma, spread=spread)
        return [self._localization_loss(logits.building, batch, spread), weight * post]

    def _localization_loss(self, building: Tensor, batch: Batch, spread: Spread) -> Tensor:
        mix, weight = self.recipe.training.losses.pre, self.recipe.loss_weights.pre
        gamma = self.recipe.focal_loss.gamma
        return weight * mix_losses(building, batch.building, mix, alpha=self.alpha_pre, gamma=gamma, spread=spread)
