"""Numbers of a report as text."""

from __future__ import annotations

from typing import Final

FEW: Final = 50
"""Pixels below which a bin of a reliability diagram is not drawn, because it is noise; the ECE counts it."""


def percent(share: float) -> str:
    """Return a share as text that is 0 only for 0: 12.3 %, 0.04 %, < 0.01 %."""
    if share == 0:
        return "0 %"
    if share < 1e-4:
        return "< 0.01 %"
    return f"{100 * share:.1f} %" if share >= 1e-3 else f"{100 * share:.2f} %"
