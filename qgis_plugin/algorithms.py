"""Processing algorithms for the commands of `xview2`; each parameter is an option of the command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from processing.core.ProcessingConfig import ProcessingConfig
from qgis.core import (
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputDefinition,
    QgsProcessingOutputFile,
    QgsProcessingOutputHtml,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputString,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorLayer,
    QgsProcessingUtils,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QIcon

from .command import Canceled, CommandError, Line, Progress, Value, command_line, find_command, require_version, run

SETTING = "XVIEW2_COMMAND"
_ICON = Path(__file__).with_name("icon.svg")
_TEXT, _LOAD = "TEXT", "LOAD"
# Formats that xview2 reads; layers of other sources are written to a temporary file first.
_VECTORS = ["gpkg", "geojson", "geojsonl", "fgb", "shp", "parquet", "csv"]
_POLYGONS = [QgsProcessing.SourceType.TypeVectorPolygon]
_ANY = [QgsProcessing.SourceType.TypeVector]
_FOLDER = QgsProcessingParameterFile.Behavior.Folder


class Result(NamedTuple):
    """A file that a command writes.

    Attributes:
        output: of the algorithm.
        path: below the folder of results.
        layer: to load from a GeoPackage.
        order: position among the layers, the greatest on top; `None` is not loaded.
    """

    output: QgsProcessingOutputDefinition
    path: str
    layer: str = ""
    order: int | None = None

    def source(self, folder: str) -> str:
        """Return the data source of QGIS."""
        return str(Path(folder, self.path)) + (f"|layername={self.layer}" if self.layer else "")


class _Style(QgsProcessingLayerPostProcessorInterface):  # type: ignore[misc]
    """Apply the default style of a layer, which Processing does not do."""

    def postProcessLayer(  # noqa: N802  QGIS calls it
        self, layer: QgsMapLayer, _context: QgsProcessingContext, _feedback: QgsProcessingFeedback
    ) -> None:
        """Load the style in the GeoPackage, or in the .qml next to the raster."""
        layer.loadDefaultStyle()
        layer.triggerRepaint()


# QGIS deletes the C++ part of a post-processor, and keeps no reference to the Python part, which it calls.
_post_processors: list[_Style] = []


class Xview2Algorithm(QgsProcessingAlgorithm):  # type: ignore[misc]
    """A command. Its parameters have the names of the options, in capitals; the docstring is the help.

    Each command has the methods `parameters_of_command` and `results`, the files that it writes.
    """

    command: str
    title: str
    arguments: tuple[str, ...] = ("FOLDER",)
    results_in = ("FOLDER", "")
    """Parameter, and folder below it, of the results."""

    def options_of_command(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the options of the command line, by name."""
        options = (name for name in values if name not in (*self.arguments, _LOAD))
        return {name.lower(): values[name] for name in options}

    def is_shown(self, result: Result) -> bool:
        """Return whether to load a result."""
        return result.order is not None

    def createInstance(self) -> Xview2Algorithm:  # noqa: N802  QGIS calls it, like all methods in camel case
        """Return a new instance."""
        return type(self)()

    def name(self) -> str:
        """Return the last part of the id."""
        return type(self).__name__.lower()

    def displayName(self) -> str:  # noqa: N802
        """Return the name in the toolbox."""
        return self.title

    def shortHelpString(self) -> str:  # noqa: N802
        """Return the docstring."""
        return " ".join((type(self).__doc__ or "").split())

    def icon(self) -> QIcon:
        """Return the icon."""
        return QIcon(str(_ICON))

    def initAlgorithm(self, _configuration: Mapping[str, Any] | None = None) -> None:  # noqa: N802
        """Add the parameters and outputs."""
        results = self.results()
        parameters = self.parameters_of_command()
        if any(result.order is not None for result in results):
            parameters.append(QgsProcessingParameterBoolean(_LOAD, "Load the styled layers", True))
        for parameter in parameters:
            self.addParameter(parameter)
        for result in results:
            self.addOutput(result.output)
        self.addOutput(QgsProcessingOutputString(_TEXT, "Printed text"))

    def canExecute(self) -> tuple[bool, str]:  # noqa: N802
        """Return whether the command is installed, and a message if not."""
        try:
            find_command(ProcessingConfig.getSetting(SETTING))
        except CommandError as error:
            return False, str(error)
        return True, ""

    def prepareAlgorithm(  # noqa: N802
        self, parameters: Mapping[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Read the parameters in the main thread, which may use the layers of the project."""
        self._values = {
            definition.name(): self._read(definition, parameters, context, feedback)
            for definition in self.parameterDefinitions()
        }
        return True

    def processAlgorithm(  # noqa: N802
        self, _parameters: Mapping[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the command, load layers, and return the outputs."""
        words = [str(self._values[name] or "none") for name in self.arguments]
        text = self._run(words, self.options_of_command(self._values), feedback)
        outputs = {each.name(): self._values[each.name()] for each in self.destinationParameterDefinitions()}
        root, below = self.results_in
        for result in self.results():
            source = result.source(str(Path(str(self._values[root]), below)))
            outputs[result.output.name()] = source
            if self._values.get(_LOAD) and self.is_shown(result):
                _load(result, source, context)
        return {_TEXT: text, **outputs}

    def _run(self, words: list[str], options: Mapping[str, Value], feedback: QgsProcessingFeedback) -> str:
        """Run the command and show its log."""
        progress = Progress()

        def show(line: Line) -> None:
            done = progress.update(line.text)
            if done is not None:
                feedback.setProgress(done)
                feedback.setProgressText(line.text)
            elif line.level == "WARNING":
                feedback.pushWarning(line.text)
            elif line.text:
                feedback.pushInfo(line.text)

        try:
            path = find_command(ProcessingConfig.getSetting(SETTING))
            require_version(path)
            text = run(command_line(path, self.command, words, options), show, feedback.isCanceled)
        except CommandError as error:
            raise QgsProcessingException(str(error)) from error
        except Canceled as stop:
            raise QgsProcessingException("Canceled.") from stop
        feedback.pushInfo(text)
        return text

    def _read(
        self,
        definition: QgsProcessingParameterDefinition,
        parameters: Mapping[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> Value:
        """Return the value of a parameter in the form of the command line."""
        where = parameters, definition.name(), context
        if parameters.get(definition.name(), definition.defaultValue()) in (None, ""):
            return None
        kind = definition.type()
        if kind == "raster":
            return self._image(*where)
        if kind == "vector":
            layer = self.parameterAsVectorLayer(*where)
            if layer is None:
                raise QgsProcessingException(self.invalidSourceError(parameters, definition.name()))
            return _file(layer, context, feedback)
        readers = {
            "multilayer": self.parameterAsFileList,
            "number": self.parameterAsInt,
            "boolean": self.parameterAsBoolean,
            "enum": self.parameterAsEnumString,
            "file": self.parameterAsFile,
            "folderDestination": self.parameterAsFileOutput,
            "fileDestination": self.parameterAsFileOutput,
        }
        value: Value = readers[kind](*where)
        return value

    def _image(self, parameters: Mapping[str, Any], name: str, context: QgsProcessingContext) -> str:
        layer = self.parameterAsRasterLayer(parameters, name, context)
        if layer is None:  # a folder of tiles
            return str(self.parameterAsString(parameters, name, context))
        if layer.providerType() != "gdal":
            raise QgsProcessingException(f"Layer {layer.name()} is not a file. Save it as GeoTIFF first.")
        return str(layer.source())


def _load(result: Result, source: str, context: QgsProcessingContext) -> None:
    """Register a layer to be loaded when the algorithm has finished."""
    details = QgsProcessingContext.LayerDetails(result.output.description(), context.project(), result.output.name())
    details.layerSortKey = result.order  # of QGIS 3.32 and newer
    _post_processors.append(_Style())
    details.setPostProcessor(_post_processors[-1])
    context.addLayerToLoadOnCompletion(source, details)


def _file(layer: QgsVectorLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> str:
    """Return the file of a layer, with `|layername=` if needed."""
    written = "gpkg" if layer.isSpatial() else "csv"  # labels without geometry are read from CSV only
    path, name = QgsProcessingUtils.convertToCompatibleFormatAndLayerName(
        layer, False, "layer", _VECTORS, written, context, feedback
    )
    return f"{path}|layername={name}" if name else path


def _polygons(name: str, text: str) -> QgsProcessingParameterVectorLayer:
    return QgsProcessingParameterVectorLayer(name, text, _POLYGONS, optional=True)


def _assessment() -> QgsProcessingParameterFile:
    return QgsProcessingParameterFile("FOLDER", "Folder of the assessment", _FOLDER)


def _features() -> QgsProcessingParameterEnum:
    text = "Features: package (pretrained encoder) or random (convolutions of the images, no torch); empty: the default"
    return QgsProcessingParameterEnum("FEATURES", text, ["package", "random"], optional=True, usesStaticStrings=True)


def _buildings() -> Result:
    return Result(QgsProcessingOutputVectorLayer("BUILDINGS", "Buildings"), "buildings.gpkg", "buildings", 1)


def _pages() -> list[Result]:
    return [
        Result(QgsProcessingOutputHtml("MAP", "Map"), "map.html"),
        Result(QgsProcessingOutputHtml("REPORT", "Report"), "report.html"),
        Result(QgsProcessingOutputFile("SUMMARY", "Summary"), "summary.csv"),
    ]


class _Pair(Xview2Algorithm):
    """Two images."""

    arguments = ("PRE", "POST")

    def parameters_of_command(self) -> list[QgsProcessingParameterDefinition]:
        """Return the inputs."""
        file = QgsProcessing.SourceType.TypeFile
        return [
            QgsProcessingParameterRasterLayer("PRE", "Pre-disaster image", optional=True),
            QgsProcessingParameterRasterLayer("POST", "Post-disaster image"),
            _polygons("FOOTPRINTS", "Building footprints"),
            _polygons("AOI", "Area of interest"),
            _polygons("ZONES", "Zones to count buildings by"),
            QgsProcessingParameterMultipleLayers("MASK", "Cloud masks", file, optional=True),
        ]


class Check(_Pair):
    """Validate the inputs of an assessment.

    Prints the common grid, the shift between the images and every warning. Writes nothing.
    """

    command, title = "check", "Check images"

    def results(self) -> list[Result]:
        """Return no file."""
        return []


class Assess(_Pair):
    """Find damaged buildings between a pre- and a post-disaster image.

    Each image is a GeoTIFF, a VRT or a folder of GeoTIFF tiles. Without a model, the folder is prepared for labels: run
    Draw a validation sample, Write a labelling page and Adapt to labels next. This needs footprints, but no
    pre-disaster image.
    """

    command, title = "assess", "Assess damage"
    results_in = ("OUT", "")

    def parameters_of_command(self) -> list[QgsProcessingParameterDefinition]:
        """Return the inputs, the model and the folder."""
        return [
            *super().parameters_of_command(),
            QgsProcessingParameterFile("MODEL", "Checkpoint or model card (empty: no model)", optional=True),
            QgsProcessingParameterBoolean("OVERWRITE", "Replace an existing assessment in the folder", False),
            QgsProcessingParameterFolderDestination("OUT", "Folder of the assessment"),
        ]

    def options_of_command(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Pass `none` if there is no model."""
        return {**super().options_of_command(values), "model": values["MODEL"] or "none"}

    def is_shown(self, result: Result) -> bool:
        """Do not load the damage raster of an assessment without a model."""
        return super().is_shown(result) and (result.path != "damage.tif" or bool(self._values["MODEL"]))

    def results(self) -> list[Result]:
        """Return layers and pages."""
        damage = QgsProcessingOutputRasterLayer("DAMAGE", "Damage of pixels")
        probability = QgsProcessingOutputRasterLayer("PROBABILITY", "Probability of classes")
        return [
            _buildings(),
            Result(damage, "damage.tif", order=0),
            Result(probability, "probability.tif"),
            *_pages(),
        ]


class Validate(Xview2Algorithm):
    """Draw a random sample of buildings, whose labels are never used for training.

    Label them in the page, which shows no prediction, or in the layer: fill in the column label. Then run Estimate
    counts.
    """

    command, title = "validate", "Draw a validation sample"
    results_in = ("FOLDER", "validation")

    def parameters_of_command(self) -> list[QgsProcessingParameterDefinition]:
        """Return the folder and the size of the sample."""
        return [
            _assessment(),
            QgsProcessingParameterNumber("COUNT", "Number of buildings", optional=True, minValue=10),
            _polygons("ZONES", "Zones, in each of which buildings are sampled"),
        ]

    def results(self) -> list[Result]:
        """Return the page and the layer to label."""
        return [
            Result(QgsProcessingOutputHtml("PAGE", "Labelling page"), "label.html"),
            Result(QgsProcessingOutputVectorLayer("SAMPLE", "Validation sample"), "sample.gpkg", order=1),
        ]


class Label(Xview2Algorithm):
    """Write a page to label the damage of the buildings whose labels are most informative.

    It is one HTML file that works without a network. Buildings that have a label or are in the validation sample are
    left out. Export the labels from the page, then run Adapt to labels.
    """

    command, title = "label", "Write a labelling page"

    def parameters_of_command(self) -> list[QgsProcessingParameterDefinition]:
        """Return the folder, the labels so far and the page."""
        html = "HTML (*.html)"
        return [
            _assessment(),
            QgsProcessingParameterNumber("COUNT", "Number of buildings", defaultValue=60, minValue=1),
            QgsProcessingParameterVectorLayer("LABELS", "Labels so far", _ANY, optional=True),
            _features(),
            QgsProcessingParameterFileDestination(
                "OUT", "Page (empty: label.html in the folder)", html, None, True, False
            ),
        ]

    def results(self) -> list[Result]:
        """Return nothing: the page is an output already."""
        return []

    def processAlgorithm(  # noqa: N802
        self, parameters: Mapping[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Return the default path of the page if none was chosen."""
        outputs = super().processAlgorithm(parameters, context, feedback)
        return {**outputs, "OUT": outputs["OUT"] or str(Path(str(self._values["FOLDER"]), "label.html"))}


class Adapt(Xview2Algorithm):
    """Assess the buildings of an assessment again, with a head fitted on labels of this event.

    The assessment itself stays as it is. A few dozen labels of two classes are enough to begin with.
    """

    command, title = "adapt", "Adapt to labels"
    results_in = ("FOLDER", "adapted")

    def parameters_of_command(self) -> list[QgsProcessingParameterDefinition]:
        """Return the folder and the labels."""
        return [
            _assessment(),
            QgsProcessingParameterVectorLayer("LABELS", "Labels", _ANY),
            _features(),
            _polygons("ZONES", "Zones to count buildings by"),
        ]

    def results(self) -> list[Result]:
        """Return the layer and the pages."""
        return [_buildings(), *_pages()]


class Estimate(Xview2Algorithm):
    """Estimate how many buildings are damaged, with 95 % intervals, from labels of the validation sample.

    The folder is that of an assessment, or the folder adapted in it.
    """

    command, title = "estimate", "Estimate counts"
    results_in = ("FOLDER", "validation")

    def parameters_of_command(self) -> list[QgsProcessingParameterDefinition]:
        """Return the folder and the labels."""
        return [
            _assessment(),
            QgsProcessingParameterVectorLayer("LABELS", "Labels of the validation sample", _ANY),
            _polygons("ZONES", "Zones to estimate counts in"),
        ]

    def results(self) -> list[Result]:
        """Return the report and the table."""
        return [
            Result(QgsProcessingOutputHtml("REPORT", "Report"), "estimate.html"),
            Result(QgsProcessingOutputFile("ESTIMATES", "Table"), "estimates.csv"),
        ]


ALGORITHMS = (Check, Assess, Validate, Label, Adapt, Estimate)
