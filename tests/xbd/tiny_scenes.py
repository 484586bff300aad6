"""Writes scenes of a few square buildings in the layout of the download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from PIL import Image

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.xbd.labels import Building, Label, Metadata, format_label
from xview2_siamese_unet.xbd.scenes import PHASES, Phase, SceneId

LEFT, TOP, PIXEL, EPSG = 500_000.25, 3_400_000.75, 0.5, 32616


def square(x: float, y: float, side: float) -> list[tuple[float, float]]:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side), (x, y)]


def wkt(ring: list[tuple[float, float]]) -> str:
    return f"POLYGON (({', '.join(f'{x!r} {y!r}' for x, y in ring)}))"


def degrees(ring: list[tuple[float, float]], epsg: int = EPSG) -> list[tuple[float, float]]:
    back = pyproj.Transformer.from_crs(f"EPSG:{epsg}", "OGC:CRS84", always_xy=True)
    return [back.transform(LEFT + PIXEL * x, TOP - PIXEL * y) for x, y in ring]


def building(uid: str, x: float, y: float, side: float = 10.0, damage: Damage | None = Damage.NO_DAMAGE) -> Building:
    ring = square(x, y, side)
    return Building(uid, wkt(ring), damage, wkt(degrees(ring)))


def metadata(scene: SceneId, phase: Phase, **changed: object) -> Metadata:
    fields: dict[str, Any] = {
        "disaster": scene.disaster,
        "disaster_type": "wind",
        "capture_date": f"2018-10-0{1 if phase == 'pre' else 9}T02:26:02.000Z",
        "width": 64,
        "height": 64,
        "img_name": f"{scene.stem(phase)}.png",
    }
    return Metadata(**(fields | changed))


def write_scene(
    root: Path, tier: str, scene: SceneId, buildings: tuple[Building, ...] = (), *, size: int = 64
) -> dict[Phase, Path]:
    """Write four files and return the paths of the labels."""
    paths: dict[Phase, Path] = {}
    for phase in PHASES:
        for kind in ("images", "labels"):
            (root / tier / kind).mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([scene.number, len(phase)])
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / tier / "images" / f"{scene.stem(phase)}.png")
        paths[phase] = root / tier / "labels" / f"{scene.stem(phase)}.json"
        fields = metadata(scene, phase, width=size, height=size)
        paths[phase].write_bytes(format_label(Label(fields, buildings), phase))
    return paths
