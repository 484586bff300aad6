from __future__ import annotations

from typing import Any

import pytest
import torch

from xview2_siamese_unet.config.modelling import ModelParams
from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.checkpoint import restore

MODEL = {"encoder": {"name": "tu-test_resnet"}, "decoder_channels": [16, 16, 8, 8, 8]}


def checkpoint(**changes: object) -> dict[str, Any]:
    net = build_net(ModelParams.model_validate(MODEL), 5)
    parts = {
        "state": net.state_dict(),
        "model": MODEL,
        "classes": {"unclassified": "ignore"},
        "channels": {"mean": [1.0, 2.0, 3.0], "std": [1.0, 2.0, 4.0]},
    }
    return parts | changes


def test_a_restored_net_answers_as_before() -> None:
    saved = checkpoint()
    net, normalise, classes = restore(saved)
    assert all(torch.equal(value, saved["state"][name]) for name, value in net.state_dict().items())
    assert normalise(torch.full((1, 3, 1, 1), 5.0)).flatten().tolist() == [4.0, 1.5, 0.5]
    assert classes.unclassified == "ignore"


@pytest.mark.parametrize(
    "changes",
    [
        {"state": {}},
        {"state": {"pre.encoder.conv1.weight": torch.ones(1)}},
        {"classes": {"unclassified": "class"}},
        {"classes": {"unclassified": "perhaps"}},
        {"model": {**MODEL, "fusion": "concat"}},
        {"model": {**MODEL, "unknown": 1}},
        {"model": {"encoder": {"name": "gone"}}},
        {"channels": {"mean": [1.0, 2.0, 3.0]}},
        {"channels": {"mean": "x", "std": "y"}},
        {"state": None},
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_in_our_sentence(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="weights that do not fit"):
        restore(checkpoint(**changes))


def test_a_missing_part_is_refused() -> None:
    saved = checkpoint()
    del saved["channels"]
    with pytest.raises(CheckpointError, match="'channels'"):
        restore(saved)


def test_a_checkpoint_that_is_older_than_the_bottleneck_is_restored() -> None:
    wide = {"encoder": {"name": "resnet50"}, "decoder_channels": [8, 8, 8, 8, 8]}
    with torch.device("meta"):
        state = build_net(ModelParams.model_validate({**wide, "bottleneck": None}), 5).state_dict()
    zeros = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in state.items()}
    net, _, _ = restore(checkpoint(model=wide, state=zeros))
    assert net.state_dict().keys() == state.keys()
