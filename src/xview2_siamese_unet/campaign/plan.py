"""The plan of a campaign: one job for each tile and each pair chosen in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import shapely
from rasterio.crs import CRS
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.campaign.acquisition import WGS84, Acquisition, Image, polygons
from xview2_siamese_unet.campaign.catalogue import Catalogue
from xview2_siamese_unet.campaign.selection import EVERY_DAY, RULES, SMALLEST, Choice, View, choose, choose_every_day
from xview2_siamese_unet.campaign.tiles import Tile, in_zone, tiles_over, zones_of
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.grid import reproject

SECONDS: Final = 3.8
"""Seconds per megapixel on one CPU core with a ResNet-50 (`docs/benchmarks.md`: 1.89 s on two cores)."""
MEGABYTES: Final = 2.0
"""Megabytes of products per megapixel: a synthetic scene of 2048² pixels has 8.0 MB."""


@dataclass(frozen=True, slots=True)
class Job:
    """One assessment: a pair within the square of a tile.

    Attributes:
        name: of its folder.
        tile: its zone and square.
        rank: order among the jobs of its tile; if several show a building, the lowest rank is preferred.
        pre: acquisition before the event, with the images that meet the tile; `None`: no pre-disaster image.
        post: acquisition after it, with the images that meet the tile.
    """

    name: str
    tile: Tile
    rank: int
    pre: Acquisition | None
    post: Acquisition


class PlannedJob(NamedTuple):
    """A job, the part of its tile that it was chosen for, and the size of its inputs.

    Attributes:
        job: the job.
        view: its post-disaster acquisition over the tile.
        ground: the part that it was chosen for, in degrees.
        square_km: area of that part.
        megapixels: size of the area to assess, which is all that both images show of the tile.
    """

    job: Job
    view: View
    ground: BaseGeometry
    square_km: float
    megapixels: float


@dataclass(frozen=True, slots=True)
class Plan:
    """All jobs of a campaign, and the catalogue that they were chosen from.

    Attributes:
        catalogue: acquisitions and the date of the event.
        jobs: in the order of tile and rank.
        rules: how pairs are chosen, a paragraph each.
        warnings: what was left out.
    """

    catalogue: Catalogue
    jobs: tuple[PlannedJob, ...]
    rules: tuple[str, ...]
    warnings: tuple[str, ...]


def make_plan(catalogue: Catalogue, *, history: bool = False) -> Plan:
    """Choose pairs for every tile, see `selection`.

    Args:
        catalogue: acquisitions and the date of the event.
        history: whether to add jobs for the other days after the event.

    Raises:
        DataError: no acquisition before the event overlaps with one after it.
    """
    jobs, missing = [], 0.0
    after = [image for each in catalogue.after.values() for image in each.images]
    for zone in zones_of(image.outline for image in after):
        of_zone, area = _plan_zone(catalogue, zone, history=history)
        jobs += of_zone
        missing += area
    if not jobs:
        raise DataError(
            "No image before the event overlaps with one after it.",
            hint="Check the date of the event, and that the images show the same area.",
        )
    warnings = [*catalogue.warnings]
    if missing >= SMALLEST:
        warnings.append(f"ground after the event that no image before it shows, left out: {missing / 1e6:,.4g} km²")
    return Plan(catalogue, tuple(jobs), (*RULES, EVERY_DAY) if history else RULES, tuple(warnings))


class _TileImage(NamedTuple):
    """An image over one tile, and the ground that it shows of it."""

    acquisition: Acquisition
    image: Image
    ground: BaseGeometry


def _plan_zone(catalogue: Catalogue, zone: int, *, history: bool) -> tuple[list[PlannedJob], float]:
    """Return the jobs of a UTM zone, and the square metres without an image before the event."""
    shapes = {
        (each.id, image.path): in_zone(image.outline, zone)
        for side in (catalogue.before, catalogue.after)
        for each in side.values()
        for image in each.images
    }
    shown = [shapes[each.id, image.path] for each in catalogue.after.values() for image in each.images]
    tiles = tiles_over(shown, zone)
    before_in, after_in = (_over(side.values(), shapes, tiles) for side in (catalogue.before, catalogue.after))
    areas = {key: None if area is None else in_zone(area, zone) for key, area in (catalogue.pairs or {}).items()}
    jobs, missing = [], 0.0
    for tile in tiles:
        before = [_view(images) for images in before_in[tile].values()]
        if catalogue.pairs is not None:
            before.append(View(None, None, tile.box, 0.0))
        allowed = partial(_allowed, tile, areas if catalogue.pairs is not None else None)
        after = [_view(images) for images in after_in[tile].values()]
        choices, area = choose(before, after, allowed)
        if history:
            choices += choose_every_day(before, after, allowed, choices)
        missing += area
        for rank, choice in enumerate(choices, start=1):
            pre, post = (
                _within(side[tile].get(str(view.id)))
                for side, view in ((before_in, choice.pre), (after_in, choice.post))
            )
            if post is not None:
                job = Job(f"{tile.name}_{rank:02}", tile, rank, pre, post)
                jobs.append(_planned(job, choice))
    return jobs, missing


def _allowed(
    tile: Tile, areas: Mapping[tuple[str | None, str], BaseGeometry | None] | None, pre: str | None, post: str
) -> BaseGeometry | None:
    """Return the area in which two acquisitions may be a pair: that of the catalogue, or the whole tile."""
    if areas is not None and (pre, post) not in areas:
        return None
    area = None if areas is None else areas[pre, post]
    return tile.box if area is None else area


def _over(
    acquisitions: Iterable[Acquisition], shapes: Mapping[tuple[str, Path], BaseGeometry], tiles: list[Tile]
) -> Mapping[Tile, Mapping[str, list[_TileImage]]]:
    """Return tile → acquisition → its images over the tile."""
    pairs = [(each, image) for each in acquisitions for image in each.images]
    boxes = np.array([tile.box for tile in tiles], dtype=object)
    outlines = np.array([shapes[each.id, image.path] for each, image in pairs], dtype=object)
    by_tile: defaultdict[Tile, defaultdict[str, list[_TileImage]]] = defaultdict(lambda: defaultdict(list))
    if len(boxes) and len(outlines):
        numbers, columns = shapely.STRtree(boxes).query(outlines, predicate="intersects")
        grounds = shapely.intersection(outlines[numbers], boxes[columns])
        for number, column, ground in zip(numbers.tolist(), columns.tolist(), grounds, strict=True):
            each, image = pairs[number]
            if ground.area:
                by_tile[tiles[column]][each.id].append(_TileImage(each, image, polygons(ground)))
    return by_tile


def angle_and_clouds(acquisition: Acquisition, tile: Tile) -> dict[str, float]:
    """Return `off_nadir` in degrees and `cloud_cover` in per cent over a tile, as the rules use them, if stated."""
    images = acquisition.images
    areas = [in_zone(image.outline, tile.zone).intersection(tile.box).area for image in images]
    angle = _mean((image.off_nadir, area) for image, area in zip(images, areas, strict=True))
    cloud = _mean((image.cloud, area) for image, area in zip(images, areas, strict=True))
    stated = {}
    if angle is not None:
        stated["off_nadir"] = round(angle, 1)
    if cloud is not None:
        stated["cloud_cover"] = round(100 * cloud, 1)
    return stated


def _view(images: list[_TileImage]) -> View:
    """Return one acquisition over a tile; clouds and angle are area-weighted means of the images that state them."""
    grounds = [each.ground for each in images]
    acquisition = images[0].acquisition
    return View(
        acquisition.id,
        acquisition.taken,
        grounds[0] if len(grounds) == 1 else shapely.union_all(grounds),
        max(each.image.pixel for each in images),
        _mean((each.image.cloud, each.ground.area) for each in images),
        _mean((each.image.off_nadir, each.ground.area) for each in images),
    )


def _mean(values: Iterable[tuple[float | None, float]]) -> float | None:
    known = [(value, weight) for value, weight in values if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None


def _within(images: list[_TileImage] | None) -> Acquisition | None:
    """Return an acquisition with only its images over one tile; `None` without any."""
    return None if not images else replace(images[0].acquisition, images=tuple(each.image for each in images))


def _planned(job: Job, choice: Choice) -> PlannedJob:
    pixel = max(choice.pre.pixel, choice.post.pixel)
    shown = choice.pre.ground.intersection(choice.post.ground).area
    ground = polygons(reproject(choice.ground, CRS.from_epsg(job.tile.zone), WGS84))
    return PlannedJob(job, choice.post, ground, choice.ground.area / 1e6, shown / pixel**2 / 1e6)
