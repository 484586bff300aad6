"""Nodes of the pipeline `inference`: they connect the catalog with the package `inference`, without arithmetic."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd

from xview2_siamese_unet.atomic import sha256
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.config.modelling import HardwareParams
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.datasets.assessment import Layers, Rows
from xview2_siamese_unet.inference.buildings import (
    add_provenance,
    add_shift,
    area_of_interest,
    assess_buildings,
    building_outlines,
    hide_obscured,
    model_buildings,
    read_building_layer,
    simplify_outlines,
    valid_area,
    without_model,
)
from xview2_siamese_unet.inference.coregistration import estimate_footprint_shift, move_footprints
from xview2_siamese_unet.inference.no_model import NONE, check_no_model, is_no_model, no_model, visible_rows
from xview2_siamese_unet.inference.obscured import with_obscured
from xview2_siamese_unet.inference.pair import HarmonisedPair, harmonise
from xview2_siamese_unet.inference.prediction import WindowPredictor, choose_model, predict_rows
from xview2_siamese_unet.inference.products import (
    blocks_folder,
    buildings_style,
    check_out,
    damage_style,
    outline_style,
    products,
)
from xview2_siamese_unet.inference.record import (
    Predicted,
    describe,
    describe_model,
    model_warnings,
    newest_input,
    pixel_warnings,
    refuse_synthetic,
)
from xview2_siamese_unet.inference.reopen import describe_inputs
from xview2_siamese_unet.inference.summary import assign_zones, summary_numbers, summary_table, summary_warnings
from xview2_siamese_unet.models.vote import FinishedBlocks
from xview2_siamese_unet.raster.cog import RasterContent
from xview2_siamese_unet.raster.io import BANDS, LEVELS
from xview2_siamese_unet.raster.windows import BlockStore, WindowPlan

_log = logging.getLogger(__name__)


def harmonise_pair(params: InferenceParams, folder: Path) -> HarmonisedPair:
    """Return both images on one grid; all invalid inputs are refused here."""
    inputs = (params.pre, params.post, params.model, params.footprints, params.aoi, params.zones, *params.masks)
    check_out(folder, params.out, overwrite=params.overwrite, inputs=inputs)
    harmonised = with_obscured(harmonise(params), params)
    grid = harmonised.pair.grid
    _log.info("grid: %d × %d pixels of %.3g m, %s", grid.width, grid.height, grid.pixel, grid.crs)
    for warning in harmonised.warnings:
        _log.warning(warning)
    return harmonised


def take_model(params: InferenceParams, finished: dict[str, Any] | None) -> dict[str, Any]:
    """Return and log the checkpoint or card that is named, else the best checkpoint of this environment."""
    check_no_model(params)
    if params.model == NONE:
        return no_model()
    checkpoint = choose_model(params.model, finished)
    model = describe_model(checkpoint)
    refuse_synthetic(model, params)
    for warning in model_warnings(model):
        _log.warning(warning)
    where = params.model or "the best of this environment"
    epoch = "" if model["epoch"] is None else f", epoch {model['epoch']}"
    _log.info("model: %s (%s, trained on %s%s)", where, model["id"], model["dataset"], epoch)
    return checkpoint


def predict_raster(
    *,
    harmonised: HarmonisedPair,
    checkpoint: dict[str, Any],
    params: InferenceParams,
    hardware: HardwareParams,
    folder: Path,
) -> Iterator[tuple[Rows, Predicted]]:
    """Yield the blocks of the pair by rows, without the rows that an interrupted run has finished."""
    if is_no_model(checkpoint):
        yield from _visible_raster(harmonised, checkpoint, params, hardware)
        return
    pair, windows, started = harmonised.pair, params.windows, time.monotonic()
    predict = WindowPredictor(checkpoint, hardware, tta=windows.tta)
    record = describe(harmonised, checkpoint, params, hardware)
    for warning in pixel_warnings(record["model"], pair.grid.pixel):
        _log.warning(warning)
    record |= {"tta": predict.tta, "vote_weights": predict.vote_weights, "device": predict.device}
    predicted = Predicted(
        pair, WindowPlan(pair.grid.height, pair.grid.width, windows.size, windows.overlap), record, newest_input(pair)
    )
    store = BlockStore(blocks_folder(folder) / record["run_id"])
    batch_size = windows.batch_size or predict.usual_batch
    for number, columns in predict_rows(pair, predicted.plan, predict, store, batch_size, predict.thresholds):
        yield {record["run_id"]: {number: columns}}, predicted
    record["warnings"] += predict.warnings  # last, because memory may have run out in the last row
    record["seconds"] = {"predict": round(time.monotonic() - started, 1)}
    yield {record["run_id"]: {}}, predicted


def _visible_raster(
    harmonised: HarmonisedPair, checkpoint: dict[str, Any], params: InferenceParams, hardware: HardwareParams
) -> Iterator[tuple[Rows, Predicted]]:
    """Yield blocks that only mark visible pixels, without a prediction."""
    pair, windows, started = harmonised.pair, params.windows, time.monotonic()
    record = describe(harmonised, checkpoint, params, hardware) | {"tta": None, "vote_weights": None, "device": "cpu"}
    plan = WindowPlan(pair.grid.height, pair.grid.width, windows.size, windows.overlap)
    predicted = Predicted(pair, plan, record, newest_input(pair))
    for number, columns in visible_rows(pair, plan):
        yield {record["run_id"]: {number: columns}}, predicted
    record["seconds"] = {"predict": round(time.monotonic() - started, 1)}


def write_rasters(predicted: Predicted, blocks_of_runs: Path) -> tuple[RasterContent, RasterContent, str]:
    """Return damage codes and probabilities as rasters, written block by block, and the style of the codes."""
    grid, record = predicted.pair.grid, predicted.record
    blocks = FinishedBlocks(predicted.plan, BlockStore(blocks_of_runs / record["run_id"]))
    tags = {"TIFFTAG_SOFTWARE": f"xview2-siamese-unet {record['code']}", "RUN": record["run_id"]}
    colours = {int(code): (*code.rgb, 255 if code else 0) for code in Damage}
    legend = {f"CLASS_{int(code)}": code.word for code in Damage}
    codes = blocks.codes(record["vote_weights"])
    damage = RasterContent(grid, ("damage",), codes, colours, tags={**tags, **legend})
    probability = RasterContent(grid, BANDS, blocks.shares(), scale=1 / LEVELS, tags=tags)
    return damage, probability, damage_style()


def outline_buildings(
    harmonised: HarmonisedPair, params: InferenceParams, damage: Path, probability: Path
) -> tuple[gpd.GeoDataFrame, dict[str, Any]]:
    """Return the user's footprints, else the model's outlines, and the shift by which they were moved."""
    outlines, grid, wanted = harmonised.footprints, harmonised.pair.grid, params.buildings
    if outlines is None:
        polygons, small = building_outlines(damage, min_area=wanted.min_area)
        warning = f"{small} predicted patches smaller than {wanted.min_area:g} m² are not counted as buildings"
        return model_buildings(polygons, grid), {"moved": False, "warnings": [warning] if small else []}
    if wanted.footprint_shift == "off":
        return outlines, {"moved": False, "warnings": []}
    shift = estimate_footprint_shift(outlines, probability, grid)
    measured = {"columns": shift.columns, "rows": shift.rows, "confidence": shift.confidence}
    _log.info("shift of the footprints onto the predicted buildings: %s", measured)
    if not shift.is_reliable:
        warning = "no shift of the footprints could be measured: they were not moved"
        return outlines, {**measured, "moved": False, "warnings": [warning]}
    return move_footprints(outlines, shift, grid.pixel), {**measured, "moved": True, "warnings": []}


def vote_buildings(
    outlines: gpd.GeoDataFrame,
    harmonised: HarmonisedPair,
    predicted: Predicted,
    damage: Path,
    probability: Path,
    params: InferenceParams,
) -> Layers:
    """Return the layers of buildings, area of interest, valid area and, if there is any, obscured area."""
    pair, record = predicted.pair, predicted.record
    facts = {
        "basis": "post" if record["pre"] is None else "pair",
        "pre_id": record["pre"] and record["pre"]["name"],
        "pre_date": record["pre"] and record["pre"]["date"],
        "post_id": record["post"]["name"],
        "post_date": record["post"]["date"],
        "gsd_m": pair.grid.pixel,
        "model_id": record["model"]["id"],
        "run_id": record["run_id"],
    }
    weights = record["vote_weights"] or (1.0, 1.0, 1.0, 1.0)
    buildings = assess_buildings(outlines, probability, pair.grid, params.buildings, pair.aoi, weights)
    buildings = hide_obscured(buildings, harmonised.obscured, params.buildings)
    if is_no_model(record["model"]):
        buildings = without_model(buildings)
    if params.footprints is None:
        buildings = simplify_outlines(buildings, params.buildings.simplify * pair.grid.pixel)
    frames = {
        "buildings": add_provenance(add_shift(buildings, pair), facts),
        "aoi": area_of_interest(pair),
        "valid_area": valid_area(damage, pair.grid),
    }
    if harmonised.obscured is not None:
        frames["obscured"] = harmonised.obscured
    styles = {name: outline_style() for name in frames} | {"buildings": buildings_style()}
    return Layers(frames, styles, predicted.stamp)


def in_formats(buildings: Path, params: InferenceParams) -> dict[str, Any]:
    """Return the buildings once for each requested format."""
    return {name: read_building_layer(buildings) for name in params.formats}


def summarise_assessment(
    buildings: Path, harmonised: HarmonisedPair, footprint_shift: dict[str, Any]
) -> tuple[str, str]:
    """Return the numbers, with warnings on them, as JSON, and the numbers as a table."""
    frame = read_building_layer(buildings)
    zoned = assign_zones(frame, harmonised.zones)
    table = summary_table(frame, zoned)
    warnings = [*footprint_shift["warnings"], *summary_warnings(frame, zoned)]
    for warning in warnings:
        _log.warning(warning)
    numbers = summary_numbers(table, warnings) | {"footprint_sources": harmonised.footprint_sources}
    return json.dumps(numbers, indent=2, allow_nan=False), table.to_csv(index=False, lineterminator="\n")


def write_record(
    predicted: Predicted, footprint_shift: dict[str, Any], formats: list[Path], **made: str | Path
) -> dict[str, Any]:
    """Return the record of the run: inputs, model, settings, and the SHA-256 of every product."""
    numbers = json.loads(str(made["summary.json"]))
    counts = numbers["all"]
    _log.info(
        "buildings: %s", ", ".join(f"{key} {value}" for key, value in counts.items() if not isinstance(value, str))
    )
    everything = made | {path.name: path for path in formats}
    return {
        **predicted.record,
        "warnings": [*predicted.record["warnings"], *numbers["warnings"]],
        "footprint_shift": footprint_shift,
        "buildings": counts,
        "products": {name: _digest(everything[name]) for name in products() if name in everything},
    }


def note_inputs(predicted: Predicted, _record: dict[str, Any]) -> dict[str, str]:
    """Return the paths of the images, for later commands on this machine; last, because the record ends a run."""
    return describe_inputs(predicted.pair)


def _digest(product: str | Path) -> str:
    return sha256(product) if isinstance(product, Path) else hashlib.sha256(product.encode()).hexdigest()
