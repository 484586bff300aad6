"""What made an assessment: enough to tell whether work that lies there is this run's own, and to make it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xview2_siamese_unet import __version__
from xview2_siamese_unet.atomic import sha256
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.raster.reader import Pair, ShiftField
from xview2_siamese_unet.raster.source import Source
from xview2_siamese_unet.raster.windows import WindowPlan


def describe_pair(pair: Pair) -> dict[str, Any]:
    """Return grid, radiometry and the files of both dates as plain values."""
    grid = pair.grid
    return {
        "grid": {
            "crs": grid.crs,
            "left": grid.left,
            "top": grid.top,
            "pixel_m": grid.pixel,
            "width": grid.width,
            "height": grid.height,
        },
        "stretch": [None if stretch is None else list(stretch) for stretch in pair.stretch],
        "shift_px": list(pair.shift),
        "shift_field_px": None if pair.field is None else _field(pair.field),
        "aoi": None if pair.aoi is None else pair.aoi.wkt,
        "black_is_no_data": pair.black_is_no_data,
        "pre": _source(pair.pre),
        "post": _source(pair.post),
    }


def _field(field: ShiftField) -> dict[str, Any]:
    return {"spacing": field.spacing, "rows": field.rows.round(3).tolist(), "columns": field.columns.round(3).tolist()}


def _source(source: Source) -> dict[str, Any]:
    return {
        "name": source.path.name,
        "date": source.taken,
        "crs": source.extent.crs.to_string(),
        "dtype": source.dtype,
        "files": [{"name": t.path.name, "bands": list(t.bands), "sha256": sha256(t.path)} for t in source.tiles],
    }


def describe_model(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says of itself."""
    keys = ("fingerprint", "dataset", "licence", "version", "commit", "epoch", "scores")
    fitted = ("prediction", "temperatures", "thresholds")
    said = {key: checkpoint.get(key) for key in (*keys, *fitted)}
    return {"id": str(said["fingerprint"])[:12], **said}


def settings(params: InferenceParams, hardware: HardwareParams) -> dict[str, Any]:
    """Return the parameters as plain values; of a file its name alone: where it lay is nobody else's business."""
    named = {key: value.name if isinstance(value, Path) else value for key, value in params.model_dump().items()}
    return {"inference": named, "hardware": hardware.model_dump(mode="json")}


def describe_vectors(params: InferenceParams) -> dict[str, Any]:
    """Return name and digest of the polygons that the user brings."""
    from xview2_siamese_unet.inference.vector_file import split_layer  # noqa: PLC0415  geopandas is slow to import

    given = {"footprints": params.footprints, "aoi": params.aoi, "zones": params.zones}
    files = {key: split_layer(path.expanduser()) for key, path in given.items() if path is not None}
    return {key: {"name": path.name, "layer": layer, "sha256": sha256(path)} for key, (path, layer) in files.items()}


def versions() -> dict[str, str]:
    """Return the versions of what decides numbers."""
    return {name: version(name) for name in ("torch", "numpy", "rasterio", "shapely", "pyproj", "exactextract")}


def fingerprint(
    pair: Mapping[str, Any], model: Mapping[str, Any], params: InferenceParams, hardware: HardwareParams
) -> str:
    """Return a digest of everything that decides the pixels of the products."""
    windows, numbers = params.windows.model_dump(mode="json"), hardware.model_dump(mode="json")
    deciding = [code_version(), pair, dict(model), windows, numbers]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def newest(pair: Pair) -> str:
    """Return the time of the newest input file: a time for products that does not change from run to run."""
    times = [tile.path.stat().st_mtime for source in (pair.pre, pair.post) for tile in source.tiles]
    return datetime.fromtimestamp(max(times), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def code_version() -> str:
    """Return the version of this package."""
    return __version__


@dataclass(frozen=True, slots=True)
class Predicted:
    """A pair whose every block has been answered.

    Attributes:
        pair: what was looked at.
        plan: windows over its grid.
        record: inputs, model and settings as plain values.
        stamp: time of the newest input.
    """

    pair: Pair
    plan: WindowPlan
    record: dict[str, Any]
    stamp: str
