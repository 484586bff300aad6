"""Merging of assessments: each building once, from the assessment of lowest rank in its tile that shows it.

Predicted outlines may differ between tiles, so each tile leaves out buildings that an earlier tile has counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import rasterio
import shapely
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.campaign.footprints import CRS_OF_ALL, Footprints, ids_of
from xview2_siamese_unet.campaign.jobs import Task
from xview2_siamese_unet.campaign.plan import angle_and_clouds
from xview2_siamese_unet.campaign.tiles import Tile, neighbours, owners
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.buildings import (
    CEMS_UNKNOWN,
    NO_MODEL,
    NOT_ASSESSED,
    OBSCURED,
    geodesic_areas,
    read_building_layer,
)
from xview2_siamese_unet.raster.io import NO_DATA
from xview2_siamese_unet.types import BoolArray

Columns = Mapping[str, str]
"""Name → type of each column of the table, without the geometry."""
LAYER: Final = "buildings.gpkg"
NO_IMAGES: Final = "no images"
NO_POLYGON: Final = "no polygon"
FAILED: Final = "assessment failed"
VIEWS: Final = "n_views"
_OWN: Final = {"scene": "str", "why": "str", "off_nadir": "float64", "cloud_cover": "float64"}
_OF_VIEWS: Final = ("scene", "post_date", "status", "damage", "damage_label", "confidence")


class _View(NamedTuple):
    """An assessment of a tile: its buildings in degrees, `None` if it failed."""

    task: Task
    frame: gpd.GeoDataFrame | None


class Merged(NamedTuple):
    """Rows that a tile adds to the table.

    Attributes:
        tile: `None`: footprints without a polygon.
        buildings: that the tile owns, in degrees.
        history: a row for each footprint and view that shows it; `None` without footprints.
    """

    tile: Tile | None
    buildings: gpd.GeoDataFrame
    history: pd.DataFrame | None = None


def columns_of(scenes: Iterable[Path], *, footprints: bool) -> Columns:
    """Return the columns of the table: those of the assessments, then its own."""
    infos = (pyogrio.read_info(f"GPKG:{scene / LAYER}", layer=0) for scene in scenes)
    first = next(infos)
    about = next((info for info in chain([first], infos) if info["features"]), first)  # without rows, types are unknown
    # Types of pandas that allow missing values.
    types = ["str" if kind == "object" else str(kind).replace("int", "Int") for kind in about["dtypes"]]
    own = _OWN | ({VIEWS: "Int32"} if footprints else {})
    return dict(zip(about["fields"], types, strict=True)) | own


def merged_buildings(
    tasks: Iterable[Task], failed: Mapping[str, str], footprints: Footprints | None, columns: Columns
) -> Iterator[Merged]:
    """Yield the buildings of each tile, then the footprints without a polygon.

    Args:
        tasks: all jobs.
        failed: names of those without an assessment.
        footprints: all of them; `None`: the buildings that the model predicted.
        columns: see `columns_of`.

    Raises:
        DataError: an assessment holds other buildings than the footprints.
    """
    by_tile: defaultdict[Tile, list[Task]] = defaultdict(list)
    for task in sorted(tasks, key=lambda task: task.job.rank):
        by_tile[task.job.tile].append(task)
    footprints_by_tile = {} if footprints is None else footprints.by_tile
    tiles = sorted({*by_tile, *(tile for tile in footprints_by_tile if tile is not None)})
    views = (
        [
            _View(task, None if task.job.name in failed else _read(task, columns, prefix=footprints is None))
            for task in by_tile[tile]
        ]
        for tile in tiles
    )
    if footprints is None:
        yield from _merge_outlines(tiles, views, columns)
    else:
        for tile, of_tile in zip(tiles, views, strict=True):
            yield Merged(tile, *_merge_footprints(footprints.of(tile), of_tile, columns))
    if None in footprints_by_tile:
        rows = footprints_by_tile[None]
        yield Merged(None, _not_assessed(rows, NO_POLYGON, columns), _history(rows, [], columns))


def _read(task: Task, columns: Columns, *, prefix: bool) -> gpd.GeoDataFrame:
    """Return the buildings of an assessment; with `prefix`, the EPSG code is put before ids, which are positions."""
    frame = read_building_layer(task.scene / LAYER)
    if prefix:
        frame["building_id"] = f"{frame.crs.to_epsg()}_" + frame["building_id"]
    pre, post = task.job.pre, task.job.post
    facts = {
        "scene": task.job.name,
        "why": None,
        "pre_id": pre and pre.id,
        "pre_date": pre and pre.taken,
        "post_id": post.id,
        "post_date": post.taken,
        **angle_and_clouds(post, task.job.tile),
    }
    return _typed(frame.to_crs(CRS_OF_ALL).assign(**facts), columns)


def _typed(frame: gpd.GeoDataFrame, columns: Columns) -> gpd.GeoDataFrame:
    plain = pd.DataFrame(frame.drop(columns=frame.geometry.name)).reindex(columns=[*columns]).astype(dict(columns))
    return gpd.GeoDataFrame(plain, geometry=frame.geometry.to_numpy(), crs=frame.crs)


def _merge_footprints(
    footprints: gpd.GeoDataFrame, views: list[_View], columns: Columns
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Return a row for each footprint of a tile, and a row for each view that shows it.

    A footprint has the row of the view of lowest rank that shows it, whatever its class there. If no view shows it, the
    row is that of the view that shows most of it, with its reason.
    """
    frames = {number: view.frame for number, view in enumerate(views) if view.frame is not None}
    if not frames:
        return _not_assessed(footprints, FAILED if views else NO_IMAGES, columns), _history(footprints, [], columns)
    shown = np.zeros((len(views), len(footprints)), bool)
    shares = np.full(shown.shape, -1.0)
    reasons = np.full(shown.shape, FAILED, object)
    for number, frame in frames.items():
        if [*frame["building_id"].fillna("")] != [*ids_of(footprints).fillna("")]:
            raise DataError(
                f"{views[number].task.scene} holds other buildings than the footprints of its tile.",
                hint="Delete this folder, and run the campaign again.",
            )
        shown[number] = (frame["status"] != NOT_ASSESSED) | (frame["reason"] == NO_MODEL)
        shares[number] = (frame["visible_fraction"] - frame["obscured_fraction"]).fillna(0)
        reasons[number] = frame["reason"]
    chosen = np.where(shown.any(axis=0), shown.argmax(axis=0), shares.argmax(axis=0))
    parts = [frame[chosen == number] for number, frame in frames.items()]
    rows = _joined(parts, columns).sort_index()
    ranks = [view.task.job.rank for view in views]
    why = [_why(ranks, view if shown[view, row] else None, reasons[:, row]) for row, view in enumerate(chosen.tolist())]
    own = {name: footprints[name].astype("str") for name in ("building_id", "footprint_source")}
    view_counts = pd.Series(shown.sum(axis=0), dtype="Int32")
    history = _history(footprints, [frame[shown[number]] for number, frame in frames.items()], columns)
    return rows.assign(**own, why=pd.Series(why, dtype="str"), **{VIEWS: view_counts}), history


