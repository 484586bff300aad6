"""Jobs of a campaign as assessments: their inputs, their execution and their state."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import shapely
from rasterio.crs import CRS
from rasterio.errors import RasterioError

from xview2_siamese_unet.atomic import link_or_copy, sha256, write_atomically
from xview2_siamese_unet.campaign.acquisition import WGS84, Acquisition
from xview2_siamese_unet.campaign.catalogue import NO_PRE
from xview2_siamese_unet.campaign.plan import Job
from xview2_siamese_unet.campaign.tiles import Tile
from xview2_siamese_unet.errors import DataError, ProjectError
from xview2_siamese_unet.inference.products import read_record
from xview2_siamese_unet.raster.grid import reproject
from xview2_siamese_unet.raster.source import open_raster

SCENES: Final = "scenes"
"""Folder of the assessments, one for each job."""
INPUTS: Final = "inputs"
"""Folder of further inputs of the assessments: areas, footprints, links to images."""
_SIDECARS: Final = (".ovr", ".OVR", ".msk", ".MSK", ".aux.xml")
_WORLD_FILES: Final = (".tfw", ".tifw", ".wld")


class Task(NamedTuple):
    """A job to assess.

    Attributes:
        job: the job.
        folder: of the campaign.
        arguments: keyword arguments of `assess` other than the images and the output folder.
        made_from: digest of settings and inputs; an assessment with another digest is repeated.
    """

    job: Job
    folder: Path
    arguments: Mapping[str, Any]
    made_from: str

    @property
    def scene(self) -> Path:
        """Folder of its assessment."""
        return self.folder / SCENES / self.job.name


class State(NamedTuple):
    """Result of the last assessment of a job.

    Attributes:
        made_from: see `Task`.
        error: why it failed; `None`: it is finished.
    """

    made_from: str
    error: str | None


def make_task(job: Job, folder: Path, footprints: Path | None, settings: Mapping[str, Any], made_with: str) -> Task:
    """Return the task of a job, and write its area of interest: its tile with a margin.

    Args:
        job: of the plan.
        folder: of the campaign.
        footprints: of the tile; `None`: the buildings that the model predicts.
        settings: keyword arguments of `assess` that all jobs share.
        made_with: digest of the model and of all settings that the result depends on.
    """
    area = folder / INPUTS / f"{job.tile.name}.geojson"
    text = _area(job.tile)
    if not area.is_file() or area.read_text(encoding="utf-8") != text:
        write_atomically(area, text)
    images = [image for each in (job.pre, job.post) if each is not None for image in each.images]
    masks = list(dict.fromkeys(mask for image in images for mask in image.masks))
    files = map(file_state, [*(file for image in images for file in _files_of(image.path)), *masks])
    parts = (made_with, text, job.pre is None, *files, footprints and sha256(footprints))
    arguments = {**settings, "aoi": area, "masks": masks, "overwrite": True}
    if footprints:
        arguments["footprints"] = footprints
    return Task(job, folder, arguments, digest(parts))


def digest(parts: Iterable[object]) -> str:
    """Return the SHA-256 of values, written as JSON."""
    return hashlib.sha256(json.dumps([*parts], sort_keys=True).encode()).hexdigest()


def file_state(path: Path) -> tuple[str, int, int]:
    """Return path, size and time of a file; -1 for both if it is missing."""
    if not path.is_file():
        return str(path), -1, -1
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns


def _files_of(path: Path) -> list[Path]:
    """Return the files that are read for a raster: itself, mask, georeference, sources of a VRT."""
    try:
        with open_raster(path) as raster:
            return sorted({path, *map(Path, raster.files)})
    except (DataError, RasterioError):  # the assessment reports the reason
        return [path]


def _area(tile: Tile) -> str:
    degrees = reproject(tile.surroundings, CRS.from_epsg(tile.zone), WGS84)
    return json.dumps({"type": "Feature", "properties": {}, "geometry": json.loads(shapely.to_geojson(degrees))})


def run_task(assess: Callable[..., object], task: Task) -> str | None:
    """Assess a job and record its state; return the message of an error that the user can correct.

    The assessment logs nothing: its warnings are part of its record and its report.
    """
    logging.disable(logging.CRITICAL)
    try:
        pre, post = (
            each and _image(task.folder / INPUTS / task.job.name / side, each)
            for side, each in (("pre", task.job.pre), ("post", task.job.post))
        )
        assess(pre or NO_PRE, post, task.scene, **task.arguments)
        reason = None
    except ProjectError as error:
        reason = str(error)
    finally:
        logging.disable(logging.NOTSET)
    write_atomically(_state_file(task.folder, task.job), json.dumps(State(task.made_from, reason)._asdict()) + "\n")
    return reason


def _image(folder: Path, acquisition: Acquisition) -> Path:
    """Return the raster of an acquisition; if it has several, a folder of numbered links or copies."""
    paths = [image.path for image in acquisition.images]
    if len(paths) == 1:
        return paths[0]
    if virtual := [path for path in paths if path.suffix.lower() == ".vrt"]:
        raise DataError(
            f"{acquisition.id} has {len(paths)} rasters over one tile, among them {virtual[0]}.",
            hint="Convert it to GeoTIFF: only these can be assessed together.",
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, path in enumerate(paths, start=1):
        link = folder / f"{number:04}{path.suffix.lower()}"
        link_or_copy(link, path.absolute())
        sidecars = [(path.with_name(path.name + end), link.with_name(link.name + end)) for end in _SIDECARS]
        sidecars += [(path.with_suffix(end), link.with_suffix(end)) for end in _WORLD_FILES]
        for original, copy in sidecars:
            if original.is_file():
                link_or_copy(copy, original.absolute())
    return folder


def is_finished(task: Task) -> bool:
    """Return whether the assessment of a task is finished, with these settings and inputs."""
    return read_state(task.folder, task.job) == State(task.made_from, None)


def read_state(folder: Path, job: Job) -> State | None:
    """Return the state of the last assessment of a job; `None` if it has not ended, or its record is missing."""
    try:
        state = State(**json.loads(_state_file(folder, job).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return None if state.error is None and read_record(folder / SCENES / job.name) is None else state


def _state_file(folder: Path, job: Job) -> Path:
    return folder / SCENES / f"{job.name}.json"
