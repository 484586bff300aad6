"""The four files of a scene, as the download has them: images, and labels in pixels and in degrees."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.synthetic.canvas import frame_at
from xview2_siamese_unet.synthetic.houses import House, edge_of
from xview2_siamese_unet.synthetic.light import Bytes
from xview2_siamese_unet.synthetic.plan import SampleScene
from xview2_siamese_unet.synthetic.render import Scene, Sight, render
from xview2_siamese_unet.xbd.labels import Building, Label, Metadata, format_label
from xview2_siamese_unet.xbd.names import PHASES, Phase
from xview2_siamese_unet.xbd.pairing import SceneFiles

DEGREES = 4326


@dataclass(frozen=True, slots=True)
class Place:
    """The georeference of one scene, shared by its two dates.

    Attributes:
        epsg: code of the UTM zone.
        east: easting of the image's left edge in metres.
        north: northing of the image's top edge in metres.
        pixel: side of a pixel in metres.
    """

    epsg: int
    east: float
    north: float
    pixel: float

    def degrees(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return longitude and latitude (WGS 84) of pixel positions, both (n, 2)."""
        east, north = self.east + self.pixel * xy[:, 0], self.north - self.pixel * xy[:, 1]
        return np.column_stack(_from_zone(self.epsg).transform(east, north))


def place_near(epsg: int, longitude: float, latitude: float, rng: np.random.Generator) -> Place:
    """Return a place within 15 km of a position, with pixels of 0.45 to 0.50 m."""
    east, north = _to_zone(epsg).transform(longitude, latitude)
    step = rng.uniform(-15_000, 15_000, 2)
    return Place(epsg, float(east + step[0]), float(north + step[1]), float(rng.uniform(0.45, 0.50)))


@lru_cache
def _to_zone(epsg: int) -> Transformer:
    return Transformer.from_crs(DEGREES, epsg, always_xy=True)


@lru_cache
def _from_zone(epsg: int) -> Transformer:
    return Transformer.from_crs(epsg, DEGREES, always_xy=True)


_SMALLEST = 40.0
_OVER_THE_EDGE = 0.8
_DAY: Final[dict[Phase, float]] = {"pre": -300.0, "post": 4.0}

Ring = NDArray[np.float64]


def annotate(scene: SampleScene, drawn: Scene) -> dict[Phase, Label]:
    """Return the labels of both dates: the same buildings in the same order, each outlined as that image shows it.

    A building that the first image does not show has no label; one that only the second hides is un-classified.
    """
    rng = scene.rng("labels")
    event = scene.event
    place = place_near(event.epsg, event.longitude, event.latitude, rng)
    metadata = {phase: _metadata(rng, scene, phase, drawn.sights[phase]) for phase in PHASES}
    buildings: dict[Phase, list[Building]] = {phase: [] for phase in PHASES}
    for house, damage in zip(drawn.houses, drawn.damages, strict=True):
        uid = str(uuid.UUID(bytes=rng.bytes(16), version=4))
        rings = {p: _outline(rng, house, drawn.sights[p]) for p in PHASES}
        if any(ring is None for ring in rings.values()) or _is_hidden(house, drawn.sights["pre"]):
            continue
        judged = Damage.UNCLASSIFIED if _is_hidden(house, drawn.sights["post"]) else damage
        for phase, ring in rings.items():
            if ring is not None:
                buildings[phase].append(_building(uid, ring, place, judged if phase == "post" else None))
    return {phase: Label(metadata[phase], tuple(buildings[phase])) for phase in PHASES}


def _outline(rng: np.random.Generator, house: House, sight: Sight) -> Ring | None:
    """Return the outline as far as the image goes, drawn with a steady hand; `None` where too little is in it."""
    ring = house.outline() + sight.shot.shift + rng.normal(0, 0.06, 2)
    size = len(sight.image)
    seen = shapely.intersection(shapely.Polygon(ring), shapely.box(0, 0, size, size))
    if seen.area < _SMALLEST:
        return None
    edge = shapely.box(-_OVER_THE_EDGE, -_OVER_THE_EDGE, size + _OVER_THE_EDGE, size + _OVER_THE_EDGE)
    if edge.contains(shapely.Polygon(ring)):
        return ring
    parts = shapely.get_parts(shapely.intersection(shapely.Polygon(ring), edge))
    return shapely.get_coordinates(max(parts, key=lambda part: part.area))


def _is_hidden(house: House, sight: Sight) -> bool:
    frame = frame_at(len(sight.image), house.x, house.y, house.angle, house.reach)
    if frame is None:
        return True
    inside = edge_of(house, frame) < 0
    return bool(sight.hidden[frame.cut][inside].mean() > 0.5) if inside.any() else True


def _building(uid: str, ring: Ring, place: Place, damage: Damage | None) -> Building:
    return Building(uid, _wkt(ring), damage, _wkt(place.degrees(ring)))


def _wkt(ring: Ring) -> str:
    return f"POLYGON (({', '.join(f'{x!r} {y!r}' for x, y in ring.tolist())}))"


def _metadata(rng: np.random.Generator, scene: SampleScene, phase: Phase, sight: Sight) -> Metadata:
    size = len(sight.image)
    day = datetime(2019, 6, 1, 10, tzinfo=UTC) + timedelta(days=_DAY[phase], seconds=int(rng.integers(18_000)))
    pan = float(rng.uniform(0.34, 0.75))
    return Metadata(
        sensor="SAMPLE01",
        provider_asset_type="SAMPLE01",
        gsd=round(4 * pan, 7),
        capture_date=day.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        off_nadir_angle=round(float(rng.uniform(2, 32)), 6),
        pan_resolution=round(pan, 7),
        sun_azimuth=round(sight.shot.sun_azimuth, 6),
        sun_elevation=round(sight.shot.sun_elevation, 6),
        target_azimuth=round(float(rng.uniform(0, 360)), 6),
        disaster=scene.event.name,
        disaster_type=scene.event.hazard.word,
        catalog_id=rng.bytes(8).hex().upper(),
        original_width=size,
        original_height=size,
        width=size,
        height=size,
        id=rng.bytes(16).hex(),
        img_name=f"{scene.id.stem(phase)}.png",
    )


def scene_name(scene: SampleScene) -> str:
    """Return the path of the last file of `draw_scene`."""
    return f"{scene.tier}/labels/{scene.id.stem('post')}.json"


def draw_scene(scene: SampleScene, size: int) -> Iterator[tuple[str, bytes]]:
    """Draw one scene; yield path and content of both images, then of both labels.

    Args:
        scene: one scene of `plan_sample`.
        size: width and height in pixels.
    """
    drawn = render(scene, size)
    for phase in PHASES:
        yield f"{scene.tier}/images/{scene.id.stem(phase)}.png", _png(drawn.sights[phase].image)
    for phase, label in annotate(scene, drawn).items():
        yield f"{scene.tier}/labels/{scene.id.stem(phase)}.json", format_label(label, phase)


def write_scene(root: Path, scene: SampleScene, size: int) -> None:
    """Draw one scene and write its files below `root`, which holds, or will hold, tier1, tier3, hold and test."""
    SceneFiles(root, scene_name(scene)).write(partial(draw_scene, scene, size))


def _png(image: Bytes) -> bytes:
    buffer = BytesIO()
    # As in xBD, pure black is declared transparent: that is how GIS software knows the part without data.
    Image.fromarray(image).save(buffer, "PNG", compress_level=3, transparency=(0, 0, 0))
    return buffer.getvalue()
