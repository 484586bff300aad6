"""A STAC collection of everything that a campaign has written: an item for each finished job.

All links are relative, so that the folder can be moved. The content does not depend on when or where it was written;
the record of an assessment, which holds times, therefore has no checksum.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyogrio
import pystac
import rasterio
import shapely
from pystac.extensions.classification import Classification, ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import DataType, RasterBand, RasterExtension
from pystac.layout import CustomLayoutStrategy
from rasterio.crs import CRS
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.atomic import sha256, write_atomically
from xview2_siamese_unet.campaign.acquisition import WGS84, Acquisition, polygons, wrap_antimeridian
from xview2_siamese_unet.campaign.jobs import SCENES, Task, digest
from xview2_siamese_unet.campaign.merge import LAYER
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.no_model import is_no_model
from xview2_siamese_unet.inference.products import RUN_RECORD, products, read_record
from xview2_siamese_unet.inference.record import newest_file
from xview2_siamese_unet.raster.grid import reproject

COLLECTION: Final = "collection.json"
ITEM: Final = "item.json"
"""Name of the file of an item, in the folder of its assessment."""
_TOP: Final = "https://campaign/"
"""Placeholder for the folder, because pystac cuts a path at `#` or `?`; only links relative to it are written."""
_ID: Final = "xview2-siamese-unet-"
_PROCESSING: Final = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"
_MULTIHASH: Final = "1220"  # SHA-256 with 32 bytes
_CENTIMETRE: Final = 1e-7  # degrees
_WORLD: Final = shapely.box(-180, -90, 180, 90)
_TYPES: Final = {
    ".tif": pystac.MediaType.COG,
    ".vrt": pystac.MediaType.XML,
    ".qml": pystac.MediaType.XML,
    ".gpkg": pystac.MediaType.GEOPACKAGE,
    ".parquet": pystac.MediaType.VND_APACHE_PARQUET,
    ".geojson": pystac.MediaType.GEOJSON,
    ".json": pystac.MediaType.JSON,
    ".csv": "text/csv",
    ".html": pystac.MediaType.HTML,
    ".pmtiles": "application/vnd.pmtiles",
}
_ROLES: Final = {".html": "overview", ".pmtiles": "overview", ".qml": "metadata", RUN_RECORD: "metadata"}
"""Ending or name of a file → its role, if that is not `data`."""
_log = logging.getLogger(__name__)


def is_collection(path: Path) -> bool:
    """Return whether a file is a collection that `write_collection` wrote."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and str(content.get("id")).startswith(_ID)


def write_collection(folder: Path, tasks: Sequence[Task], failed: Mapping[str, str], files: Iterable[str]) -> None:
    """Write `collection.json`, and an item in the folder of each finished job; items of other jobs are removed.

    Args:
        folder: of the campaign.
        tasks: all jobs.
        failed: names of those without an assessment; at least one job has one.
        files: of the whole campaign, relative to its folder.
    """
    done = {task.job.name: task for task in tasks if task.job.name not in failed}
    items = [_item(task) for task in done.values()]
    collection = _collection(tasks, failed, items)
    for name in files:
        path = folder / name
        _add_file(collection, name, path.stat().st_size, sha256(path))
    for each in (*items, collection):
        content = each.to_dict(include_self_link=False)
        write_atomically(
            folder / each.self_href.removeprefix(_TOP), json.dumps(content, indent=2, allow_nan=False) + "\n"
        )
    for path in (folder / SCENES).glob(f"*/{ITEM}"):
        if path.parent.name not in done:
            path.unlink()


def _collection(tasks: Sequence[Task], failed: Mapping[str, str], items: Sequence[pystac.Item]) -> pystac.Collection:
    jobs = [(task.job.name, task.job.pre and task.job.pre.id, task.job.post.id) for task in tasks]
    models = sorted({item.properties["model_id"] for item in items})
    missing = f" Failed, and without an item: {', '.join(sorted(failed))}." if failed else ""
    collection = pystac.Collection(
        _ID + digest([jobs, models])[:12],
        f"Damage to buildings in pairs of satellite images, assessed with xview2-siamese-unet. {len(items)} of "
        f"{len(tasks)} jobs are finished.{missing}",
        pystac.Extent.from_items(items),
        title="Damage to buildings",
        href=_TOP + COLLECTION,
        extra_fields={"jobs": {"done": len(items), "failed": sorted(failed)}},
        catalog_type=pystac.CatalogType.SELF_CONTAINED,
        license="other",
    )
    layout = CustomLayoutStrategy(item_func=lambda item, _folder: f"{_TOP}{SCENES}/{item.id}/{ITEM}")
    collection.add_items(items, layout)
    return collection


