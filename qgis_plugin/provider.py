"""The plugin, its provider of Processing algorithms, and the setting with the path of `xview2`."""

from __future__ import annotations

from pathlib import Path

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsApplication, QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithms import ALGORITHMS, SETTING

_ICON = Path(__file__).with_name("icon.svg")


class Provider(QgsProcessingProvider):  # type: ignore[misc]
    """The algorithms, with the ids `xview2:assess` and so on."""

    def id(self) -> str:
        """Return the first part of the id of each algorithm."""
        return "xview2"

    def name(self) -> str:
        """Return the title of the group in the toolbox."""
        return "xView2 damage assessment"

    def icon(self) -> QIcon:
        """Return the icon."""
        return QIcon(str(_ICON))

    def load(self) -> bool:
        """Add the setting and the algorithms."""
        ProcessingConfig.settingIcons[self.name()] = self.icon()
        text = "Path of the command xview2 (empty: the one on PATH)"
        ProcessingConfig.addSetting(Setting(self.name(), SETTING, text, "", valuetype=Setting.FILE))
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        """Remove the setting."""
        ProcessingConfig.removeSetting(SETTING)

    def loadAlgorithms(self) -> None:  # noqa: N802  QGIS calls it
        """Add the algorithms."""
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())


class Plugin:
    """The plugin that QGIS and `qgis_process` load."""

    def __init__(self) -> None:
        self._provider: Provider | None = None

    def initProcessing(self) -> None:  # noqa: N802  QGIS calls it
        """Add the provider."""
        self._provider = Provider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:  # noqa: N802  QGIS calls it
        """Add the provider; the plugin has no other user interface."""
        self.initProcessing()

    def unload(self) -> None:
        """Remove the provider."""
        QgsApplication.processingRegistry().removeProvider(self._provider)
