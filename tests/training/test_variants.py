"""Every net that can be asked for learns, and comes back from its checkpoint."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tiny_training import same

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.models.checkpoint import restore
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.fit import Folders, fit

MakeRecipe = Callable[..., Recipe]


@pytest.mark.parametrize(
    "model",
    [{"share_weights": True}, {"share_weights": False}, {"architecture": "seed"}],
    ids=["shared", "twin", "seed"],
)
def test_each_variant_trains(
    data: TrainingData, folders: Folders, recipe: MakeRecipe, model: dict[str, object]
) -> None:
    history = fit(data, recipe(model=model, training={"epochs": 3}), folders, cores=1)["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


@pytest.mark.parametrize("levels", ["last", "all"])
@pytest.mark.parametrize("decoder", ["unet", "unetplusplus", "fpn", "upernet", "segformer"])
def test_each_decoder_learns_and_is_restored(
    *, data: TrainingData, folders: Folders, recipe: MakeRecipe, decoder: str, levels: str
) -> None:
    model = {"decoder": decoder, "decoder_channels": (32, 32, 16, 16, 8), "fusion_levels": levels}
    made = fit(data, recipe(model=model, training={"epochs": 2, "batch_size": 4}), folders, cores=1)
    losses = [row["train_loss"] for row in made["history"]]
    assert losses[0] != losses[1]
    net, _, _ = restore(made)
    assert same(dict(net.state_dict()), made["state"])
