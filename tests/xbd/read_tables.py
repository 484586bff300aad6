"""Reads the labels of a folder into three tables, like data_processing."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd
from PIL import Image

from xview2_siamese_unet.xbd.ingest import (
    BUILDING_COLUMNS,
    building_tables,
    read_buildings,
    read_labels,
    tabulate_labels,
)
from xview2_siamese_unet.xbd.scenes import list_pairs, pairs_of, tabulate_pairs


class Tables(NamedTuple):
    scenes: pd.DataFrame
    buildings: pd.DataFrame
    problems: pd.DataFrame


def shape_of(path: Path) -> tuple[int, int, int]:
    with Image.open(path) as image:
        return len(image.getbands()), image.height, image.width


def read_tables(root: Path, *, stop: bool = True) -> Tables:
    pairs, problems = list_pairs(root)
    if problems and stop:
        raise problems[0]
    files = tabulate_pairs(pairs, problems)
    results = (read_labels(root, pair, read_shape=shape_of, stop=stop) for pair in pairs_of(files))
    scenes, report = tabulate_labels(root, files, results)
    keys = dict(zip(scenes["scene"], scenes["labels_key"], strict=True))
    work = [(pair, keys[str(pair.scene)]) for pair in pairs if str(pair.scene) in keys]
    parts = [part.to_pandas() for part in building_tables(read_buildings(root, each) for each in work)]
    return Tables(scenes, pd.concat(parts, ignore_index=True)[list(BUILDING_COLUMNS)], report)
