"""Nodes of the pipeline `validation`: they connect the catalog with the package `validation`."""

import io
import json
import logging
from itertools import count
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from xview2_siamese_unet.atomic import sha256
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.config.validation_sample import ValidationParams
from xview2_siamese_unet.datasets.assessment import Layers
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.inference.buildings import read_building_layer
from xview2_siamese_unet.inference.footprints import as_texts, read_zone_layer
from xview2_siamese_unet.inference.products import outline_style
from xview2_siamese_unet.inference.reopen import assessment_root, reopen_pair, require_record
from xview2_siamese_unet.inference.summary import OUTSIDE, assign_zones, cell_names
from xview2_siamese_unet.inference.vector_formats import split_layer
from xview2_siamese_unet.labelling.labels import label_word, read_labels
from xview2_siamese_unet.labelling.page import labelling_page
from xview2_siamese_unet.report.estimates import render_estimates
from xview2_siamese_unet.validation.estimation import accuracy, estimates_table, survey
from xview2_siamese_unet.validation.sampling import (
    by_id,
    draw,
    in_population,
    new_population,
    outlines,
    require_population,
)
from xview2_siamese_unet.validation.statements import estimates_numbers

_log = logging.getLogger(__name__)
_STAMP = "1970-01-01T00:00:00.000Z"  # equal samples have equal bytes


def draw_sample(buildings: Path, folder: Path, params: ValidationParams, inference: InferenceParams) -> tuple[str, str]:
    """Return the population and the sample as CSV; an earlier sample of the folder is enlarged."""
    frame = read_building_layer(buildings)
    outline = outlines(frame)
    inside = in_population(frame)
    earlier, seed, drawn = folder / "population.csv", params.seed, []
    if earlier.is_file():
        population = _read_csv(earlier.read_text(encoding="utf-8"))
        require_population(population, frame)
        if (folder / "sample.csv").is_file():  # not if the first run was killed
            before = _read_csv((folder / "sample.csv").read_text(encoding="utf-8"))
            drawn, seed = before["building_id"].tolist(), int(before["seed"].iloc[0])
            _log.info("the sample of %d buildings in %s is enlarged", len(drawn), folder)
        if inference.zones is not None or seed != params.seed:
            _log.warning("the sample keeps its strata and its seed: --zones and validation.seed have no effect")
    else:
        zones = _zones(frame[inside], inference)
        names = None if zones is None else [zones[0][number] for number in zones[1]]
        population = new_population(frame[inside], params.count, seed, names)
        population["outline"] = population["building_id"].map(outline)
    if hidden := int((~inside).sum()):
        _log.warning(
            "%d of %d buildings are not visible or have no id: the estimates leave them out", hidden, len(frame)
        )
    sample = draw(population, params.count, drawn)
    if len(sample) < params.count:
        _log.warning("only %d buildings can be labelled: all of them are in the sample", len(sample))
    _log.info("sample: %d of %d buildings in %d strata", len(sample), len(population), sample["stratum"].nunique())
    return _write_csv(population), _write_csv(sample.assign(seed=seed))


def write_page(sample: str, buildings: Path, assessment: Path, folder: Path, inference: InferenceParams) -> str:
    """Return the labelling page, which shows no prediction; a page of a smaller sample is kept under another name."""
    pair = reopen_pair(assessment_root(assessment), {"pre": inference.pre, "post": inference.post})
    ids = _read_csv(sample)["building_id"].tolist()
    frame = read_building_layer(buildings)
    page = labelling_page(frame, pair, ids, show_prediction=False, title="Validation sample")
    earlier = folder / "label.html"
    if (
        earlier.is_file() and earlier.read_text(encoding="utf-8") != page
    ):  # a browser may hold labels of the earlier page
        _keep(earlier, "export its labels, and import them in the new page")
    return page


def _keep(path: Path, advice: str) -> None:
    """Rename a file that another one replaces."""
    names = (path.with_stem(f"{path.stem}.earlier{number or ''}") for number in count())
    kept = next(name for name in names if not name.exists())
    path.rename(kept)
    _log.warning("%s is kept as %s: %s", path.name, kept.name, advice)


def write_shapes(sample: str, buildings: Path, folder: Path, assessment: Path) -> Layers:
    """Return the outlines of the sample with a column `label`: empty, or with the labels entered there so far.

    Other columns of an earlier layer stay. If it holds anything else, its file is kept under another name.
    """
    ids = _read_csv(sample)["building_id"]
    frame = read_building_layer(buildings)
    layer = by_id(frame).loc[ids, [frame.geometry.name]].reset_index(names="building_id")
    layer.insert(1, "label", pd.Series(dtype=object))
    if (earlier := folder / "sample.gpkg").is_file():
        before = read_building_layer(earlier)
        if set(before.columns) > set(layer.columns) or ("label" in before and before["label"].notna().any()):
            layer = _with_entries(layer, before, read_labels(earlier, frame))
            if _without_shapes(before) != _without_shapes(layer):
                _keep(earlier, f"its labels of the sample are in the new {earlier.name}")
    layer = gpd.GeoDataFrame(layer, geometry=frame.geometry.name, crs=frame.crs)
    return Layers({"sample": layer}, {"sample": outline_style()}, _STAMP)


