"""Checkpoints of tiny nets whose predictions vary across the image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from xview2_siamese_unet.config.modelling import HardwareParams, ModelParams
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.postprocess import to_numpy
from xview2_siamese_unet.models.trained import TrainedModel

MODEL = {"encoder": {"name": "tu-test_resnet"}, "decoder_channels": [16, 16, 8, 8, 8]}


def small_checkpoint(
    variant: dict[str, Any] | None = None, classes: int = 5, seed: int = 0, **more: object
) -> dict[str, Any]:
    """Return a checkpoint of a net with random weights and random statistics of its batch norms."""
    torch.manual_seed(seed)
    model = MODEL | (variant or {})
    net = build_net(ModelParams.model_validate(model), classes).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    if hasattr(net, "building_head"):
        with torch.no_grad():
            net.building_head.weight *= 10  # raise the low confidence of an untrained net
            net.damage_head[-1].weight *= 10
    return {
        "state": net.state_dict(),
        "model": model,
        "classes": {"unclassified": "class" if classes == 6 else "ignore"},
        "channels": {"mean": [100.0, 90.0, 80.0], "std": [50.0, 45.0, 40.0]},
        "fingerprint": f"net {seed}",
        **more,
    }


def predict_images(content: dict[str, Any], images: Iterable[torch.Tensor], **how: Any) -> np.ndarray:  # noqa: ANN401
    """Return the probabilities of a checkpoint or a card on the CPU."""
    model = TrainedModel(content, HardwareParams(device="cpu", precision="32-true"), **how)
    return to_numpy(model(*(image.numpy() for image in images)))


def images_of(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both images, uint8 (1, 3, height, width), the second with a part of no data."""
    images = np.random.default_rng(height * width).integers(0, 256, (2, 1, 3, height, width), dtype=np.uint8)
    images[1, ..., : height // 3, :] = 0
    return torch.from_numpy(images[0]), torch.from_numpy(images[1])
