"""The labels of a folder as three tables, through the file that they are kept in."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd
from PIL import Image

from xview2_siamese_unet.xbd.ingest import LabelPlan, read_labels
from xview2_siamese_unet.xbd.label_table import Labels, write_labels
from xview2_siamese_unet.xbd.pairing import list_pairs


class Tables(NamedTuple):
    scenes: pd.DataFrame
    buildings: pd.DataFrame
    problems: pd.DataFrame


def shape_of(path: Path) -> tuple[int, int, int]:
    with Image.open(path) as image:
        return len(image.getbands()), image.height, image.width


def read_tables(root: Path, path: Path, *, stop: bool = True) -> Tables:
    plan = LabelPlan(root, *list_pairs(root), stop=stop)
    results = (read_labels(root, pair, read_shape=shape_of, stop=stop) for pair in plan.pairs)
    write_labels(path, plan, results)
    labels = Labels(path)
    buildings = pd.concat([part.to_pandas() for part in labels.buildings()], ignore_index=True)
    return Tables(labels.scenes, buildings, labels.problems)
