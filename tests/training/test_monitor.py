"""What is monitored decides which epoch is kept, and when training stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch

from xview2_siamese_unet.config.modelling import Recipe
from xview2_siamese_unet.config.training import TrainingParams
from xview2_siamese_unet.training.data import TrainingData
from xview2_siamese_unet.training.fit import Folders, fit
from xview2_siamese_unet.training.module import DamageModule

MONITORS = get_args(TrainingParams.model_fields["monitor"].annotation)
# Each is at its best in another epoch.
FOUND = {
    "validation_score": [0.9, 0.5, 0.5, 0.5, 0.5, 0.5],
    "validation_localization_f1": [0.4, 0.9, 0.5, 0.5, 0.5, 0.5],
    "validation_damage_f1": [0.4, 0.5, 0.9, 0.5, 0.5, 0.5],
    "validation_loss": [0.9, 0.8, 0.7, 0.1, 0.5, 0.5],
}


@pytest.mark.parametrize("monitor", MONITORS)
def test_the_epoch_that_is_best_by_what_is_monitored_is_kept_and_patience_counts_from_it(
    data: TrainingData,
    folders: Folders,
    recipe: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    monitor: str,
) -> None:
    log = DamageModule.log

    def script(self: DamageModule, name: str, value: object, **how: Any) -> None:  # noqa: ANN401
        log(self, name, FOUND[name][self.current_epoch] if name in FOUND else value, **how)

    monkeypatch.setattr(DamageModule, "log", script)
    settings = recipe(training={"epochs": 6, "patience": 2, "batch_size": 4, "monitor": monitor})
    made = fit(data, settings, folders, cores=1)
    wanted = [*FOUND].index(monitor)
    best = torch.load(folders.checkpoints / "epochs" / "best.ckpt", weights_only=True)
    assert (best["epoch"], made["epoch"], len(made["history"])) == (wanted, wanted, wanted + 3)
    assert made["scores"] == pytest.approx({name: values[wanted] for name, values in FOUND.items()})
    assert all(torch.equal(best["state_dict"][f"net.{name}"], value) for name, value in made["state"].items())
