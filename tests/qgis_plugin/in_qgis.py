"""Runs the algorithms in QGIS: from the toolbox, in a model, and with Cancel. Prints one JSON object.

Run this with the Python of QGIS.

Arguments: folder with pre.tif, post.tif and buildings.gpkg, and the path of xview2.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

folder, xview2 = Path(sys.argv[1]), sys.argv[2]
sys.path[:0] = [str(Path(__file__).parents[2]), "/usr/share/qgis/python/plugins"]

from qgis.core import (  # noqa: E402
    QgsApplication,
    QgsFeatureRequest,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)

application = QgsApplication([], False)
application.initQgis()

import processing  # noqa: E402
from processing.core.Processing import Processing  # noqa: E402
from processing.core.ProcessingConfig import ProcessingConfig  # noqa: E402

from qgis_plugin import classFactory  # noqa: E402

PAIR = {"PRE": str(folder / "pre.tif"), "POST": str(folder / "post.tif")}
Source = QgsProcessingModelChildParameterSource


class Recorder(QgsProcessingFeedback):
    """Records progress and warnings, and cancels at a step."""

    def __init__(self, cancel_at: str = "") -> None:
        super().__init__(False)
        self.cancel_at, self.progress, self.warnings, self.canceled = cancel_at, [], [], 0.0
        self.progressChanged.connect(self.progress.append)

    def setProgressText(self, text: str) -> None:  # noqa: N802
        if self.cancel_at and self.cancel_at in text:
            self.canceled = time.monotonic()
            self.cancel()

    def pushWarning(self, text: str) -> None:  # noqa: N802
        self.warnings.append(text)


def show() -> dict[str, Any]:
    """Assess footprints of a layer in memory, and load the results into the project."""
    memory = QgsVectorLayer(str(folder / "buildings.gpkg"), "stored").materialize(QgsFeatureRequest())
    QgsProject.instance().addMapLayer(memory)
    recorder, out = Recorder(), folder / "shown"
    values = {**PAIR, "FOOTPRINTS": memory.id(), "MODEL": str(folder / "model.yml"), "OUT": str(out)}
    outputs = processing.runAndLoadResults("xview2:assess", values, feedback=recorder)
    layers = {layer.name(): layer.renderer() for layer in QgsProject.instance().mapLayers().values()}
    return {
        "outputs": outputs,
        "progress": recorder.progress,
        "warnings": recorder.warnings,
        "buildings": [each.label() for each in layers["Buildings"].categories()],
        "damage": [each.label for each in layers["Damage of pixels"].classes()],
    }


def by_hand() -> list[str]:
    """Open a damage raster like a user; return the colour and transparency of each code."""
    layer = QgsRasterLayer(str(folder / "codes.tif"), "codes")
    drawn = layer.renderer().block(1, layer.extent(), layer.width(), layer.height())
    return [f"{drawn.color(0, column):08x}" for column in range(layer.width())]


def model() -> list[Any]:
    """Assess in a QGIS model whose second step reads the buildings."""
    made = QgsProcessingModelAlgorithm("made", "made")
    made.initAlgorithm()
    assess = QgsProcessingModelChildAlgorithm("xview2:assess")
    values = {**PAIR, "FOOTPRINTS": str(folder / "buildings.gpkg"), "OUT": str(folder / "model"), "LOAD": False}
    for name, value in values.items():
        assess.addParameterSources(name, [Source.fromStaticValue(value)])
    first = made.addChildAlgorithm(assess)
    extract = QgsProcessingModelChildAlgorithm("native:extractbyexpression")
    extract.addParameterSources("INPUT", [Source.fromChildOutput(first, "BUILDINGS")])
    extract.addParameterSources("EXPRESSION", [Source.fromStaticValue("reason = 'no model'")])
    extract.addParameterSources("OUTPUT", [Source.fromStaticValue(str(folder / "extracted.gpkg"))])
    made.addChildAlgorithm(extract)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    _, done = made.run({}, context, QgsProcessingFeedback())
    layer = QgsVectorLayer(str(folder / "extracted.gpkg"), "extracted")
    return [done, sorted(each["building_id"] for each in layer.getFeatures())]


def features() -> list[Any]:
    """Return the option `features` of both algorithms that have it: as chosen, and if left out."""
    chosen, context = [], QgsProcessingContext()
    for name, given in (("label", {"FEATURES": "random"}), ("adapt", {"FEATURES": "package"}), ("adapt", {})):
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"xview2:{name}")
        values = {"FOLDER": str(folder), "LABELS": str(folder / "buildings.gpkg"), **given}
        assert algorithm.prepare(values, context, QgsProcessingFeedback())
        chosen.append(algorithm.options_of_command(algorithm._values)["features"])
    return chosen


def cancel() -> dict[str, Any]:
    """Cancel while the command runs."""
    recorder = Recorder(cancel_at="harmonise")
    try:
        processing.run(
            "xview2:assess",
            {**PAIR, "MODEL": str(folder / "model.yml"), "OUT": str(folder / "canceled")},
            feedback=recorder,
        )
    except QgsProcessingException as error:
        return {"error": str(error), "seconds": time.monotonic() - recorder.canceled}
    return {}


Processing.initialize()
plugin = classFactory(None)
plugin.initProcessing()
ProcessingConfig.setSettingValue("XVIEW2_COMMAND", xview2)
found = {"show": show(), "by_hand": by_hand(), "model": model(), "features": features(), "cancel": cancel()}
plugin.unload()
sys.stdout.write(json.dumps(found))
