"""Grey values → what a net expects."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """Subtract the mean, divide by the deviation, both in grey values; (b, 3, h, w) → the same.

    Black in all three bands is no data and becomes the mean. So it looks as what lies beyond a crop, which convolutions
    pad with zeros, and not as ground darker than any other. Training, scoring and assessing all normalise here.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return the normalised images."""
        normalised: Tensor = (image - self.mean) / self.std
        return normalised * image.any(dim=1, keepdim=True)
