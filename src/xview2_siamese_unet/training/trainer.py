"""Training from store to checkpoint: stages, Lightning's Trainer, callbacks."""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    RichProgressBar,
)
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich import get_console
from torch import Tensor

from xview2_siamese_unet import __version__
from xview2_siamese_unet.config.modelling import LossWeightsParams, Recipe
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.checkpoint import Checkpoint
from xview2_siamese_unet.models.hardware import autocast_dtype, pick_device, pick_precision
from xview2_siamese_unet.models.machine import is_out_of_memory
from xview2_siamese_unet.models.pretrained import load_encoder_weights
from xview2_siamese_unet.models.siamese_unet import Normalise
from xview2_siamese_unet.progress import is_watched
from xview2_siamese_unet.training.averaging import MovingAverage
from xview2_siamese_unet.training.batch_norm import refuse_single_images, synchronise
from xview2_siamese_unet.training.checkpointing import (
    AtomicCheckpointIO,
    EpochCheckpoint,
    best_weights,
    data_fingerprint,
    last_epoch,
    training_fingerprint,
)
from xview2_siamese_unet.training.crops import DeviceScenes, load_to_device
from xview2_siamese_unet.training.data import (
    Loader,
    TrainingData,
    shared_memory_errors,
    training_loader,
    validation_loader,
)
from xview2_siamese_unet.training.distributed import (
    get_local_world_size,
    get_rank,
    get_world_size,
    is_torchrun,
)
from xview2_siamese_unet.training.learning_rate import find_rate, report_rate
from xview2_siamese_unet.training.logging import StepProfiler, log_to, quiet_lightning
from xview2_siamese_unet.training.losses import check_losses
from xview2_siamese_unet.training.module import DamageModule
from xview2_siamese_unet.training.provenance import code_commit
from xview2_siamese_unet.training.tuning import DecisionRule, tune_decision_rule

_log = logging.getLogger(__name__)
_LOG_EVERY: Final = 10  # steps
_FEW_STEPS: Final = 200  # a rule of thumb: the quickstart takes 600 to learn its sample
_LICENCE = "Weights trained on xBD come under its licence, CC BY-NC-SA 4.0; those of the built-in sample are free."


class Folders(NamedTuple):
    """Folders that a training writes to."""

    tensorboard_logs: Path
    checkpoints: Path
    logfiles: Path


class Host(NamedTuple):
    """Cores of this process, `cuda` or `cpu`, and the scenes if they are on the device."""

    cores: int
    device: str
    scenes: DeviceScenes | None


def fit(data: TrainingData, recipe: Recipe, folders: Folders, *, cores: int) -> Checkpoint:
    """Train a net, or resume a killed training; return the best epoch's checkpoint.

    Args:
        data: training and validation scenes.
        recipe: all settings.
        folders: for logs and checkpoints of epochs.
        cores: that this process may use.

    Raises:
        ConfigError: settings that do not allow a training.
        CheckpointError: the checkpoint of an epoch is damaged.
        StorageError: shared memory is too small for the dataloader workers.
    """
    check_losses(recipe.training.losses)
    refuse_single_images(data, recipe)
    with log_to(folders.logfiles / "training.log"), quiet_lightning(), shared_memory_errors(), _hardware_errors(recipe):
        names, device = [*data.train, *data.validation], pick_device(recipe.hardware.device)
        _warn_of_idle_gpus(device)
        host = Host(cores, device, load_to_device(data.store, names, recipe.dataloader, device))
        start = _localization_stage(data, recipe, folders, host)
        module = _train(data, recipe, folders, host, start=start)
        _log.info("best epoch %d of %d", _best_row(module)["epoch"], len(module.history))
        module.net.load_state_dict(best_weights(folders.checkpoints / "epochs")[0])
        scenes = partial(validation_loader, data, recipe, host.cores, host.scenes)
        parts = module.net, module.normalise, scenes, len(data.validation)
        rule = tune_decision_rule(*parts, recipe, folders.checkpoints)
    _destroy_process_group()
    return _checkpoint(module, rule, data)


@contextmanager
def _hardware_errors(recipe: Recipe) -> Iterator[None]:
    """Explain errors of torch that other settings avoid.

    Raises:
        ConfigError: memory ran out, or an operation has no deterministic form.
    """
    training = recipe.training
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            side = "whole scenes" if training.crop is None else f"crops of {training.crop} pixels"
            raise ConfigError(
                f"Memory ran out with training.batch_size {training.batch_size} and {side}.",
                hint="Lower training.batch_size, and raise training.accumulate by the same factor, or lower "
                "training.crop. On a GPU, dataloader.location: host leaves it the memory of the scenes.",
            ) from error
        operation = re.search(r"(\S+) does not have a deterministic implementation", str(error))
        if operation is None:
            raise
        raise ConfigError(
            f"hardware.deterministic is true, but {operation[1]} has no deterministic form on this device.",
            hint="Set hardware.deterministic to false, or choose another decoder, encoder or loss.",
        ) from error


