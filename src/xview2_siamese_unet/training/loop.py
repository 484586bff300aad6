"""Lightning's Trainer as this project uses it: its parts, its checkpoints, its processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy
from rich import get_console
from timm.layers.norm_act import convert_sync_batchnorm

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models.hardware import pick_precision
from xview2_siamese_unet.progress import is_watched
from xview2_siamese_unet.training.clock import StepClock
from xview2_siamese_unet.training.module import DamageModule
from xview2_siamese_unet.training.processes import launched, launched_here, launched_shard


def make_trainer(module: DamageModule, device: str, tensorboard_logs: Path, epochs: Path) -> lightning.Trainer:
    """Return the loop.

    Args:
        module: what it will train, by its recipe; its batch norms are synchronised where the recipe asks for it.
        device: `cuda` or `cpu`.
        tensorboard_logs: folder for TensorBoard.
        epochs: folder for `best.ckpt` and `last.ckpt`.

    Raises:
        ConfigError: batch norms are to be synchronised where no GPU is.
    """
    recipe, world, local = module.recipe, launched_shard().world, launched_here()
    training = recipe.training
    if training.batch_norm == "synchronise" and world > 1 and device == "cpu":
        raise ConfigError(
            "training.batch_norm",
            found="synchronise on processors",
            allowed="synchronise between GPUs; learn or freeze anywhere",
            remedy="set training.batch_norm to learn, or train on GPUs",
        )
    if training.batch_norm == "synchronise" and world > 1:
        # Not by Lightning's `sync_batchnorm`, which drops the activation inside of timm's BatchNormAct2d.
        module.net = convert_sync_batchnorm(module.net)  # type: ignore[no-untyped-call]
    alone = LightningEnvironment()
    if not launched():
        # Lightning reads the rank from RANK, LOCAL_RANK or SLURM_PROCID, whoever set them, and logs on rank 0 only.
        alone.set_global_rank(0)
    return lightning.Trainer(
        accelerator=device,
        devices=local,
        num_nodes=world // local,
        # Buffers are not sent around at every step: that would wait for processes with fewer scenes to validate.
        strategy=_together(module) if world > 1 else "auto",
        plugins=[_WholeFiles(), *([] if launched() else [alone])],
        use_distributed_sampler=False,  # ours knows its shard
        precision=pick_precision(recipe.hardware, device),
        max_epochs=training.epochs,
        gradient_clip_val=training.gradient_clip,
        accumulate_grad_batches=training.accumulate,
        deterministic=recipe.hardware.deterministic,
        logger=TensorBoardLogger(tensorboard_logs, name=""),
        callbacks=_callbacks(recipe, epochs),
        enable_progress_bar=is_watched(get_console()),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
    )


def better(recipe: Recipe) -> str:
    """Return `min` or `max`, whichever is better of what the recipe monitors."""
    return "min" if recipe.training.monitor.endswith("loss") else "max"


def _together(module: DamageModule) -> DDPStrategy:
    return DDPStrategy(broadcast_buffers=False, find_unused_parameters=_has_idle_weights(module))


def _has_idle_weights(module: DamageModule) -> bool:
    """Return whether no gradient reaches some weight, for which the processes would wait in vain.

    So it is with the damage head in the first stage, with what joins levels that a decoder does not look at, and with
    the last layers of some encoders, which classify.
    """
    net, image = module.net.eval(), torch.zeros(1, 3, 64, 64)  # a pass in training would move the batch norms
    logits = net.forward(image, image) if module.recipe.loss_weights.post else [net.localise(image)]
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad([part.sum() for part in logits], weights, allow_unused=True)
    module.train()
    return any(gradient is None for gradient in gradients)


def _callbacks(recipe: Recipe, epochs: Path) -> list[Callback]:
    training, mode = recipe.training, better(recipe)
    # Both when the history of an epoch is complete. Lightning's `save_last` writes only after an epoch that was better.
    at: Any = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    best = _KeptEpoch(epochs, filename="best", monitor=training.monitor, mode=mode, **at)
    last = _KeptEpoch(epochs, filename="last", **at)
    stop = _StopForGood(training.monitor, min_delta=training.delta, patience=training.patience, mode=mode)
    callbacks: list[Callback] = [best, last, stop, LearningRateMonitor("step")]
    if recipe.hardware.profile:
        callbacks.append(StepClock())
    if training.ema_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=training.ema_decay))
    if is_watched(get_console()):
        callbacks.append(RichProgressBar())
    return callbacks


class _KeptEpoch(ModelCheckpoint):
    """Knows the best epoch also where the folder has moved: Lightning's own would take the next one for the best."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what an earlier run left, with the paths of this one."""
        here = {name: self._here(path) for name, path in state_dict.items() if name.endswith("model_path")}
        kept = {self._here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | here | {"dirpath": self.dirpath, "best_k_models": kept})

    def _here(self, path: str) -> str:
        return str(Path(str(self.dirpath), Path(path).name)) if path else path


class _StopForGood(EarlyStopping):
    """Stops a run that goes on from where it had stopped, before Lightning's own trains one epoch more."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop at once where patience had run out."""
        trainer.should_stop = self.wait_count >= self.patience


class _WholeFiles(TorchCheckpointIO):
    """Writes beside, then renames: Lightning's own way copies from another disk, and a kill leaves half a file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        with whole_file(Path(path)) as part:
            torch.save(checkpoint, part)
