"""Training from a store to a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from xview2_siamese_unet import __version__
from xview2_siamese_unet.nets.build import build_net, load_encoder_weights
from xview2_siamese_unet.nets.checkpoint import Checkpoint
from xview2_siamese_unet.nets.hardware import pick_device, pick_precision
from xview2_siamese_unet.nets.normalise import Normalise
from xview2_siamese_unet.params.modelling import Recipe
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.training.logfile import log_to
from xview2_siamese_unet.training.module import DamageModule
from xview2_siamese_unet.training.pairs import training_loader, whole_scenes_loader

_log = logging.getLogger(__name__)


class TrainingData(NamedTuple):
    """What a net learns from.

    Attributes:
        name: of the dataset, for the checkpoint.
        store: where the scenes are.
        train: names of the scenes that are learnt from.
        validation: names of the scenes that decide which epoch was best; none of them is in `train`.
        sample_weights: how often each scene of `train` is drawn, (n,).
        class_weights: `pre` (2,) and `post` (k,).
        channels: `mean` and `std` of red, green and blue, in grey values.
    """

    name: str
    store: Store
    train: list[str]
    validation: list[str]
    sample_weights: list[float]
    class_weights: dict[str, list[float]]
    channels: dict[str, list[float]]


class Folders(NamedTuple):
    """Where a run leaves its traces."""

    tensorboard_logs: Path
    checkpoints: Path
    logfiles: Path


def fit(data: TrainingData, recipe: Recipe, folders: Folders, *, cores: int) -> Checkpoint:
    """Train a net and return the checkpoint of its best epoch.

    Args:
        data: what it learns from.
        recipe: how.
        folders: where logs and the epochs' weights go.
        cores: that this process may use.
    """
    device = pick_device(recipe.hardware.device)
    lightning.seed_everything(recipe.training.seed, workers=True, verbose=False)
    net = build_net(recipe.model, recipe.classes.damage_classes)
    load_encoder_weights(net, recipe.model.encoder)
    module = DamageModule(net, Normalise(**data.channels), recipe, data.class_weights)
    module.to(memory_format=torch.channels_last)
    best = ModelCheckpoint(folders.checkpoints / "epochs", monitor=recipe.training.monitor, mode=_mode(recipe))
    with log_to(folders.logfiles / "training.log"):
        trainer = _trainer(recipe, device, folders, best)
        _log.info("training on %s (%s): %d scenes", device, trainer.precision, len(data.train))
        trainer.fit(
            module,
            training_loader(data.store, data.train, data.sample_weights, recipe, cores),
            whole_scenes_loader(data.store, data.validation, recipe, cores),
        )
        _log.info("best epoch %d of %d", _best_row(module, recipe)["epoch"], len(module.history))
    return _checkpoint(module, data, recipe, Path(best.best_model_path))


def fingerprint(data: TrainingData, recipe: Recipe) -> str:
    """Return a text that changes with anything that changes the result: settings, scenes, weights, version."""
    digest = blake2b(__version__.encode(), digest_size=16)
    digest.update(recipe.model_dump_json(exclude={"dataloader": True, "training": {"reuse"}}).encode())
    for names in (data.train, data.validation):
        rows = data.store.rows(names)
        digest.update("\n".join(names).encode() + data.store.records[rows]["key"].tobytes())
    digest.update(repr((data.sample_weights, data.class_weights, data.channels)).encode())
    return digest.hexdigest()


def _trainer(recipe: Recipe, device: str, folders: Folders, best: ModelCheckpoint) -> lightning.Trainer:
    training = recipe.training
    stop = EarlyStopping(training.monitor, min_delta=training.delta, patience=training.patience, mode=_mode(recipe))
    return lightning.Trainer(
        accelerator=device,
        devices=1,
        precision=pick_precision(recipe.hardware, device),
        max_epochs=training.epochs,
        gradient_clip_val=training.gradient_clip,
        logger=TensorBoardLogger(folders.tensorboard_logs, name=""),
        callbacks=[best, stop, LearningRateMonitor("step"), RichProgressBar()],
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def _mode(recipe: Recipe) -> str:
    return "min" if recipe.training.monitor.endswith("loss") else "max"


def _best_row(module: DamageModule, recipe: Recipe) -> Mapping[str, float]:
    better = min if _mode(recipe) == "min" else max
    return better(module.history, key=lambda row: row[recipe.training.monitor])


def _checkpoint(module: DamageModule, data: TrainingData, recipe: Recipe, path: Path) -> Checkpoint:
    weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    best = _best_row(module, recipe)
    return Checkpoint(
        state={name.removeprefix("net."): value for name, value in weights.items() if name.startswith("net.")},
        model=recipe.model.model_dump(mode="json"),
        classes=recipe.classes.model_dump(mode="json"),
        channels=data.channels,
        fingerprint=fingerprint(data, recipe),
        recipe=recipe.model_dump(mode="json"),
        dataset=data.name,
        version=__version__,
        epoch=int(best["epoch"]),
        scores={name: value for name, value in best.items() if name.startswith("validation_")},
        history=module.history,
    )
