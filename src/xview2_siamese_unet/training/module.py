"""What one step of training and of validation does; the loop around it is Lightning's."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from xview2_siamese_unet.metrics.confusion import Counts, count_scene
from xview2_siamese_unet.metrics.scores import official_score
from xview2_siamese_unet.nets.decide import decide
from xview2_siamese_unet.nets.normalise import Normalise
from xview2_siamese_unet.nets.siamese_unet import Logits, SiameseUNet
from xview2_siamese_unet.params.modelling import Recipe
from xview2_siamese_unet.training.augment import augment
from xview2_siamese_unet.training.losses import focal_loss
from xview2_siamese_unet.training.pairs import Batch, unpack

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
        self, net: SiameseUNet, normalise: Normalise, recipe: Recipe, class_weights: dict[str, list[float]]
    ) -> None:
        super().__init__()
        self.net = net
        self.normalise = normalise
        self.recipe = recipe
        use_weights = recipe.focal_loss.alpha == "class_weights"
        for phase, weights in class_weights.items():
            # None is no buffer; a tensor moves to the device with the module.
            self.register_buffer(f"alpha_{phase}", torch.tensor(weights) if use_weights else None, persistent=False)
        self._counts = Counts.zero()
        self.history: list[dict[str, float]] = []

    def training_step(self, pixels: Tensor) -> Tensor:
        """Return the loss of one batch of bytes (b, h, w, 8)."""
        batch = augment(unpack(pixels, self.recipe.classes.unclassified), self.recipe.training.augmentation)
        loss = self._loss(self._forward(batch), batch)
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=len(pixels))
        return loss

    def validation_step(self, pixels: Tensor) -> None:
        """Add one batch of whole scenes to the counts."""
        batch = unpack(pixels, self.recipe.classes.unclassified)
        logits = self._forward(batch)
        self.log("validation_loss", self._loss(logits, batch), batch_size=len(pixels), sync_dist=True)
        for truth, predicted in zip(pixels.cpu().numpy(), decide(logits).cpu().numpy(), strict=True):
            self._counts += count_scene(truth[..., 6], truth[..., 7], predicted, scene="validation")

    def on_validation_epoch_start(self) -> None:
        """Start counting anew."""
        self._counts = Counts.zero()

    def on_validation_epoch_end(self) -> None:
        """Log the official score of the counts."""
        scores = official_score(self._counts, self.recipe.classes.unclassified)
        for name in ("score", "localization_f1", "damage_f1"):
            self.log(f"validation_{name}", scores[name], prog_bar=name == "score")

    def on_train_epoch_end(self) -> None:
        """Add a row to the history; validation has already run."""
        logged = self.trainer.callback_metrics
        row = {name: float(logged[name]) for name in _VALIDATED}
        rate = self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        self.history.append(
            {
                "epoch": self.current_epoch,
                "learning_rate": rate,
                "train_loss": float(logged["train_loss_epoch"]),
                **row,
            }
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and cosine annealing with warm restarts, stepped at every batch."""
        training = self.recipe.training
        optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        schedule = training.scheduler
        scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, T_0=schedule.T_0, T_mult=schedule.T_mult, eta_min=schedule.eta_min
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:  # noqa: ANN401
        """Tell the schedule where in its period, counted in epochs, training stands."""
        steps_an_epoch = float(self.trainer.estimated_stepping_batches) / self.recipe.training.epochs
        scheduler.step(self.global_step / steps_an_epoch)

    def _forward(self, batch: Batch) -> Logits:
        logits: Logits = self.net(self.normalise(batch.pre), self.normalise(batch.post))
        return logits

    def _loss(self, logits: Logits, batch: Batch) -> Tensor:
        weights, gamma = self.recipe.loss_weights, self.recipe.focal_loss.gamma
        pre = focal_loss(logits.building, batch.building, self.alpha_pre, gamma)
        post = focal_loss(logits.damage, batch.damage, self.alpha_post, gamma)
        return weights.pre * pre + weights.post * post
