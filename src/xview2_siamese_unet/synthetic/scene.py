"""One scene of the sample: both images, both labels, and its files in the layout of the download."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.synthetic.canvas import Canvas, Floats, blend, box, pixels_around, smoothstep
from xview2_siamese_unet.synthetic.damage import Force, assign_damage, draw_damaged, draw_debris, spread_cover
from xview2_siamese_unet.synthetic.drawing import draw_cars, draw_ground, draw_roof, draw_trees, draw_yard
from xview2_siamese_unet.synthetic.events import Event, SampleScene
from xview2_siamese_unet.synthetic.layout import House, Streets, build_houses, plant_trees
from xview2_siamese_unet.synthetic.sensor import Bytes, Shot, cloud_opacity, expose, past_border, take_shot, to_bytes
from xview2_siamese_unet.xbd.georeference import Georeference, utm_transformer, utm_zone
from xview2_siamese_unet.xbd.labels import Building, Label, Metadata, format_label
from xview2_siamese_unet.xbd.scenes import PHASES, Phase, SceneFiles

_SMALLEST: Final = 40.0
"""Square pixels of the smallest part of a building that is labelled at the edge of an image."""
_OVERHANG: Final = 0.8
"""Pixels by which outlines reach over the edge of an image."""
_DAY: Final[dict[Phase, float]] = {"pre": -300.0, "post": 4.0}


@dataclass(frozen=True, slots=True)
class View:
    """One image (size, size, 3), how it was taken, and which of its pixels show no ground."""

    image: Bytes
    shot: Shot
    hidden: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Both images of one scene, and the damage of each of its houses."""

    views: dict[Phase, View]
    houses: list[House]
    damages: list[Damage]


def drawing_code() -> str:
    """Return a digest of the code of this package: scenes that other code has drawn are out of date."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return blake2b(b"".join(path.read_bytes() for path in sources), digest_size=8).hexdigest()


def scene_name(scene: SampleScene) -> str:
    """Return the path of the last file of `draw_scene`."""
    return f"{scene.tier}/labels/{scene.id.stem('post')}.json"


def write_scene(root: Path, scene: SampleScene, size: int) -> None:
    """Draw one scene and write its files below `root`, the folder that holds tier1, tier3, hold and test."""
    SceneFiles(root, scene_name(scene)).write(partial(draw_scene, scene, size))


def draw_scene(scene: SampleScene, size: int) -> Iterator[tuple[str, bytes]]:
    """Draw one scene; yield path and content of both images, then of both labels.

    Args:
        scene: one scene of `plan_sample`.
        size: width and height in pixels.
    """
    drawn = render(scene, size)
    for phase in PHASES:
        buffer = BytesIO()
        # As in xBD, pure black is declared transparent: this marks the part without data for GIS software.
        Image.fromarray(drawn.views[phase].image).save(buffer, "PNG", compress_level=3, transparency=(0, 0, 0))
        yield f"{scene.tier}/images/{scene.id.stem(phase)}.png", buffer.getvalue()
    for phase, label in annotate(scene, drawn).items():
        yield f"{scene.tier}/labels/{scene.id.stem(phase)}.json", format_label(label, phase)


def render(scene: SampleScene, size: int) -> Drawn:
    """Draw both images of a scene of `size` by `size` pixels."""
    hazard, climate = scene.event.hazard, scene.event.climate
    streets = Streets.random(scene.rng("layout"))
    houses = [] if scene.is_empty else build_houses(scene.rng("houses"), streets, size, climate.roofs)
    trees = plant_trees(scene.rng("trees"), streets, size, houses)
    rng = scene.rng("force")
    force = Force.random(rng, size, is_front=hazard.is_front)
    damages, onset = assign_damage(rng, force, houses, scene.shares)
    before = draw_ground(scene.rng("ground"), streets, climate, size)
    for house in houses:
        draw_yard(before, house)
    after = before.copy()
    draw_cars(scene.rng("pre"), before, streets)
    for house in houses:
        draw_roof(before.around(house.x, house.y, house.angle, house.reach + 2), house)
    draw_trees(before, trees, climate, np.zeros(len(trees), np.bool_))
    draw_cars(scene.rng("post"), after, streets)
    # The edge of a liquid is sharper.
    ragged, width = (0.025, 0.12) if hazard.is_liquid else (0.08, 0.35)
    strength = force.at(after.u, after.v) + ragged * after.clump
    strength = smoothstep(strength, onset - 0.05, onset - 0.05 + width)
    _draw_after(scene, after, dict(zip(houses, damages, strict=True)), trees, strength)
    return Drawn(_take_images(scene, {"pre": before, "post": after}), houses, damages)


def _draw_after(
    scene: SampleScene, canvas: Canvas, damages: dict[House, Damage], trees: Floats, strength: Floats
) -> None:
    rng, hazard = scene.rng("damage"), scene.event.hazard
    canvas.rgb[:] *= rng.normal(1, 0.05) * rng.normal(1, 0.03, 3).astype(np.float32)  # another season
    spread_cover(canvas, strength * hazard.spread, hazard)
    for draw in (draw_debris, draw_damaged):
        for house, damage in damages.items():
            draw(canvas, house, damage, hazard)
    column, row = trees[:, :2].astype(int).clip(0, len(strength) - 1).T
    felled, charred = rng.random((2, len(trees))) < strength[row, column] * [[hazard.tree_loss], [hazard.burns]]
    draw_trees(canvas, trees[~felled], scene.event.climate, charred[~felled])


def _take_images(scene: SampleScene, canvases: dict[Phase, Canvas]) -> dict[Phase, View]:
    rng, size = scene.rng("sky"), len(canvases["pre"].height)
    nothing = np.zeros((size, size), np.float32)
    border = past_border(rng, size) if scene.has_border else dict.fromkeys(PHASES, nothing > 0)
    clouds = {"pre": nothing, "post": cloud_opacity(rng, size) if scene.has_cloud else nothing}
    views: dict[Phase, View] = {}
    for phase, canvas in canvases.items():
        rng = scene.rng(phase)
        shot = take_shot(rng, phase)
        image = expose(rng, canvas, shot)
        blend(image, clouds[phase], (120, 112, 106) if scene.event.hazard.burns else (228, 231, 234))
        views[phase] = View(to_bytes(image, border[phase]), shot, border[phase] | (clouds[phase] > 0.6))
    return views


def annotate(scene: SampleScene, drawn: Drawn) -> dict[Phase, Label]:
    """Return the labels of both images: the same buildings in the same order, each outlined as that image shows it.

    A building that the pre-disaster image does not show has no label; one that only the other hides is un-classified.
    """
    rng = scene.rng("labels")
    grid = grid_near(scene.event, rng)
    metadata = {phase: _metadata(rng, scene, phase, drawn.views[phase]) for phase in PHASES}
    buildings: dict[Phase, list[Building]] = {phase: [] for phase in PHASES}
    for house, damage in zip(drawn.houses, drawn.damages, strict=True):
        uid = str(uuid.UUID(bytes=rng.bytes(16), version=4))
        outlines = {phase: _outline(rng, house, drawn.views[phase]) for phase in PHASES}
        if any(len(outline) == 0 for outline in outlines.values()) or _is_hidden(house, drawn.views["pre"]):
            continue
        seen = Damage.UNCLASSIFIED if _is_hidden(house, drawn.views["post"]) else damage
        for phase, outline in outlines.items():
            label = seen if phase == "post" else None
            buildings[phase].append(Building(uid, _wkt(outline), label, _wkt(to_degrees(grid, outline))))
    return {phase: Label(metadata[phase], tuple(buildings[phase])) for phase in PHASES}


def grid_near(event: Event, rng: np.random.Generator) -> Georeference:
    """Return a grid within 15 km of an event, with pixels of 0.45 to 0.50 m."""
    epsg = utm_zone(event.longitude, event.latitude)
    east, north = utm_transformer(epsg).transform(event.longitude, event.latitude)
    right, up = rng.uniform(-15_000, 15_000, 2).tolist()
    return Georeference(epsg, east + right, north + up, rng.uniform(0.45, 0.50), 0.0)


def to_degrees(grid: Georeference, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return longitude and latitude (WGS 84) of positions in pixels, both (n, 2)."""
    east, north = grid.left + grid.pixel * xy[:, 0], grid.top - grid.pixel * xy[:, 1]
    return np.column_stack(utm_transformer(grid.epsg).transform(east, north, direction="INVERSE"))


