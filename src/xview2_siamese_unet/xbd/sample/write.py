"""The four files of a scene, as the download has them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image

from xview2_siamese_unet.xbd.labels import format_label
from xview2_siamese_unet.xbd.names import PHASES
from xview2_siamese_unet.xbd.pairing import SceneFiles
from xview2_siamese_unet.xbd.sample.annotate import annotate
from xview2_siamese_unet.xbd.sample.light import Bytes
from xview2_siamese_unet.xbd.sample.plan import SampleScene
from xview2_siamese_unet.xbd.sample.render import render


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
