"""Nodes of the pipeline `inference` that write the pages of an assessment."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.inference.buildings import read_building_layer
from xview2_siamese_unet.inference.footprint_sources import sources_text
from xview2_siamese_unet.inference.no_model import is_no_model
from xview2_siamese_unet.inference.record import Predicted
from xview2_siamese_unet.report.assessment import MapBuildings, MapContent, render_assessment, render_map

_PICTURE = 2560  # pixels of the longer side; about a megabyte an image
_SMALL_PICTURE = 900
_NO_IMAGE = {"name": "none", "date": None}
_FACTS = ("building_id", "status", "reason", "confidence", "p_none", "p_minor", "p_major", "p_destroyed")
_MORE_FACTS = ("area_m2", "visible_fraction", "footprint_source")


def write_map(predicted: Predicted, buildings: Path, summary: str) -> str:
    """Return the map as one HTML file, with warnings on the counts of buildings."""
    grid, record = predicted.pair.grid, predicted.record
    frame = read_building_layer(buildings)
    # A missing or empty geometry intersects nothing.
    shown = frame[frame.geometry.intersects(shapely.box(*grid.bounds)).to_numpy()]
    content = MapContent(
        title="Building damage",
        pictures=predicted.pair.previews(_PICTURE),
        size=(grid.width, grid.height),
        pixel=grid.pixel,
        buildings=_buildings(shown, predicted),
        notes=[
            *(f"{name}: {value}" for name, value in _provenance(record).items()),
            f"buildings on this map: {len(shown)} of {len(frame)}; others are outside of it or have no polygon",
        ],
        warnings=[*record["warnings"], *json.loads(summary)["warnings"]],
    )
    return render_map(content)


def write_assessment(predicted: Predicted, summary: str) -> str:
    """Return the report of an assessment as one HTML file."""
    record, numbers = predicted.record, json.loads(summary)
    pre, post = predicted.pair.previews(_SMALL_PICTURE)
    pictures = {"Pre-disaster image": pre, "Post-disaster image": post}
    if record["pre"] is None:
        del pictures["Pre-disaster image"]
    warnings = [*record["warnings"], *numbers["warnings"]]
    return render_assessment(
        "Building damage", numbers, pictures, _provenance(record), warnings, record.get("sections")
    )


def _provenance(record: dict[str, Any]) -> dict[str, str]:
    grid, model = record["grid"], record["model"]
    images = {"pre-disaster image": record["pre"] or _NO_IMAGE, "post-disaster image": record["post"]}
    columns, rows = record["shift_px"]
    varying = "" if record["shift_field_px"] is None else ", varying over the scene"
    return {
        **{name: f"{image['name']}, {image['date'] or 'date not stated'}" for name, image in images.items()},
        "grid": f"{grid['width']} × {grid['height']} pixels of {grid['pixel_m']:.3g} m, {grid['crs']}",
        "co-registration": f"post-disaster image moved by {columns:g} columns and {rows:g} rows of pixels{varying}",
        "footprints": _describe_footprints(record.get("polygons", {}).get("footprints")),
        "model": _describe_model(model),
        "run": f"{record['run_id']}, code {record['code']}",
    }


def _describe_footprints(file: dict[str, Any] | None) -> str:
    if file is None:
        return "outlined by the model"
    return f"{file['name']}: {sources_text(file.get('sources', ())) or 'the file states neither licence nor date'}"


def _describe_model(model: dict[str, Any]) -> str:
    if is_no_model(model):
        return "none"
    trained = f"{model['id']}, trained on {model['dataset']}"
    return f"{model['name']}, {trained}, licence: {model['licence']}" if "name" in model else trained


def _buildings(frame: Any, predicted: Predicted) -> MapBuildings:  # noqa: ANN401
    grid = predicted.pair.grid
    origin = np.array([grid.left, grid.top])
    pixels = shapely.transform(frame.geometry.to_numpy(), lambda xy: (xy - origin) / [grid.pixel, -grid.pixel])
    damage = frame["damage"].astype("Int8").fillna(len(Damage) - 1).astype(int).to_numpy()
    facts = {name: [_text(value) for value in frame[name]] for name in (*_FACTS, *_MORE_FACTS)}
    return MapBuildings(
        polygons=pixels,
        classes=(damage - int(Damage.NO_DAMAGE)).tolist(),
        confidence=frame["confidence"].to_numpy(float),
        area=frame["area_m2"].to_numpy(float),
        facts=facts,
    )


def _text(value: Any) -> str:  # noqa: ANN401
    if pd.isna(value):
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
