"""Make the pictures of the QGIS plugin with the Python of QGIS; `pictures.py` runs this with a synthetic pair.

Arguments: path of xview2, and a folder with before.tif, after.tif and model.pth. dialog.png and layers.png are written
to this folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), "/usr/share/qgis/python/plugins"]

from qgis.core import QgsApplication, QgsLayerTreeModel, QgsProject, QgsRasterLayer, QgsRectangle  # noqa: E402
from qgis.gui import QgsLayerTreeView, QgsMapCanvas  # noqa: E402
from qgis.PyQt.QtWidgets import QHBoxLayout, QWidget  # noqa: E402

application = QgsApplication([], True)
application.initQgis()

import processing  # noqa: E402
from processing.core.Processing import Processing  # noqa: E402
from processing.core.ProcessingConfig import ProcessingConfig  # noqa: E402
from processing.gui.AlgorithmDialog import AlgorithmDialog  # noqa: E402

from qgis_plugin import classFactory  # noqa: E402

ALGORITHM = "xview2:assess"
PARAMETERS = {"PRE": "before.tif", "POST": "after.tif", "MODEL": "model.pth", "OUT": "assessment"}
SHARE = 0.3
"""Share of the width and height of the images that the map shows."""


def screenshot(widget: QWidget, width: int, height: int, path: str) -> None:
    """Save a screenshot of a widget with a size in pixels."""
    widget.resize(width, height)
    widget.show()
    application.processEvents()
    for canvas in widget.findChildren(QgsMapCanvas):
        canvas.zoomToFeatureExtent(middle_of(canvas.layer(0)))
        canvas.waitWhileRendering()
    if not widget.grab().save(path):
        sys.exit(f"Cannot write {path}.")


def middle_of(layer: QgsRasterLayer) -> QgsRectangle:
    """Return the bounds of the middle of a layer."""
    bounds = layer.extent()
    bounds.scale(SHARE)
    return bounds


def screenshot_dialog(path: str) -> None:
    """Save a screenshot of the algorithm's dialog, opened as from the toolbox."""
    dialog = AlgorithmDialog(QgsApplication.processingRegistry().createAlgorithmById(ALGORITHM))
    dialog.setParameters(PARAMETERS)
    screenshot(dialog, 1000, 810, path)


def screenshot_layers(path: str) -> None:
    """Save a screenshot of legend and map: the layers that the algorithm has loaded, above the post-disaster image."""
    root = QgsProject.instance().layerTreeRoot()
    window, tree, canvas = QWidget(), QgsLayerTreeView(), QgsMapCanvas()
    model = QgsLayerTreeModel(root)
    model.setFlag(QgsLayerTreeModel.ShowLegend)
    tree.setModel(model)
    tree.expandAll()
    tree.setFixedWidth(tree.sizeHintForColumn(0) + 20)
    layout = QHBoxLayout(window)
    layout.addWidget(tree)
    layout.addWidget(canvas)
    canvas.setLayers(root.layerOrder())
    screenshot(window, 1000, 600, path)


os.chdir(sys.argv[2])
Processing.initialize()
plugin = classFactory(None)
plugin.initProcessing()
ProcessingConfig.setSettingValue("XVIEW2_COMMAND", sys.argv[1])
for name in ("before", "after"):
    QgsProject.instance().addMapLayer(QgsRasterLayer(f"{name}.tif", name))
screenshot_dialog("dialog.png")
processing.runAndLoadResults(ALGORITHM, PARAMETERS)
screenshot_layers("layers.png")
