"""Nodes of the pipeline `modelling`."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from xview2_siamese_unet.config.dataset import DatasetParams
from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.errors import StaleError
from xview2_siamese_unet.parallel import usable_cores
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.stats import IMAGENET
from xview2_siamese_unet.training.distributed import get_local_world_size

_log = logging.getLogger(__name__)


def train(  # noqa: PLR0913  training needs all of these
    *,
    store: Store,
    scenes: pd.DataFrame,
    splits: pd.DataFrame,
    class_weights: dict[str, list[float]],
    sample_weights: dict[str, list[Any]],
    channel_statistics: dict[str, dict[str, list[float]]],
    dataset: DatasetParams,
    folders: dict[str, Path],
    **settings: Any,  # noqa: ANN401  the fields of Recipe
) -> tuple[dict[str, Any], dict[str, Any], pd.DataFrame]:
    """Return the checkpoint of the best epoch, twice for two formats, and the history.

    Training resumes from the folder of checkpoints: from the last epoch, or the finished checkpoint.

    Raises:
        StaleError: the run is finished, and its splits, features or initial weights have changed since.
    """
    from xview2_siamese_unet.training import checkpointing, data, trainer  # noqa: PLC0415  torch is slow to import

    recipe = Recipe(**settings)
    validation = splits.loc[splits["split"] == "validation", "scene"].tolist()
    training_data = data.TrainingData(
        name=dataset.name,
        store=store,
        train=sample_weights["scenes"],
        validation=validation,
        sample_weights=sample_weights["weights"],
        class_weights=class_weights,
        channels=channel_statistics["both"] if recipe.model.normalisation == "measured" else IMAGENET,
        # Not from the names of scenes: some, such as test_pre_00000, do not contain the event.
        events=sorted(set(scenes.loc[scenes["scene"].isin([*sample_weights["scenes"], *validation]), "disaster"])),
    )
    checkpoint = checkpointing.finished_checkpoint(folders["checkpoints"])
    if checkpoint is None:
        cores = max(1, usable_cores() // get_local_world_size())
        checkpoint = dict(trainer.fit(training_data, recipe, trainer.Folders(**folders), cores=cores))
    elif checkpoint["fingerprint"] != checkpointing.training_fingerprint(training_data, recipe):
        raise StaleError(
            f"Run {folders['checkpoints'].parent.name} is finished, and its splits, features or initial weights have "
            "changed since.",
            hint="Begin a new run with --params training.reuse=false.",
        )
    elif recipe.training.lr_find or recipe.hardware.profile:
        _log.warning("lr_find and profile measure nothing in a finished run; training.reuse=false begins a new one")
    return checkpoint, checkpoint, pd.DataFrame(checkpoint["history"])
