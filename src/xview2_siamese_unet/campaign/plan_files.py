"""The files of a plan: `plan.csv`, which a person may edit, and the files that it refers to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

import pandas as pd
import shapely
from pydantic import ConfigDict, Field
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.atomic import whole_file, write_atomically
from xview2_siamese_unet.campaign.acquisition import Acquisition, Image, read_date
from xview2_siamese_unet.campaign.catalogue import NO_PRE, read_csv
from xview2_siamese_unet.campaign.plan import MEGABYTES, SECONDS, Job, Plan, PlannedJob
from xview2_siamese_unet.campaign.tiles import Tile, in_zone, parse_tile
from xview2_siamese_unet.config.validation import PORTABLE, Share, Strict, validate
from xview2_siamese_unet.errors import ConfigError, DataError

JOBS: Final = "plan.csv"
GROUND: Final = "plan.geojson"
IMAGES: Final = "images.geojson"
PAGE: Final = "plan.html"


class _Row(Strict):
    """Columns of `plan.csv` that are read; the others are for information only."""

    model_config = ConfigDict(extra="ignore")

    # No dots: the files of a job are named after it.
    job: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100), PORTABLE]
    tile: str
    rank: Annotated[int, Field(ge=1)]
    pre: str
    post: str


class _Image(Strict):
    """Properties of a feature of `images.geojson`."""

    acquisition: str
    taken: str | None
    path: Path
    crs: str
    pixel_m: Annotated[float, Field(gt=0)]
    cloud: Share | None
    off_nadir: Annotated[float, Field(ge=0, le=90)] | None
    masks: tuple[Path, ...]


def require_no_plan(folder: Path) -> None:
    """Require that a folder holds no file of a plan, which may have been edited, or be unrelated.

    Raises:
        ConfigError: there is such a file.
    """
    for path in (folder / name for name in (JOBS, GROUND, IMAGES, PAGE)):
        if path.exists():
            raise ConfigError(f"{path} already exists.", hint="Choose another folder with --out, or delete it.")


def write_plan(folder: Path, plan: Plan, page: str) -> None:
    """Write the four files; `plan.csv` last, because it marks the folder as a plan."""
    every = {**plan.catalogue.before, **plan.catalogue.after}.values()
    images = [(image.outline, _properties(each, image)) for each in every for image in each.images]
    write_atomically(folder / IMAGES, _collection(images))
    write_atomically(folder / GROUND, _collection((job.ground, plan_row(job)) for job in plan.jobs))
    write_atomically(folder / PAGE, page)
    with whole_file(folder / JOBS) as part:
        pd.DataFrame([plan_row(job) for job in plan.jobs]).to_csv(part, index=False, lineterminator="\n")


def plan_row(planned: PlannedJob) -> dict[str, Any]:
    """Return a row of `plan.csv`."""
    job, view = planned.job, planned.view
    return {
        "job": job.name,
        "tile": job.tile.name,
        "rank": job.rank,
        "pre": NO_PRE if job.pre is None else job.pre.id,
        "post": job.post.id,
        "pre_date": job.pre and job.pre.taken,
        "post_date": job.post.taken,
        "cloud_percent": None if view.cloud is None else round(100 * view.cloud, 1),
        "off_nadir": None if view.off_nadir is None else round(view.off_nadir, 1),
        "chosen_km2": round(planned.square_km, 4),
        "megapixels": round(planned.megapixels, 2),
        "core_minutes": round(planned.megapixels * SECONDS / 60, 1),
        "disk_mb": round(planned.megapixels * MEGABYTES, 1),
    }


def _properties(acquisition: Acquisition, image: Image) -> dict[str, Any]:
    return {
        "acquisition": acquisition.id,
        "taken": acquisition.taken,
        "path": str(image.path.absolute()),
        "crs": image.crs,
        "pixel_m": image.pixel,
        "cloud": image.cloud,
        "off_nadir": image.off_nadir,
        "masks": [str(mask.absolute()) for mask in image.masks],
    }


def _collection(rows: Iterable[tuple[BaseGeometry, Mapping[str, Any]]]) -> str:
    """Return shapes in degrees and their properties as GeoJSON, one feature a line."""
    features = (
        json.dumps({"type": "Feature", "properties": properties, "geometry": json.loads(shapely.to_geojson(shape))})
        for shape, properties in rows
    )
    return '{"type": "FeatureCollection", "features": [\n' + ",\n".join(features) + "\n]}\n"


def read_plan(folder: Path) -> tuple[Job, ...]:
    """Return the jobs of a plan, in the order of its rows.

    Raises:
        DataError: there is no plan, or one of its files cannot be read.
        ConfigError: a row is invalid: its tile or acquisition is unknown, the two do not meet, or its name or rank
            repeats.
    """
    path = folder / JOBS
    if not path.is_file():
        raise DataError(f"{folder} holds no plan ({JOBS}).", hint="Make one with kedro campaign plan.")
    acquisitions, table = _Acquisitions(_read_images(folder / IMAGES)), read_csv(path)
    lines = [f"{path}, line {number}" for number in table.index]
    rows = [
        validate({str(key): row[key] for key in row}, _Row, line)
        for row, line in zip(table.to_dict("records"), lines, strict=True)
    ]
    _refuse_repeated(path, "job", (row.job.casefold() for row in rows))  # a folder, whatever its case
    _refuse_repeated(path, "tile and rank", (f"{row.tile}, {row.rank}" for row in rows))
    if not rows:
        raise DataError(f"{path} has no job.", hint="Make the plan again with kedro campaign plan.")
    return tuple(_job(row, line, acquisitions) for row, line in zip(rows, lines, strict=True))


def _refuse_repeated(path: Path, name: str, values: Iterable[str]) -> None:
    (value, count), *_ = [*Counter(values).most_common(1), ("", 0)]
    if count > 1:
        raise ConfigError(f"{path} has the {name} {value!r} {count} times.", hint=f"Give each row its own {name}.")


def _job(row: _Row, line: str, acquisitions: _Acquisitions) -> Job:
    tile = parse_tile(row.tile)
    if tile is None:
        raise ConfigError(
            f"{line}: {row.tile!r} is not a tile.", hint="Write zone_column_row, such as 32637_0130_1642."
        )
    pre = None if row.pre == NO_PRE else acquisitions.in_tile(row.pre, tile, line)
    post = acquisitions.in_tile(row.post, tile, line)
    if pre is not None and pre.taken and post.taken and pre.taken[:10] > post.taken[:10]:
        raise ConfigError(
            f"{line}: pre {pre.id} of {pre.taken} is later than post {post.id} of {post.taken}.",
            hint="Name an acquisition before the event as pre.",
        )
    return Job(row.job, tile, row.rank, pre, post)


class _Acquisitions:
    """The acquisitions of a plan; their outlines are converted once for each UTM zone."""

    def __init__(self, known: Mapping[str, Acquisition]) -> None:
        self._known = known
        self._in_zone = lru_cache(maxsize=None)(self._outlines)

    def _outlines(self, name: str, zone: int) -> list[BaseGeometry]:
        return [in_zone(image.outline, zone) for image in self._known[name].images]

    def in_tile(self, name: str, tile: Tile, line: str) -> Acquisition:
        """Return an acquisition with the images that meet the surroundings of a tile."""
        if name not in self._known:
            some = ", ".join(sorted(self._known)[:6])
            raise ConfigError(
                f"{line}: {name!r} is not an acquisition in {IMAGES}.", hint=f"Known acquisitions: {some}."
            )
        outlines = self._in_zone(name, tile.zone)
        if not shapely.area(shapely.intersection(outlines, tile.box)).any():
            raise ConfigError(f"{line}: {name} does not show tile {tile.name}.", hint="Name one that does.")
        shown = shapely.area(shapely.intersection(outlines, tile.surroundings)) > 0
        images = tuple(image for image, is_shown in zip(self._known[name].images, shown, strict=True) if is_shown)
        return replace(self._known[name], images=images)


def _read_images(path: Path) -> dict[str, Acquisition]:
    try:
        features = json.loads(path.read_text(encoding="utf-8"))["features"]
        shapes = [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in features]
        properties = [dict(feature["properties"]) for feature in features]
    except (OSError, ValueError, KeyError, TypeError, ShapelyError) as error:
        raise DataError(f"{path} cannot be read ({error}).", hint="Make the plan again.") from error
    acquisitions: dict[str, Acquisition] = {}
    for number, (shape, raw) in enumerate(zip(shapes, properties, strict=True), start=1):
        row = validate(raw, _Image, f"{path}, feature {number}")
        taken = None if row.taken is None else read_date(row.taken)
        if shapely.get_dimensions(shape) != 2:
            raise DataError(f"{path}, feature {number} is not a polygon.", hint="Make the plan again.")
        image = Image(row.path, shape, row.crs, row.pixel_m, row.cloud, row.off_nadir, row.masks)
        before = acquisitions[row.acquisition].images if row.acquisition in acquisitions else ()
        acquisitions[row.acquisition] = Acquisition(row.acquisition, taken, (*before, image))
    return acquisitions
