"""Twelve roofs in two images, and the buildings of their assessment."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from image_pair import Write, pair_of
from xview2_siamese_unet.raster.reader import Pair

EVIL = "</script><img src=x onerror=alert(1)>\"'&é"
"""The id of the second building."""
IDS = ["a,1", EVIL, "=3", "7", *(f"b{number}" for number in range(8))]
SIDE = 24
"""Pixels of 0.5 m along a roof."""


@pytest.fixture
def pair(write_raster: Write) -> Pair:
    """Red roofs on grey in the pre-disaster image, blue ones in the post-disaster image."""
    images = [np.full((400, 500, 3), grey, np.uint8) for grey in (90, 120)]
    for top, left in corners():
        images[0][top : top + SIDE, left : left + SIDE] = (220, 20, 20)
        images[1][top : top + SIDE, left : left + SIDE] = (20, 20, 220)
    return pair_of(write_raster("pre.tif", images[0]), write_raster("post.tif", images[1])).pair


def corners() -> list[tuple[int, int]]:
    return [(60 + 120 * row, 40 + 120 * column) for row in range(3) for column in range(4)]


@pytest.fixture
def roofs() -> gpd.GeoDataFrame:
    """The buildings of `buildings.gpkg`, of which the fourth is not assessed."""
    outlines = [
        shapely.box(500_000 + left / 2, 4_000_000 - (top + SIDE) / 2, 500_000 + (left + SIDE) / 2, 4_000_000 - top / 2)
        for top, left in corners()
    ]
    count = len(outlines)
    codes = pd.array([1 + number % 4 for number in range(count)], dtype="Int8")
    codes[3] = pd.NA
    columns = {
        "building_id": IDS,
        "visible_fraction": [0.1 if number == 3 else 1.0 for number in range(count)],
        "area_m2": 144.0,
        "status": ["not_assessed" if number == 3 else "assessed" for number in range(count)],
        "reason": ["only 10% of it is visible" if number == 3 else None for number in range(count)],
        "damage": codes,
        "confidence": 0.77,
    }
    return gpd.GeoDataFrame(columns, geometry=outlines, crs="EPSG:32615")
