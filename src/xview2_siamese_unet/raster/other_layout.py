"""Conversion of the scenes of a dataset in another layout to the layout of xBD."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import shapely
from rasterio import Affine

from xview2_siamese_unet.config.dataset import Tier
from xview2_siamese_unet.damage import SUBTYPES
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.io import ImageGrid, read_grid
from xview2_siamese_unet.types import Float64Array
from xview2_siamese_unet.xbd.labels import Building, Label, Metadata, PolygonArray, format_label
from xview2_siamese_unet.xbd.scenes import PHASES, SUFFIXES, Phase, SceneId, parse_stem

if TYPE_CHECKING:
    import geopandas as gpd

_SAME: Final = 1e-4
"""Pixels by which the grids of two images may differ."""
_POLYGONS: Final = ("Polygon", "MultiPolygon")


@dataclass(frozen=True, slots=True)
class OtherScene:
    """A pair of images and the labels of their buildings.

    Attributes:
        tier: folder of xBD, by which scenes are split: tier1, tier3, hold or test.
        id: event and number, such as `SceneId("ahr-flood", 3)`; no two scenes share one.
        pre: pre-disaster image, a PNG or GeoTIFF with values from 0 to 255.
        post: post-disaster image on the same grid.
        labels: file of the buildings.
    """

    tier: Tier
    id: SceneId
    pre: Path
    post: Path
    labels: Path

    def image(self, phase: Phase) -> Path:
        """Return the absolute path of one image."""
        return (self.pre if phase == "pre" else self.post).absolute()


ReadBuildings = Callable[[OtherScene], "gpd.GeoDataFrame"]
"""Polygons with a column `damage`, of xBD's words; in any coordinate reference system, or in pixels without one."""


def label_name(scene: OtherScene, phase: Phase = "post") -> str:
    """Return the path of a label below the dataset folder; the post-disaster one is written last.

    Raises:
        DataError: the name of the event cannot be part of a file name of xBD.
    """
    stem = scene.id.stem(phase)
    if parse_stem(stem) != (scene.id, phase):
        raise DataError(f"{scene.id} is not a scene name.", hint="Number scenes from 0 to 99999999.")
    return f"{scene.tier}/labels/{stem}.json"


def last_change(scene: OtherScene) -> str:
    """Return when the files of a scene were last changed, in nanoseconds.

    Raises:
        DataError: a file is missing.
    """
    paths = (scene.pre, scene.post, scene.labels)
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise DataError(f"Scene {scene.id} needs {', '.join(missing)}: no such file.", hint="Complete the dataset.")
    return str(max(path.stat().st_mtime_ns for path in paths))


def convert_scene(scene: OtherScene, read: ReadBuildings) -> Iterator[tuple[str, bytes | Path]]:
    """Yield path and content of both labels, and before them path and target of a link to each image.

    Raises:
        DataError: images of two grids or of another format, buildings that are not polygons of a known class.
    """
    grid = _grid(scene)
    frame = _checked(read(scene), scene, grid)
    for phase in PHASES:
        image = scene.image(phase)
        yield f"{scene.tier}/images/{scene.id.stem(phase)}{image.suffix}", image
    buildings = tuple(_buildings(frame, grid))
    for phase in PHASES:
        metadata = Metadata(
            disaster=scene.id.disaster,
            disaster_type="unknown",
            width=grid.width,
            height=grid.height,
            img_name=scene.image(phase).name,
        )
        yield label_name(scene, phase), format_label(Label(metadata, buildings), phase)


def _grid(scene: OtherScene) -> ImageGrid:
    """Return the grid of both images."""
    for phase in PHASES:
        if scene.image(phase).suffix.lower() not in SUFFIXES["images"]:
            raise DataError(
                f"{scene.image(phase)} is neither a PNG nor a GeoTIFF (.tif).", hint="Convert it with gdal_translate."
            )
    pre, post = (read_grid(scene.image(phase)) for phase in PHASES)
    same = pre.crs == post.crs and (pre.width, pre.height) == (post.width, post.height)
    if not same or not (~pre.transform @ post.transform).almost_equals(Affine.identity(), _SAME):
        raise DataError(
            f"{scene.pre} and {scene.post} do not lie on one grid.", hint="Warp one to the other with gdalwarp."
        )
    return post


def _checked(frame: gpd.GeoDataFrame, scene: OtherScene, grid: ImageGrid) -> gpd.GeoDataFrame:
    """Return buildings with a coordinate reference system, or in pixels if the images have none."""
    if "damage" not in frame:
        raise DataError(f"{scene.labels} was read without a column damage.", hint="Add it to what buildings() returns.")
    if unknown := [value for value in frame["damage"] if value not in SUBTYPES]:
        raise DataError(
            f"{scene.labels} has {len(unknown)} buildings of damage {unknown[0]!r}, not one of {', '.join(SUBTYPES)}.",
            hint="Map every class of the dataset to one of these.",
        )
    if wrong := [kind for kind in frame.geom_type if kind not in _POLYGONS]:
        raise DataError(f"{scene.labels} has a geometry of type {wrong[0]}, not a polygon.", hint="Correct the labels.")
    if grid.crs is None:
        if frame.crs is not None:
            raise DataError(
                f"{scene.labels} has the coordinate reference system {frame.crs.name}, but {scene.post} has none.",
                hint="Assign one to the images, or return polygons in pixels without one.",
            )
        return frame
    crs = grid.crs.to_wkt()
    if frame.crs is None:
        return frame.set_geometry(_apply(grid.transform, frame.geometry.to_numpy())).set_crs(crs)
    return frame.to_crs(crs)


def _buildings(frame: gpd.GeoDataFrame, grid: ImageGrid) -> Iterator[Building]:
    polygons = frame.geometry.to_numpy()
    placed = grid.crs is not None
    pixels = _apply(~grid.transform, polygons) if placed else polygons
    degrees = frame.to_crs("OGC:CRS84").geometry.to_numpy() if placed else [None] * len(frame)
    for number, (xy, lng_lat, damage) in enumerate(zip(pixels, degrees, frame["damage"], strict=True)):
        yield Building(str(number), _wkt(xy), SUBTYPES[damage], None if lng_lat is None else _wkt(lng_lat))


def _apply(transform: Affine, polygons: PolygonArray) -> PolygonArray:
    def move(xy: Float64Array) -> Float64Array:
        return np.column_stack(transform @ (xy[:, 0], xy[:, 1]))

    moved: PolygonArray = shapely.transform(polygons, move)
    return moved


def _wkt(polygon: shapely.Geometry) -> str:
    return shapely.to_wkt(shapely.force_2d(polygon), rounding_precision=-1)
