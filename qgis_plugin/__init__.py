"""QGIS plugin: the commands of `xview2` as algorithms of the Processing toolbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .provider import Plugin


def classFactory(_iface: object) -> Plugin:  # noqa: N802  QGIS calls it
    """Return the plugin."""
    from .provider import Plugin  # noqa: PLC0415  command.py also works without QGIS

    return Plugin()
