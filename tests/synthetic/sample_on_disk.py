"""Reads a sample from disk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xview2_siamese_unet.synthetic import SampleScene
from xview2_siamese_unet.xbd.labels import Label, parse_label
from xview2_siamese_unet.xbd.scenes import Phase

SIZE = 256


def ring(wkt: str) -> NDArray[np.float64]:
    """Return the outer ring of a polygon, parsed independently of the project."""
    match = re.fullmatch(r"POLYGON \(\((.*)\)\)", wkt)
    assert match is not None
    return np.array([[float(number) for number in point.split()] for point in match[1].split(", ")])


@dataclass(frozen=True)
class Sample:
    root: Path
    scenes: tuple[SampleScene, ...]

    def label(self, scene: SampleScene, phase: Phase) -> Label:
        path = self.root / scene.tier / "labels" / f"{scene.id.stem(phase)}.json"
        return parse_label(path.read_bytes(), phase, where=path.name, georeferenced=True)

    def image(self, scene: SampleScene, phase: Phase) -> NDArray[np.uint8]:
        with Image.open(self.root / scene.tier / "images" / f"{scene.id.stem(phase)}.png") as image:
            assert image.mode == "RGB"
            return np.asarray(image)
