"""Translates an assessment into what its pages show."""

from typing import Any

import numpy as np
import pandas as pd
import shapely

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.inference.record import Predicted
from xview2_siamese_unet.raster.window_preview import previews
from xview2_siamese_unet.report.map import MapBuildings, MapContent, render_map

_PICTURE = 2560  # pixels of the longer side; about a megabyte a date
_FACTS = ("building_id", "status", "reason", "confidence", "p_none", "p_minor", "p_major", "p_destroyed")
_MORE_FACTS = ("area_m2", "visible_fraction", "footprint_source")


def write_map(predicted: Predicted, buildings: Any) -> str:  # noqa: ANN401  a GeoDataFrame
    """Return the map as HTML."""
    grid, record = predicted.pair.grid, predicted.record
    there = buildings[~shapely.is_empty(buildings.geometry.to_numpy()) & buildings.geometry.notna().to_numpy()]
    there = there[there.geometry.intersects(shapely.box(*grid.bounds)).to_numpy()]
    content = MapContent(
        title="Building damage",
        pictures=previews(predicted.pair, _PICTURE),
        size=(grid.width, grid.height),
        pixel=grid.pixel,
        buildings=_buildings(there, predicted),
        notes=[
            f"before: {record['pre']['name']}, {record['pre']['date'] or 'date not stated'}",
            f"after: {record['post']['name']}, {record['post']['date'] or 'date not stated'}",
            f"model: {record['model']['id']}, trained on {record['model']['dataset']}",
            f"grid: {grid.pixel:.3g} m, {grid.crs}",
            f"run: {record['run_id']}, code {record['code']}",
            *record["warnings"],
        ],
    )
    return render_map(content)


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
