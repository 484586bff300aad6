"""Training from a store to a checkpoint."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import lightning
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from xview2_siamese_unet import __version__
from xview2_siamese_unet.config.modelling import LossWeightsParams, Recipe
from xview2_siamese_unet.models.build import build_net, load_encoder_weights
from xview2_siamese_unet.models.checkpoint import Checkpoint
from xview2_siamese_unet.models.hardware import autocast_dtype, pick_device
from xview2_siamese_unet.models.normalise import Normalise
from xview2_siamese_unet.training.answering import Answering, fit_answers
from xview2_siamese_unet.training.commit import code_commit
from xview2_siamese_unet.training.data import TrainingData, data_fingerprint, fingerprint
from xview2_siamese_unet.training.epochs import best_epoch, last_epoch
from xview2_siamese_unet.training.find_rate import find_rate, report_rate
from xview2_siamese_unet.training.logfile import log_to, quiet_lightning
from xview2_siamese_unet.training.lone_images import refuse_lone_images
from xview2_siamese_unet.training.loop import better, make_trainer
from xview2_siamese_unet.training.module import DamageModule
from xview2_siamese_unet.training.pairs import shared_memory_explained, training_loader, whole_scenes_loader
from xview2_siamese_unet.training.processes import launched_here, launched_shard, leave_processes
from xview2_siamese_unet.training.resident import Resident, take_in

_log = logging.getLogger(__name__)
_FEW_STEPS: Final = 200
"""A rule of thumb: the quickstart takes 600 to learn its sample."""
_LICENCE = "Weights trained on xBD come under its licence, CC BY-NC-SA 4.0; those of the built-in sample are free."


class Folders(NamedTuple):
    """Where a run leaves its traces."""

    tensorboard_logs: Path
    checkpoints: Path
    logfiles: Path


class Host(NamedTuple):
    """What a run computes with: cores of this process, a device, and the scenes that stay there."""

    cores: int
    device: str
    resident: Resident | None


def fit(data: TrainingData, recipe: Recipe, folders: Folders, *, cores: int) -> Checkpoint:
    """Train a net, or resume a training that was killed; return the best epoch's checkpoint.

    Args:
        data: what it learns from.
        recipe: how.
        folders: where logs and the epochs' weights go.
        cores: that this process may use.

    Raises:
        ConfigError: settings that the net cannot learn with.
        CheckpointError: what an earlier run left of its epochs is damaged.
        StorageError: shared memory is too small for the workers.
    """
    refuse_lone_images(data, recipe)
    with log_to(folders.logfiles / "training.log"), quiet_lightning(), shared_memory_explained():
        names, device = [*data.train, *data.validation], pick_device(recipe.hardware.device)
        _warn_of_idle_gpus(device)
        host = Host(cores, device, take_in(data.store, names, recipe.dataloader, device))
        start = _localization_stage(data, recipe, folders, host)
        module = _train(data, recipe, folders, host, start=start)
        best = _best_row(module.history, recipe)
        _log.info("best epoch %d of %d", best["epoch"], len(module.history))
        module.net.load_state_dict(best_epoch(folders.checkpoints / "epochs")[0])
        scenes = partial(whole_scenes_loader, data, recipe, host.cores, host.resident)
        answering = fit_answers(module.net, module.normalise, scenes, len(data.validation), recipe)
    leave_processes()
    return _checkpoint(module, answering, data, recipe)


def _warn_of_idle_gpus(device: str) -> None:
    gpus = torch.cuda.device_count() if device == "cuda" else 0
    if launched_here() < gpus:
        _log.warning(
            "This training uses %d of the %d GPUs of this machine. Start it with torchrun --nproc-per-node %d "
            "-m kedro run --pipelines modelling to use all, or set CUDA_VISIBLE_DEVICES to those meant.",
            *(launched_here(), gpus, gpus),
        )


def _localization_stage(data: TrainingData, recipe: Recipe, folders: Folders, host: Host) -> Path | None:
    """Train localisation alone, if asked for; return the folder of its epochs."""
    if not recipe.training.localization_epochs:
        return None
    loss = recipe.training.monitor == "validation_loss"
    changes = {
        "epochs": recipe.training.localization_epochs,
        "lr_find": False,
        "monitor": "validation_loss" if loss else "validation_localization_f1",
    }
    stage = recipe.model_copy(
        update={
            "training": recipe.training.model_copy(update=changes),
            "loss_weights": LossWeightsParams(pre=1.0, post=0.0),
        }
    )
    inside = Folders(*(folder / "localization" for folder in folders))
    _log.info("first stage: localisation alone")
    _train(data, stage, inside, host)
    return inside.checkpoints / "epochs"


def _train(
    data: TrainingData, recipe: Recipe, folders: Folders, host: Host, *, start: Path | None = None
) -> DamageModule:
    epochs = folders.checkpoints / "epochs"
    last = last_epoch(epochs)
    training = training_loader(data, recipe, host.cores, host.resident)
    validation = whole_scenes_loader(data, recipe, host.cores, host.resident)
    if recipe.training.lr_find and last is None and launched_shard().rank == 0:
        spare = _new_module(data, recipe, start=start, fresh=True)
        curve = find_rate(spare, training, host.device, autocast_dtype(recipe.hardware, host.device))
        report_rate(curve, recipe.training.learning_rate, folders.logfiles)
    elif recipe.training.lr_find and last is not None:
        _log.warning("training.lr_find measures nothing in a resumed run; training.reuse=false begins a new one")
    module = _new_module(data, recipe, start=start, fresh=last is None)
    trainer = make_trainer(module, host.device, folders.tensorboard_logs, epochs)
    _log.info("training on %s (%s): %d scenes", host.device, trainer.precision, len(data.train))
    if (steps := len(training) * recipe.training.epochs // recipe.training.accumulate) < _FEW_STEPS:
        _log.warning(
            "only %d steps of the optimiser in all, few for a net to learn in: "
            "raise training.crops_per_scene or training.epochs, or lower training.batch_size",
            steps,
        )
    try:
        trainer.fit(module, training, validation, ckpt_path=last, weights_only=True)
    except SIGTERMException as stop:
        _log.warning("stopped by SIGTERM; the same command goes on after the last whole epoch")
        # Lightning exits with 0 here, which looks like success to a scheduler.
        raise SystemExit(128 + signal.SIGTERM) from stop
    return module


def _new_module(data: TrainingData, recipe: Recipe, *, start: Path | None, fresh: bool) -> DamageModule:
    """Return what learns; a run that goes on will read its weights from its own checkpoint."""
    lightning.seed_everything(recipe.training.seed, workers=True, verbose=False)
    net = build_net(recipe.model, recipe.classes.damage_classes)
    pretrained: dict[str, str] = {}
    if fresh and start is None:
        pretrained = load_encoder_weights(net, recipe.model.encoder)
    elif fresh and start is not None:
        weights, pretrained = best_epoch(start)
        net.load_state_dict(weights)
    module = DamageModule(net, Normalise(**data.channels), recipe, data.class_weights)
    module.pretrained = pretrained
    if recipe.hardware.channels_last:
        module.to(memory_format=torch.channels_last)
    if recipe.hardware.compile:
        net.compile()
    return module


def _best_row(history: list[dict[str, float]], recipe: Recipe) -> Mapping[str, float]:
    choose = min if better(recipe) == "min" else max
    return choose(history, key=lambda row: row[recipe.training.monitor])


def _checkpoint(module: DamageModule, answering: Answering, data: TrainingData, recipe: Recipe) -> Checkpoint:
    best = _best_row(module.history, recipe)
    return Checkpoint(
        state={name: value.cpu() for name, value in module.net.state_dict().items()},
        model=recipe.model.model_dump(mode="json"),
        classes=recipe.classes.model_dump(mode="json"),
        channels=data.channels,
        temperatures=answering.temperatures._asdict(),
        calibration=answering.calibration,
        thresholds=answering.thresholds._asdict(),
        prediction=recipe.prediction.model_dump() | {"vote_weights": [*answering.vote_weights]},
        pretrained=module.pretrained,
        events=data.events,
        data_fingerprint=data_fingerprint(data),
        fingerprint=fingerprint(data, recipe),
        recipe=recipe.model_dump(mode="json"),
        dataset=data.name,
        licence=_LICENCE,
        version=__version__,
        commit=code_commit(),
        epoch=int(best["epoch"]),
        scores={name: value for name, value in best.items() if name.startswith("validation_")},
        history=module.history,
    )