def _history(footprints: gpd.GeoDataFrame, shown: list[gpd.GeoDataFrame], columns: Columns) -> pd.DataFrame:
    """Return the buildings that each view shows, building by building and by date.

    Column `row` is the position of the building among the footprints.
    """
    rows = pd.DataFrame(_joined(shown, columns)).reindex(columns=["building_id", "row", *_OF_VIEWS])
    rows = rows.assign(building_id=footprints["building_id"].astype("str").reindex(rows.index), row=rows.index)
    return rows.sort_values(["row", "post_date"], ignore_index=True)


def _joined(parts: list[gpd.GeoDataFrame], columns: Columns) -> gpd.GeoDataFrame:
    """Return the rows of several frames; those without rows would change the types of columns in pandas."""
    filled = [part for part in parts if len(part)] or [_typed(gpd.GeoDataFrame(geometry=[], crs=CRS_OF_ALL), columns)]
    return gpd.GeoDataFrame(pd.concat(filled))


def _why(ranks: list[int], chosen: int | None, reasons: Iterable[str]) -> str:
    """Return the rank of the chosen view, and the reasons against those before it."""
    before = [f"rank {rank}: {reason}" for rank, reason in zip(ranks[:chosen], reasons, strict=False)]
    return "; ".join([f"rank {ranks[chosen]}" if chosen is not None else "no view", *before])


def _not_assessed(footprints: gpd.GeoDataFrame, reason: str, columns: Columns) -> gpd.GeoDataFrame:
    """Return the rows of footprints without an assessment."""
    facts = {"status": NOT_ASSESSED, "reason": reason, "cems_grade": CEMS_UNKNOWN, "why": "no view", VIEWS: 0}
    return _typed(footprints.assign(**facts, area_m2=geodesic_areas(footprints).round(2)), columns)


class _Pending(NamedTuple):
    """Outlines of finished tiles that a later tile needs.

    Attributes:
        counted: those in the table that reach its area or the margin around it.
        left: those that it owns, but that other tiles assessed, a frame for each of these.
    """

    counted: list[gpd.GeoDataFrame]
    left: list[gpd.GeoDataFrame]


