"""The record of an assessment (`run.json`): everything needed to repeat it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xview2_siamese_unet import __version__
from xview2_siamese_unet.atomic import sha256
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.errors import CheckpointError
from xview2_siamese_unet.inference.pair import HarmonisedPair
from xview2_siamese_unet.inference.vector_formats import split_layer
from xview2_siamese_unet.models.card import runtime_version
from xview2_siamese_unet.raster.export import is_synthetic
from xview2_siamese_unet.raster.reader import Pair
from xview2_siamese_unet.raster.source import Source, read_source
from xview2_siamese_unet.raster.windows import WindowPlan

SYNTHETIC_MODEL = "the model was trained on synthetic scenes: its predictions on real images mean nothing"
_SYNTHETIC = "sample"
_OTHER_PIXELS = 1.25


@dataclass(frozen=True, slots=True)
class Predicted:
    """A predicted pair: windows over its grid, the record so far, time of the newest input."""

    pair: Pair
    plan: WindowPlan
    record: dict[str, Any]
    stamp: str


def describe(
    harmonised: HarmonisedPair, checkpoint: Mapping[str, Any], params: InferenceParams, hardware: HardwareParams
) -> dict[str, Any]:
    """Return inputs, model and settings; `run_id` depends on everything that affects the pixels."""
    pair, model = describe_pair(harmonised.pair), describe_model(checkpoint)
    windows, numbers = params.windows.model_dump(mode="json"), hardware.model_dump(mode="json")
    deciding = json.dumps([__version__, pair, model, windows, numbers], sort_keys=True)
    libraries = ("torch", "numpy", "rasterio", "shapely", "pyproj", "exactextract")
    runtime = {"onnxruntime": runtime_version()} if "card" in checkpoint else {}
    # Only the names of files: their folders are private, and the record is published.
    named = {key: value.name if isinstance(value, Path) else value for key, value in params.model_dump().items()}
    named["masks"] = [mask.name for mask in params.masks]
    return {
        "run_id": hashlib.sha256(deciding.encode()).hexdigest()[:12],
        "code": __version__,
        "versions": {name: version(name) for name in libraries if find_spec(name)} | runtime,
        "model": model,
        **pair,
        "polygons": _describe_vectors(params, harmonised.footprint_sources),
        "registration": asdict(harmonised.shift) if harmonised.shift else None,
        "warnings": [*harmonised.warnings, *model_warnings(model), *pixel_warnings(model, harmonised.pair.grid.pixel)],
        "settings": {"inference": named, "hardware": numbers},
    }


def describe_pair(pair: Pair) -> dict[str, Any]:
    """Return grid, radiometry and the files of both images as plain values."""
    grid, field = pair.grid, pair.field
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
        "shift_field_px": None
        if field is None
        else {
            "spacing": field.spacing,
            "rows": field.rows.round(3).tolist(),
            "columns": field.columns.round(3).tolist(),
        },
        "aoi": None if pair.aoi is None else pair.aoi.wkt,
        "black_is_no_data": pair.black_is_no_data,
        "pre": None if pair.post_only else describe_source(pair.pre),
        "post": describe_source(pair.post),
    }


def describe_source(source: Source) -> dict[str, Any]:
    """Return one image as plain values, its files with SHA-256."""
    return {
        "name": source.path.name,
        "date": source.taken,
        "crs": source.extent.crs.to_string(),
        "dtype": source.dtype,
        "files": [{"name": t.path.name, "bands": list(t.bands), "sha256": sha256(t.path)} for t in source.tiles],
    }


def describe_model(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return provenance and tuning of a checkpoint or a card; `id` is the start of the fingerprint.

    For a card, they include its name, its origin and the SHA-256 of every file.
    """
    provenance = ("fingerprint", "dataset", "licence", "version", "commit", "epoch", "scores")
    tuning = ("prediction", "temperatures", "thresholds")
    of_card = ("name", "origin", "pixel_size", "members", "ensemble_temperatures") if "card" in checkpoint else ()
    model = {key: checkpoint.get(key) for key in (*provenance, *tuning, *of_card)}
    return {"id": str(model["fingerprint"])[:12], **model}


def model_warnings(model: Mapping[str, Any]) -> list[str]:
    """Return the warnings on a model as `describe_model` describes it."""
    return [SYNTHETIC_MODEL] if model["dataset"] == _SYNTHETIC else []


def refuse_synthetic(model: Mapping[str, Any], params: InferenceParams) -> None:
    """Refuse to assess real images with a model trained on synthetic scenes, unless it was named.

    Args:
        model: as `describe_model` describes it.
        params: the images, and the model that was named.

    Raises:
        CheckpointError: the model is the default, and the post-disaster image is not tagged as synthetic.
    """
    if model["dataset"] != _SYNTHETIC or params.model is not None or params.post is None:
        return
    post = read_source(params.post.expanduser(), params.images.post_bands)
    if not is_synthetic(post.tiles[0].path):
        raise CheckpointError(
            f"The model of this environment was trained on synthetic scenes, but {params.post.name} is not one.",
            hint="Choose a model with --model or --env; or prepare the folder for labels with --model none. To use "
            "this model anyway, name it: --model default/quickstart.",
        )


def pixel_warnings(model: Mapping[str, Any], pixel: float) -> list[str]:
    """Return a warning if pixels differ by more than a quarter from the pixel size in the card of a model.

    Args:
        model: as `describe_model` describes it.
        pixel: of the grid, in metres.
    """
    usual = model.get("pixel_size")
    if usual is None or 1 / _OTHER_PIXELS <= pixel / usual <= _OTHER_PIXELS:
        return []
    return [
        f"the model was trained on pixels of {usual:g} m, and these images have {pixel:.3g} m: expect worse "
        f"predictions, or set inference.pixel_size: {usual:g}"
    ]


def _describe_vectors(params: InferenceParams, sources: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Return name, layer and digest of the vector files of the user, and the sources of footprints."""
    inputs = {"footprints": params.footprints, "aoi": params.aoi, "zones": params.zones}
    inputs |= {f"mask {number}": path for number, path in enumerate(params.masks, 1)}
    files = {key: split_layer(path.expanduser()) for key, path in inputs.items() if path is not None}
    described: dict[str, Any] = {
        key: {"name": path.name, "layer": layer, "sha256": sha256(path)} for key, (path, layer) in files.items()
    }
    if "footprints" in described:
        described["footprints"] |= {"sources": list(sources)}
    return described


def newest_input(pair: Pair) -> str:
    """Return the time of the newest input, a time stamp of products that is the same in every run."""
    return newest_file(tile.path for source in (pair.pre, pair.post) for tile in source.tiles)


def newest_file(paths: Iterable[Path]) -> str:
    """Return the time of the newest of some files."""
    newest = max(path.stat().st_mtime for path in paths)
    return datetime.fromtimestamp(newest, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