def _destroy_process_group() -> None:
    """Wait for all ranks and close the connection between them, if there is one."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _warn_of_idle_gpus(device: str) -> None:
    gpus = torch.cuda.device_count() if device == "cuda" else 0
    if get_local_world_size() < gpus:
        _log.warning(
            "This training uses %d of the %d GPUs of this machine. Start it with torchrun --nproc-per-node %d "
            "-m kedro run --pipelines modelling to use all, or set CUDA_VISIBLE_DEVICES to those you need.",
            *(get_local_world_size(), gpus, gpus),
        )


def _localization_stage(data: TrainingData, recipe: Recipe, folders: Folders, host: Host) -> Path | None:
    """Train localisation alone, if asked for; return the folder of its epochs."""
    if not recipe.training.localization_epochs:
        return None
    by_loss = recipe.training.monitor == "validation_loss"
    changes = {
        "epochs": recipe.training.localization_epochs,
        "lr_find": False,
        "monitor": "validation_loss" if by_loss else "validation_localization_f1",
    }
    training, weights = recipe.training.model_copy(update=changes), LossWeightsParams(pre=1.0, post=0.0)
    inside = Folders(*(folder / "localization" for folder in folders))
    _log.info("first stage: localisation alone")
    _train(data, recipe.model_copy(update={"training": training, "loss_weights": weights}), inside, host)
    return inside.checkpoints / "epochs"


def _train(
    data: TrainingData, recipe: Recipe, folders: Folders, host: Host, *, start: Path | None = None
) -> DamageModule:
    epochs = folders.checkpoints / "epochs"
    last = last_epoch(epochs)
    training = training_loader(data, recipe, host.cores, host.scenes)
    validation = validation_loader(data, recipe, host.cores, host.scenes)
    if recipe.training.lr_find and last is not None:
        _log.warning("training.lr_find is skipped in a resumed run; training.reuse=false starts a new one")
    elif recipe.training.lr_find and get_rank() == 0:
        _test_rates(new_module(data, recipe, start=start, fresh=True), training, host.device, folders.logfiles)
    module = new_module(data, recipe, start=start, fresh=last is None)
    trainer = make_trainer(module, host.device, folders.tensorboard_logs, epochs)
    if host.device == "cuda" and trainer.precision == "32-true":
        torch.set_float32_matmul_precision("high")  # TF32, as convolutions have it by default
    _log.info("training on %s (%s): %d scenes", host.device, trainer.precision, len(data.train))
    if (steps := len(training) * recipe.training.epochs // recipe.training.accumulate) < _FEW_STEPS:
        _log.warning(
            "only %d optimiser steps in all, which is few: raise training.crops_per_scene or training.epochs, or "
            "lower training.batch_size",
            steps,
        )
    try:
        trainer.fit(module, training, validation, ckpt_path=last, weights_only=True)
    except SIGTERMException as stop:
        _log.warning("stopped by SIGTERM; the same command resumes after the last finished epoch")
        # Lightning exits with 0 here, which looks like success to a scheduler.
        raise SystemExit(128 + signal.SIGTERM) from stop
    return module


def _test_rates(module: DamageModule, batches: Loader, device: str, folder: Path) -> None:
    module.to(device).train()
    training, dtype = module.recipe.training, autocast_dtype(module.recipe.hardware, device)
    optimizer = torch.optim.AdamW(module.net.parameters(), weight_decay=training.weight_decay, fused=True)

    def loss_of(pixels: Tensor) -> Tensor:
        with torch.autocast(device, dtype, enabled=dtype is not None):
            return module.training_loss(pixels.to(device), torch.clone)

    report_rate(find_rate(optimizer, loss_of, batches), training.learning_rate, folder)


def new_module(data: TrainingData, recipe: Recipe, *, start: Path | None, fresh: bool) -> DamageModule:
    """Return a module with its first weights.

    Args:
        data: channel statistics and class weights.
        recipe: all settings.
        start: folder of the epochs of an earlier stage, whose best weights it starts from.
        fresh: whether it needs first weights, and not those of a checkpoint to resume from.
    """
    lightning.seed_everything(recipe.training.seed, workers=True, verbose=False)
    net = build_net(recipe.model, recipe.classes.damage_classes)
    pretrained: dict[str, str] = {}
    if fresh and start is None:
        pretrained = load_encoder_weights(net, recipe.model.encoder)
    elif fresh and start is not None:
        weights, pretrained = best_weights(start)
        net.load_state_dict(weights)
    module = DamageModule(net, Normalise(**data.channels), recipe, data.class_weights)
    module.pretrained = pretrained
    if recipe.hardware.channels_last:
        module.to(memory_format=torch.channels_last)
    if recipe.hardware.compile:
        net.compile()
    return module


def _mode(recipe: Recipe) -> str:
    return "min" if recipe.training.monitor.endswith("loss") else "max"


def _best_row(module: DamageModule) -> dict[str, float]:
    choose, monitor = min if _mode(module.recipe) == "min" else max, module.recipe.training.monitor
    return choose(module.history, key=lambda row: row[monitor])


def _checkpoint(module: DamageModule, rule: DecisionRule, data: TrainingData) -> Checkpoint:
    best, recipe = _best_row(module), module.recipe
    return Checkpoint(
        state=module.net.cpu().state_dict(),  # not one tensor at a time, which would store shared weights twice
        model=recipe.model.model_dump(mode="json"),
        classes=recipe.classes.model_dump(mode="json"),
        channels=data.channels,
        temperatures=rule.temperatures._asdict(),
        calibration=rule.calibration,
        thresholds=rule.thresholds._asdict(),
        prediction=recipe.prediction.model_dump() | {"vote_weights": [*rule.vote_weights]},
        pretrained=module.pretrained,
        events=data.events,
        data_fingerprint=data_fingerprint(data),
        fingerprint=training_fingerprint(data, recipe),
        recipe=recipe.model_dump(mode="json"),
        dataset=data.name,
        licence=_LICENCE,
        version=__version__,
        commit=code_commit(),
        epoch=int(best["epoch"]),
        scores={name: value for name, value in best.items() if name.startswith("validation_")},
        history=module.history,
    )


def make_trainer(module: DamageModule, device: str, tensorboard_logs: Path, epochs: Path) -> lightning.Trainer:
    """Return the Trainer of a module, whose batch norms it may synchronise.

    Args:
        module: to be trained.
        device: `cuda` or `cpu`.
        tensorboard_logs: folder for TensorBoard.
        epochs: folder for `best.ckpt` and `last.ckpt`.

    Raises:
        ConfigError: batch norms are to be synchronised between CPUs.
    """
    recipe, world_size, local = module.recipe, get_world_size(), get_local_world_size()
    training = recipe.training
    if training.batch_norm == "synchronise" and world_size > 1:
        module.net = synchronise(module.net, device)
    single = LightningEnvironment()
    if not is_torchrun():
        # Lightning takes its rank from RANK, LOCAL_RANK or SLURM_PROCID, whoever set them, and logs on rank 0 only.
        single.set_global_rank(0)
    return lightning.Trainer(
        accelerator=device,
        devices=local,
        num_nodes=world_size // local,
        # Broadcasting buffers at every step would wait for ranks with fewer scenes to validate.
        strategy=DDPStrategy(broadcast_buffers=False, find_unused_parameters=_has_unused_weights(module))
        if world_size > 1
        else "auto",
        plugins=[AtomicCheckpointIO(), *([] if is_torchrun() else [single])],
        use_distributed_sampler=False,  # CropSampler handles the ranks
        precision=pick_precision(recipe.hardware, device),
        max_epochs=training.epochs,
        gradient_clip_val=training.gradient_clip,
        accumulate_grad_batches=training.accumulate,
        deterministic=recipe.hardware.deterministic,
        logger=TensorBoardLogger(tensorboard_logs, name=""),
        profiler=StepProfiler() if recipe.hardware.profile else None,
        callbacks=_callbacks(recipe, epochs, device),
        enable_progress_bar=is_watched(get_console()),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=_LOG_EVERY,
        # The fastest convolutions for the one shape of all crops.
        benchmark=training.crop is not None and not recipe.hardware.deterministic,
    )


def _has_unused_weights(module: DamageModule) -> bool:
    """Return whether some weight gets no gradient, for which DDP would wait in vain.

    That is the damage head in the first stage, fusion of levels that a decoder does not use, and classifying layers of
    some encoders.
    """
    net, image = module.net.eval(), torch.zeros(1, 3, 64, 64)  # training mode would move the batch norms
    logits = net.forward(image, image) if module.recipe.loss_weights.post else [net.localise(image)]
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad([part.sum() for part in logits], weights, allow_unused=True)
    module.train()
    return any(gradient is None for gradient in gradients)


def _callbacks(recipe: Recipe, epochs: Path, device: str) -> list[Callback]:
    training, mode = recipe.training, _mode(recipe)
    # Both when the history of an epoch is complete. Lightning's `save_last` writes only after an epoch that was better.
    how: Any = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    best = EpochCheckpoint(epochs, filename="best", monitor=training.monitor, mode=mode, **how)
    last = EpochCheckpoint(epochs, filename="last", **how)
    stop = ResumableEarlyStopping(training.monitor, min_delta=training.delta, patience=training.patience, mode=mode)
    callbacks: list[Callback] = [best, last, stop, LearningRateMonitor("step")]
    if training.ema_decay is not None:
        callbacks.append(MovingAverage(training.ema_decay, device))
    if is_watched(get_console()):
        callbacks.append(ProgressBar())
    return callbacks


class ProgressBar(RichProgressBar):
    """Lightning's progress bar, which reads the loss at every tenth step only: reading waits for the device."""

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[str, Any] = {}

    def get_metrics(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> dict[str, Any]:
        """Return the metrics next to the bar."""
        if trainer.global_step % _LOG_EVERY == 0 or not trainer.training:
            self._read = super().get_metrics(trainer, pl_module)
        return self._read


class ResumableEarlyStopping(EarlyStopping):
    """Early stopping that trains no further epoch when a stopped run is resumed."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop at once if patience had run out."""
        trainer.should_stop = self.wait_count >= self.patience
