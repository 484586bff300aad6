"""A trained net with all that stands between grey values and logits to decide on."""

from __future__ import annotations

import itertools
import logging

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError

from xview2_siamese_unet.config.prediction import Tta
from xview2_siamese_unet.models.postprocess import Temperatures
from xview2_siamese_unet.models.siamese_unet import Logits

_log = logging.getLogger(__name__)
_TURNS: dict[Tta, tuple[int, ...]] = {"flips": (0, 2), "d4": (0, 1, 2, 3)}


class Predictor:
    """Grey values of both dates → logits: the one way in which scenes are tuned on, scored, and rasters assessed.

    Args:
        net: what answers; it is moved to the device.
        normalise: grey values → what the net expects.
        device: `cuda` or `cpu`.
        dtype: numbers to compute in; `None` for float32.
        tta: views whose logits are averaged.
        temperatures: by which the averaged logits are divided.
    """

    def __init__(
        self,
        net: nn.Module,
        normalise: nn.Module,
        *,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        tta: Tta = "none",
        temperatures: Temperatures = Temperatures(),  # noqa: B008  a tuple never changes
    ) -> None:
        self.device = device
        self.temperatures = temperatures
        self._net = net.to(device).eval()
        self._normalise = normalise.to(device)
        self._dtype = dtype
        self._views = [*itertools.product(_TURNS[tta], (False, True))] if tta != "none" else [(0, False)]

    @torch.inference_mode()
    def __call__(self, pre: Tensor, post: Tensor) -> Logits:
        """Return float32 logits of both heads; both dates (b, 3, h, w) in grey values, sides multiples of 32."""
        with torch.autocast(self.device, self._dtype, enabled=self._dtype is not None):
            dates = [self._normalise(date.to(self.device).float()) for date in (pre, post)]
            total = self._view(dates, *self._views[0])
            for view in self._views[1:]:
                total = Logits(*map(torch.add, total, self._view(dates, *view)))
        n = len(self._views)
        return Logits(total.building / n / self.temperatures.building, total.damage / n / self.temperatures.damage)

    def _view(self, dates: list[Tensor], turns: int, flip: bool) -> Logits:
        """Return the answer to the dates as seen from another side, turned back."""
        seen = (torch.rot90(date.flip(-1) if flip else date, turns, (-2, -1)) for date in dates)
        back = (torch.rot90(head.float(), -turns, (-2, -1)) for head in self._net(*seen))
        return Logits(*(head.flip(-1) if flip else head for head in back))


def folded(net: nn.Module) -> nn.Module:
    """Return the net with each batch norm as part of the convolution before it: the same answer in less time.

    Args:
        net: in evaluation mode.
    """
    try:
        return fuse(net)
    except (TraceError, NameError, RuntimeError, TypeError) as error:
        # Code that looks at values or lengths, or keeps modules in lists, cannot be followed.
        _log.debug("batch norms stay apart: %s", error)
        return net