def _merge_outlines(tiles: Sequence[Tile], views: Iterable[list[_View]], columns: Columns) -> Iterator[Merged]:
    """Yield the predicted outlines that each tile owns, without those of buildings that are counted already.

    If two tiles outline a building differently, each may own the outline of the other, and neither its own. Then the
    later tile counts the outline of the earlier one. Only outlines near edges are kept for later tiles.
    """
    reach = {tile: tile.reach for tile in tiles}
    around = neighbours(reach)
    pending: defaultdict[Tile, _Pending] = defaultdict(lambda: _Pending([], []))
    for tile, of_tile in zip(tiles, views, strict=True):
        known = pending.pop(tile, _Pending([], []))
        owned_by = [[] if view.frame is None else owners(view.frame.geometry.to_numpy()) for view in of_tile]
        own = _first_shown(of_tile, [[owner == tile for owner in of_view] for of_view in owned_by], columns)
        others = _first_shown(
            of_tile, [[owner not in (tile, None) for owner in of_view] for of_view in owned_by], columns
        )
        rows = [own[~_same(own, known.counted, tile)]]
        for frame in known.left:
            lost = frame[_same(frame, [others], tile)]
            rows.append(lost[~_same(lost, [*known.counted, *rows], tile)])
        buildings = _joined(rows, columns).reset_index(drop=True)
        yield Merged(tile, buildings)
        others = _within(others, reach[tile])
        owners_of_others = owners(others.geometry.to_numpy())
        for other in around[tile]:
            if other > tile:
                pending[other].counted.append(_within(buildings, reach[other]))
                pending[other].left.append(others[np.array([owner == other for owner in owners_of_others], bool)])


def _within(outlines: gpd.GeoDataFrame, area: BaseGeometry) -> gpd.GeoDataFrame:
    """Return the outlines that reach into an area."""
    return outlines.iloc[outlines.sindex.query(area, "intersects", sort=True)]


def _same(outlines: gpd.GeoDataFrame, known: Iterable[gpd.GeoDataFrame], tile: Tile) -> BoolArray:
    """Return which outlines show a known building: the two overlap by more than half of the smaller one.

    Neighbouring buildings often touch at a corner of a pixel, and overlap a little if images are shifted.
    """
    same = np.zeros(len(outlines), bool)
    known = [frame for frame in known if len(frame)]
    if not known or not len(outlines):
        return same
    # In metres: degrees jump at 180.
    here, *parts = (shapely.make_valid(frame.to_crs(tile.zone).geometry.to_numpy()) for frame in (outlines, *known))
    there = np.concatenate(parts)
    row, other = shapely.STRtree(there).query(here, "intersects")
    common = shapely.area(shapely.intersection(here[row], there[other]))
    same[row[common > np.minimum(shapely.area(here[row]), shapely.area(there[other])) / 2]] = True
    return same


def _first_shown(views: list[_View], wanted: Sequence[Sequence[bool]], columns: Columns) -> gpd.GeoDataFrame:
    """Return the wanted outlines of the views of a tile; of several views with data there, those of lowest rank."""
    kept: list[gpd.GeoDataFrame] = []
    before: list[_View] = []
    for view, mask in zip(views, wanted, strict=True):
        if view.frame is not None:
            frame = view.frame[np.array(mask, bool)]
            for earlier in before:
                frame = frame[~_shows(earlier, frame)]
            frame = frame[~_same(frame, kept, view.task.job.tile)]
            ranks = [*(earlier.task.job.rank for earlier in before), view.task.job.rank]
            reasons = [FAILED if earlier.frame is None else "no data, or obscured" for earlier in before]
            kept.append(frame.assign(why=_why(ranks, len(before), reasons)))
        before.append(view)
    return _joined(kept, columns).reset_index(drop=True)


def _shows(view: _View, buildings: gpd.GeoDataFrame) -> BoolArray:
    """Return whether an assessment shows the ground at a point inside each building: with data, and not obscured."""
    if view.frame is None or not len(buildings):
        return np.zeros(len(buildings), bool)
    with rasterio.open(view.task.scene / "damage.tif", driver="GTiff") as raster:
        points = buildings.geometry.representative_point().to_crs(raster.crs)
        codes = [int(value[0]) for value in raster.sample(zip(points.x, points.y, strict=True))]
    shown: BoolArray = np.array(codes) != NO_DATA
    package = f"GPKG:{view.task.scene / LAYER}"
    if OBSCURED in pyogrio.list_layers(package)[:, 0]:
        hidden = pyogrio.read_dataframe(package, layer=OBSCURED).geometry.to_numpy()
        shown[shapely.STRtree(hidden).query(points.to_numpy(), "intersects")[0]] = False
    return shown
