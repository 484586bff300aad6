"""A trained net and scenes of a store → damage codes and probabilities, a few scenes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from xview2_siamese_unet.nets.checkpoint import restore, thresholds_of
from xview2_siamese_unet.nets.decide import decide, probabilities
from xview2_siamese_unet.nets.hardware import pick_device, pick_precision
from xview2_siamese_unet.params.modelling import HardwareParams
from xview2_siamese_unet.raster.store import Store

_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class SceneAnswer(NamedTuple):
    """What a net says of one scene."""

    name: str
    codes: npt.NDArray[np.uint8]
    """Damage codes (h, w)."""
    probabilities: npt.NDArray[np.float32]
    """Of background and the four damage classes (5, h, w), sum 1."""


def predict_scenes(
    checkpoint: Mapping[str, Any], store: Store, names: Sequence[str], hardware: HardwareParams, *, batch_size: int
) -> Iterator[SceneAnswer]:
    """Yield the answer for each scene; memory does not grow with their number.

    Args:
        checkpoint: a trained net.
        store: where the scenes are.
        names: which of them.
        hardware: device and numbers to compute in.
        batch_size: scenes at a time.
    """
    device = pick_device(hardware.device)
    dtype = _DTYPES.get(pick_precision(hardware, device))
    net, normalise, _ = restore(checkpoint)
    net.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    normalise.to(device)
    thresholds = thresholds_of(checkpoint)
    rows = store.rows(names)
    for first in range(0, len(rows), batch_size):
        pixels = torch.from_numpy(store.pixels[rows[first : first + batch_size]][..., :6]).to(device)
        images = pixels.permute(0, 3, 1, 2).float()
        with torch.inference_mode(), torch.autocast(device, dtype, enabled=dtype is not None):
            logits = net(normalise(images[:, :3]), normalise(images[:, 3:]))
            codes, shares = decide(logits, thresholds), probabilities(*logits)
        batch = names[first : first + batch_size], codes.cpu().numpy(), shares.cpu().numpy()
        yield from map(SceneAnswer, *batch)
