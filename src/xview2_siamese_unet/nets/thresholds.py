"""From which probability a pixel is building; without torch, for whoever only draws the line."""

from __future__ import annotations

from typing import NamedTuple


class Thresholds(NamedTuple):
    """From which probability a pixel is building: of whatever class, and where the damage head sees damage.

    A collapsed roof looks less like a roof, so `damaged` is the lower of the two.
    """

    building: float = 0.5
    damaged: float = 0.5