def _outline(rng: np.random.Generator, house: House, view: View) -> NDArray[np.float64]:
    """Return the outline in an image as far as the image reaches, (n, 2); empty where too little is in it."""
    size = len(view.image)
    outline = shapely.Polygon(house.outline() + view.shot.shift + rng.normal(0, 0.06, 2))
    if shapely.intersection(outline, shapely.box(0, 0, size, size)).area < _SMALLEST:
        return np.zeros((0, 2))
    frame = shapely.box(-_OVERHANG, -_OVERHANG, size + _OVERHANG, size + _OVERHANG)
    return shapely.get_coordinates(outline if frame.contains(outline) else shapely.intersection(outline, frame))


def _is_hidden(house: House, view: View) -> bool:
    window, u, v = pixels_around(len(view.image), house.x, house.y, house.angle, house.reach)
    inside = box(u, v, house.half_length, house.half_width) < 0
    return not inside.any() or bool(view.hidden[window][inside].mean() > 0.5)


def _wkt(ring: NDArray[np.float64]) -> str:
    return f"POLYGON (({', '.join(f'{x!r} {y!r}' for x, y in ring.tolist())}))"


def _metadata(rng: np.random.Generator, scene: SampleScene, phase: Phase, view: View) -> Metadata:
    size = len(view.image)
    day = datetime(2019, 6, 1, 10, tzinfo=UTC) + timedelta(days=_DAY[phase], seconds=int(rng.integers(18_000)))
    return Metadata(
        sensor="SAMPLE01",
        gsd=2.0,
        capture_date=day.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        off_nadir_angle=round(rng.uniform(2, 32), 6),
        pan_resolution=0.5,
        sun_azimuth=round(view.shot.sun_azimuth, 6),
        sun_elevation=round(view.shot.sun_elevation, 6),
        disaster=scene.event.name,
        disaster_type=scene.event.hazard.kind,
        original_width=size,
        original_height=size,
        width=size,
        height=size,
        img_name=f"{scene.id.stem(phase)}.png",
    )
