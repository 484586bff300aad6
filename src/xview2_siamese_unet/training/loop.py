"""Lightning's Trainer as this project uses it: its parts, its checkpoints, its processes."""

from __future__ import annotations

import os
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

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.nets.hardware import pick_precision
from xview2_siamese_unet.params.modelling import Recipe
from xview2_siamese_unet.progress import is_watched
from xview2_siamese_unet.training.draws import Shard


def launched_shard() -> Shard:
    """Return which of the processes that `torchrun` launched this is; the only one where it launched none."""
    return Shard(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])) if _launched() else Shard()


def make_trainer(recipe: Recipe, device: str, tensorboard_logs: Path, epochs: Path) -> lightning.Trainer:
    """Return the loop.

    Args:
        recipe: how to train.
        device: `cuda` or `cpu`.
        tensorboard_logs: folder for TensorBoard.
        epochs: folder for `best.ckpt` and `last.ckpt`.
    """
    training, world = recipe.training, launched_shard().world
    local = int(os.environ["LOCAL_WORLD_SIZE"]) if _launched() else 1
    return lightning.Trainer(
        accelerator=device,
        devices=local,
        num_nodes=world // local,
        # Buffers are not sent around at every step: that would wait for processes with fewer scenes to validate.
        strategy=_together(recipe) if world > 1 else "auto",
        plugins=[_WholeFiles(), *([] if _launched() else [LightningEnvironment()])],
        use_distributed_sampler=False,  # ours knows its shard
        precision=pick_precision(recipe.hardware, device),
        max_epochs=training.epochs,
        gradient_clip_val=training.gradient_clip,
        accumulate_grad_batches=training.accumulate,
        sync_batchnorm=training.batch_norm == "synchronise",
        deterministic=recipe.hardware.deterministic,
        logger=TensorBoardLogger(tensorboard_logs, name=""),
        callbacks=_callbacks(recipe, epochs),
        enable_progress_bar=is_watched(get_console()),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
    )


def leave_processes() -> None:
    """Wait for the other processes of `torchrun` and end the connection to them; does nothing where there are none."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def better(recipe: Recipe) -> str:
    """Return `min` or `max`, whichever is better of what the recipe monitors."""
    return "min" if recipe.training.monitor.endswith("loss") else "max"


def _together(recipe: Recipe) -> DDPStrategy:
    return DDPStrategy(broadcast_buffers=False, find_unused_parameters=recipe.loss_weights.post == 0)


def _launched() -> bool:
    return torch.distributed.is_torchelastic_launched()


def _callbacks(recipe: Recipe, epochs: Path) -> list[Callback]:
    training, mode = recipe.training, better(recipe)
    # Both when the history of an epoch is complete. Lightning's `save_last` writes only after an epoch that was better.
    at: Any = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    best = ModelCheckpoint(epochs, filename="best", monitor=training.monitor, mode=mode, **at)
    last = ModelCheckpoint(epochs, filename="last", **at)
    stop = EarlyStopping(training.monitor, min_delta=training.delta, patience=training.patience, mode=mode)
    callbacks: list[Callback] = [best, last, stop, LearningRateMonitor("step")]
    if training.ema_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=training.ema_decay))
    if is_watched(get_console()):
        callbacks.append(RichProgressBar())
    return callbacks


class _WholeFiles(TorchCheckpointIO):
    """Writes beside, then renames: Lightning's own way copies from another disk, and a kill leaves half a file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        with whole_file(Path(path)) as part:
            torch.save(checkpoint, part)
