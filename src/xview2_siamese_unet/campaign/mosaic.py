"""Mosaics of a campaign: for each raster of an assessment and each coordinate reference system, a VRT over all jobs.

Each pixel of a mosaic comes from the lowest rank that has data there and is not obscured. All paths are relative, so
that the folder of the campaign can be moved.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Final

import pyogrio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.campaign.jobs import Task
from xview2_siamese_unet.campaign.merge import LAYER
from xview2_siamese_unet.inference.buildings import OBSCURED
from xview2_siamese_unet.inference.products import damage_style
from xview2_siamese_unet.raster.cog import RasterContent, write_cog
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.io import NO_DATA
from xview2_siamese_unet.raster.vrt import VrtSource, read_vrt_source, vrt_over
from xview2_siamese_unet.types import AnyArray, Bands

MOSAICS: Final = "mosaics"
"""Folder of the VRTs; its subfolder `obscured` holds the masks of partly obscured jobs."""
RASTERS: Final = ("damage.tif", "probability.tif")
_BLOCK: Final = 512
_HIDDEN: Final = {0: (127, 127, 127, 255)}
_log = logging.getLogger(__name__)


def write_mosaics(folder: Path, done: Iterable[Task]) -> list[str]:
    """Write `mosaics/damage_32637.vrt`, its style and the like over finished jobs; return their paths below the folder.

    Those of an earlier run without any remaining job are removed.
    """
    tasks = sorted(done, key=lambda task: (task.job.rank, task.job.name), reverse=True)  # the last is on top
    below = folder / MOSAICS / OBSCURED
    masks = {task.job.name: path for task in tasks if (path := _write_mask(task, below)) is not None}
    mosaics: dict[Path, str] = {}
    views: dict[Path, str] = {}
    for name in RASTERS:
        kind, by_crs = Path(name).stem, defaultdict[str, list[VrtSource]](list)
        complete = [task for task in tasks if (task.scene / name).is_file()]
        if missing := len(tasks) - len(complete):
            _log.warning("%s is missing in %d of %d assessments, left out of the mosaics", name, missing, len(tasks))
        for task in complete:
            source, mask = read_vrt_source(task.scene / name), masks.get(task.job.name)
            if mask is not None:
                view = below / f"{task.job.name}_{kind}.vrt"
                views[view] = vrt_over(view, [source], mask)
                source = source._replace(path=view, masked=True)
            by_crs[source.grid.crs].append(source)
        for crs, sources in by_crs.items():
            path = folder / MOSAICS / f"{kind}_{_code(crs)}.vrt"
            mosaics[path] = vrt_over(path, sources)
            if name == RASTERS[0]:
                mosaics[path.with_suffix(".qml")] = damage_style()
    for path, text in {**views, **mosaics}.items():
        write_atomically(path, text)
    ours = (f"{Path(name).stem}_*{suffix}" for name, suffix in product(RASTERS, (".vrt", ".qml")))
    before = [*below.glob("*"), *(path for pattern in ours for path in below.parent.glob(pattern))]
    for path in {*before} - {*mosaics, *views, *masks.values()}:
        path.unlink()
    return sorted(path.relative_to(folder).as_posix() for path in mosaics)


def _code(crs: str) -> str:
    """Return the EPSG code of a coordinate reference system, or a digest if it has none."""
    return str(CRS.from_string(crs).to_epsg() or hashlib.sha256(crs.encode()).hexdigest()[:8])


def _write_mask(task: Task, folder: Path) -> Path | None:
    """Write the mask of an assessment (0 if obscured, else 255); return the path, `None` if nothing is obscured."""
    package, path = f"GPKG:{task.scene / LAYER}", folder / f"{task.job.name}.tif"
    raster = next((raster for name in RASTERS if (raster := task.scene / name).is_file()), None)
    if raster is None or OBSCURED not in pyogrio.list_layers(package)[:, 0]:
        return None
    shapes, grid = pyogrio.read_dataframe(package, layer=OBSCURED).geometry.to_numpy(), read_vrt_source(raster).grid
    write_cog(path, RasterContent(grid, (OBSCURED,), _hidden_blocks(grid, shapes), _HIDDEN))
    return path


def _hidden_blocks(grid: Grid, shapes: AnyArray) -> Iterator[tuple[slice, slice, Bands]]:
    """Yield the blocks that intersect polygons, 0 inside them."""
    tree = shapely.STRtree(shapes)
    for row, column in product(range(0, grid.height, _BLOCK), range(0, grid.width, _BLOCK)):
        size = min(_BLOCK, grid.height - row), min(_BLOCK, grid.width - column)
        transform = grid.transform @ Affine.translation(column, row)
        corners = transform @ (0, size[0]), transform @ (size[1], 0)
        near = tree.query(shapely.box(*corners[0], *corners[1]), "intersects")
        if len(near):
            mask = rasterize(shapes[near], size, NO_DATA, transform=transform, default_value=0, dtype="uint8")
            yield slice(row, row + size[0]), slice(column, column + size[1]), mask[None]