def _with_entries(layer: pd.DataFrame, before: gpd.GeoDataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Return the layer with the labels and other columns that a person has entered into an earlier one."""
    entered, labels = len(labels), labels[labels["building_id"].isin(layer["building_id"])]
    layer["label"] = layer["building_id"].map(labels.set_index("building_id")["damage"].map(label_word))
    others = before.columns.difference([*layer.columns, before.geometry.name], sort=False)
    if len(others) and "building_id" in before:
        rows = before[others].set_axis(as_texts(before["building_id"]))
        rows = rows[~rows.index.duplicated()].reindex(layer["building_id"])
        layer = pd.concat([layer.iloc[:, :2], rows.reset_index(drop=True), layer.iloc[:, 2:]], axis=1)
    _log.info("sample.gpkg: %d of %d labels are kept", len(labels), entered)
    return layer


def _without_shapes(layer: pd.DataFrame) -> str:
    return _write_csv(layer.drop(columns="geometry"))


def estimate(
    population: str,
    sample: str,
    buildings: Path,
    assessment: Path,
    params: ValidationParams,
    inference: InferenceParams,
) -> tuple[str, str]:
    """Return the estimates as a table and as JSON.

    Raises:
        ConfigError: no labels are named.
        StaleError: the sample was drawn from other buildings.
    """
    if params.labels is None:
        raise ConfigError("validation.labels names no file.", hint="Use kedro estimate DIR --labels FILE.")
    frame = read_building_layer(buildings)
    population_table, drawn = _read_csv(population), _read_csv(sample)
    require_population(population_table, frame)
    file = split_layer(params.labels.expanduser())[0]
    labels = read_labels(params.labels.expanduser(), frame)
    _warn(labels, drawn)
    sampled = survey(population_table, frame, drawn["building_id"].tolist(), labels)
    known = by_id(frame).loc[population_table["building_id"]]
    table = estimates_table(sampled, _levels(known, population_table, inference))
    left_out = {"outside": len(frame) - len(population_table), "trained": _trained(frame, drawn)}
    numbers = estimates_numbers(table, accuracy(sampled), sample=len(drawn), **left_out)
    origin = {
        "run_id": require_record(assessment)["run_id"],
        "seed": int(drawn["seed"].iloc[0]),
        "labels": [{"name": file.name, "sha256": sha256(file)}],
    }
    return _write_csv(table), json.dumps(origin | numbers, indent=2, allow_nan=False)


def write_estimates(estimates: str, assessment: Path) -> str:
    """Return the estimates as one HTML file."""
    record = require_record(assessment_root(assessment))  # adapted products name no images
    return render_estimates("Estimated building damage", json.loads(estimates), record)


def _warn(labels: pd.DataFrame, sample: pd.DataFrame) -> None:
    """Warn of labels of other buildings, and of buildings of the sample without a label."""
    inside = labels["building_id"].isin(sample["building_id"])
    if others := int((~inside).sum()):
        _log.warning("%d of %d labels are not of the validation sample and are not used", others, len(labels))
    if missing := len(sample) - int(inside.sum()):
        _log.warning(
            "%d of %d buildings of the sample have no label yet: the intervals are wider", missing, len(sample)
        )


def _trained(frame: gpd.GeoDataFrame, sample: pd.DataFrame) -> int:
    """Return how many buildings of the sample the head of adapted predictions was trained on."""
    if "label" not in frame:
        return 0
    trained = int(frame["building_id"][frame["label"].notna()].isin(sample["building_id"]).sum())
    if trained:
        _log.warning(
            "%d buildings of the sample were used to fit the head: adapt again, which leaves them out", trained
        )
    return trained


def _levels(
    frame: gpd.GeoDataFrame, population: pd.DataFrame, inference: InferenceParams
) -> dict[str, tuple[list[str], Any]]:
    """Return cells, and zones if there are any: names, and the number of the area of each building."""
    cell, cells = pd.factorize(pd.Series(cell_names(frame)), sort=True)
    zones = _zones(frame, inference)
    if zones is None and population["zone"].any():
        zone, names = pd.factorize(population["zone"], sort=True)
        zones = list(names), zone
    return {"cell": (list(cells), cell)} | ({} if zones is None else {"zone": zones})


def _zones(frame: gpd.GeoDataFrame, inference: InferenceParams) -> tuple[list[str], Any] | None:
    """Return the names of the zones and the number of that of each building."""
    if inference.zones is None:
        return None
    given = read_zone_layer(inference.zones.expanduser(), inference.zone_column)
    for warning in given.warnings:
        _log.warning(warning)
    zoned = assign_zones(frame, given.frame)
    assert zoned is not None  # noqa: S101  for mypy
    if zoned.several:
        _log.warning("%d buildings lie in more than one zone and count in the first of them", zoned.several)
    names = [*map(str, zoned.names), OUTSIDE]
    number = np.where(zoned.first < 0, len(zoned.names), zoned.first)
    return (names, number) if (zoned.first < 0).any() else (names[:-1], number)


def _write_csv(table: pd.DataFrame) -> str:
    text: str = table.to_csv(index=False, lineterminator="\n")  # the default is that of the system
    return text


def _read_csv(text: str) -> pd.DataFrame:
    texts = dict.fromkeys(("building_id", "stratum", "zone", "outline"), str)
    return pd.read_csv(io.StringIO(text), dtype=texts, keep_default_na=False)
