"""The four files of a scene, as the download has them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.xbd.labels import format_label
from xview2_siamese_unet.xbd.names import PHASES
from xview2_siamese_unet.xbd.sample.annotate import annotate
from xview2_siamese_unet.xbd.sample.light import Bytes
from xview2_siamese_unet.xbd.sample.plan import SampleScene
from xview2_siamese_unet.xbd.sample.render import render


def write_scene(root: Path, scene: SampleScene, size: int) -> None:
    """Draw one scene and write its images and labels below `root`.

    Each file is written beside its place and then moved there, the labels last: a label always has its images.

    Args:
        root: folder that holds, or will hold, tier1, tier3, hold and test.
        scene: one scene of `plan_sample`.
        size: width and height in pixels.
    """
    drawn = render(scene, size)
    for phase in PHASES:
        path = root / scene.tier / "images" / f"{scene.id.stem(phase)}.png"
        _write(path, _png(drawn.sights[phase].image))
    for phase, label in annotate(scene, drawn).items():
        _write(root / scene.tier / "labels" / f"{scene.id.stem(phase)}.json", format_label(label, phase))


def _png(image: Bytes) -> bytes:
    buffer = BytesIO()
    # As in xBD, pure black is declared transparent: that is how GIS software knows the part without data.
    Image.fromarray(image).save(buffer, "PNG", compress_level=3, transparency=(0, 0, 0))
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    with whole_file(path) as part:
        part.write_bytes(data)
