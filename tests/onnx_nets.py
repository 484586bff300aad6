"""Small networks in ONNX files, with their cards."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from xview2_siamese_unet.atomic import sha256

IMAGENET = {"scale": 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
FIVE_CLASSES = {**IMAGENET, "multiple": 32, "output": "five"}
"""Card entries for a `Coarse` network with background and damage classes."""
DAMAGE = ["no-damage", "minor-damage", "major-damage", "destroyed"]


class Coarse(nn.Module):
    """Combines pixels and cells of 32 × 32; height and width must be multiples of 32, as in many networks."""

    def __init__(self, bands: int, classes: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.fine = nn.Sequential(nn.Conv2d(bands, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, classes, 3, padding=1))
        self.coarse = nn.Conv2d(bands, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        cells = functional.avg_pool2d(image, 32)
        return 2 * self.fine(image) + functional.interpolate(self.coarse(cells), scale_factor=32.0, mode="nearest")


class Activated(nn.Module):
    """A network followed by softmax or sigmoid."""

    def __init__(self, net: nn.Module, *, sigmoid: bool) -> None:
        super().__init__()
        self.net, self.sigmoid = net, sigmoid

    def forward(self, image: Tensor) -> Tensor:
        logits = self.net(image)
        return logits.sigmoid() if self.sigmoid else logits.softmax(dim=1)


def write_onnx(net: nn.Module, path: Path, bands: int, *, half: bool = False, fixed: bool = False) -> dict[str, str]:
    """Write a network; return `file` and `sha256` for its card."""
    image = torch.zeros(1, bands, 64, 64, dtype=torch.float16 if half else torch.float32)
    axes = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            (net.half() if half else net).eval(),
            (image,),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes=None if fixed else {"input": axes, "logits": axes},
        )
    return {"file": path.name, "sha256": sha256(path)}


def write_card(path: Path, *members: dict[str, Any], **more: object) -> Path:
    """Write a card of these members."""
    card = {"name": "test", "licence": "CC0-1.0", "members": list(members), **more}
    path.write_text(json.dumps(card, indent=2), encoding="utf-8")
    return path