def _item(task: Task) -> pystac.Item:
    record, job = read_record(task.scene), task.job
    if record is None:
        raise DataError(f"{task.scene} holds no finished assessment.", hint="Run the campaign again.")
    shape = _outline(task.scene)
    pre, post = job.pre, job.post
    facts = {
        "tile": job.tile.name,
        "rank": job.rank,
        "pre_id": pre and pre.id,
        "pre_date": pre and pre.taken,
        "post_id": post.id,
        "post_date": post.taken,
        "model_id": record["model"]["id"],
        "run_id": record["run_id"],
        "processing:software": {"xview2-siamese-unet": record["code"], **record["versions"]},
        "processing:lineage": _lineage(pre, post, record["model"]),
    }
    geometry = json.loads(shapely.to_geojson(shape))
    when, first, last = _times(post)
    item = pystac.Item(
        job.name,
        geometry,
        [*shape.bounds],
        when,
        facts,
        start_datetime=first,
        end_datetime=last,
        stac_extensions=[_PROCESSING],
    )
    digests: dict[str, str] = record["products"]
    missing = [name for name in digests if not (task.scene / name).is_file()]
    if missing:
        _log.warning("%s lacks %s, left out of its STAC item", task.scene, ", ".join(missing))
    for name in products():
        if name == RUN_RECORD:
            _add_file(item, name)
        elif name in digests and name not in missing:
            asset = _add_file(item, name, (task.scene / name).stat().st_size, digests[name])
            if name.endswith(".tif"):
                _describe_raster(asset, task.scene / name)
    return item


def _lineage(pre: Acquisition | None, post: Acquisition, model: Mapping[str, Any]) -> str:
    images = f"post-disaster acquisition {post.id} ({post.taken or 'no date'})"
    if pre is not None:
        images = f"pre-disaster acquisition {pre.id} ({pre.taken or 'no date'}) and {images}"
    if is_no_model(model):
        return f"Prepared from {images} without a model: nothing is predicted."
    return f"Predicted from {images} with model {model['id']}, trained on {model['dataset'] or 'unknown data'}."


def _times(post: Acquisition) -> tuple[datetime | None, datetime | None, datetime | None]:
    """Return the time of an acquisition, or the first and the last that are possible.

    Without a time, these are those of its day; without a date, 1970 and the time of the file.
    """
    if post.taken is not None and len(post.taken) > 10:
        return datetime.fromisoformat(post.taken), None, None
    last = f"{post.taken}T23:59:59Z" if post.taken else newest_file(image.path for image in post.images)
    first = datetime.fromisoformat(post.taken or "1970-01-01").replace(tzinfo=UTC)
    return None, first, datetime.fromisoformat(last)


def _outline(scene: Path) -> BaseGeometry:
    """Return the convex hull of the area with data in both images, in degrees, cut at 180 degrees."""
    area = pyogrio.read_dataframe(f"GPKG:{scene / LAYER}", layer="valid_area")
    shape = shapely.convex_hull(shapely.geometrycollections(area.geometry.to_numpy()))
    if shape.geom_type != "Polygon":  # no data at all
        with rasterio.open(scene / "damage.tif", driver="GTiff") as raster:
            shape = shapely.box(*raster.bounds)
    degrees = reproject(shape, CRS.from_wkt(area.crs.to_wkt()), WGS84)
    return polygons(wrap_antimeridian(degrees).intersection(_WORLD)).simplify(_CENTIMETRE)


def _add_file(
    parent: pystac.Item | pystac.Collection, name: str, size: int | None = None, digest: str | None = None
) -> pystac.Asset:
    """Add a file; its name determines the media type and the role."""
    suffix = Path(name).suffix
    role = _ROLES.get(name, _ROLES.get(suffix, "data"))
    asset = pystac.Asset(f"./{name}", media_type=_TYPES[suffix], roles=[role])
    parent.add_asset(name, asset)
    if digest is not None:
        FileExtension.ext(asset, add_if_missing=True).apply(size=size, checksum=_MULTIHASH + digest)
    return asset


def _describe_raster(asset: pystac.Asset, path: Path) -> None:
    with rasterio.open(path, driver="GTiff") as raster:
        code, pixel, bounds = raster.crs.to_epsg(), raster.res[0], [*raster.bounds]
        about = {"nodata": int(raster.nodata), "data_type": DataType(raster.dtypes[0]), "spatial_resolution": pixel}
        bands = [RasterBand.create(**about, scale=scale) for scale in raster.scales]
        projection = ProjectionExtension.ext(asset, add_if_missing=True)
        projection.apply(
            code=f"EPSG:{code}" if code else None,
            wkt2=None if code else raster.crs.to_wkt(version="WKT2_2019"),
            shape=[*raster.shape],
            transform=[*raster.transform][:6],
            bbox=bounds,
        )
        RasterExtension.ext(asset, add_if_missing=True).apply(bands)
        asset.extra_fields["bands"] = [{"name": name} for name in raster.descriptions]
    if len(bands) == 1:
        classes = [
            Classification.create(int(code), name=code.word, color_hint=code.colour[1:].upper()) for code in Damage
        ]
        ClassificationExtension.ext(asset, add_if_missing=True).apply(classes)
