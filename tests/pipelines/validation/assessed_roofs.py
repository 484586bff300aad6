"""Fixtures of a project and of an assessment of sixty roofs in two images."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from assessed_folder import write_assessment
from image_pair import Write, pair_of, write_raster
from shipped_project import link_shipped_project
from xview2_siamese_unet.inference.buildings import SHARES

__all__ = ["write_raster"]
SIDE = 16
"""Pixels of 0.5 m along a roof."""
TRUTH = [1 + (number % 4 if number % 3 else 0) for number in range(60)]
"""True class of each roof; the model misclassifies every tenth."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the shipped configuration, in its own folder."""
    folder = link_shipped_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


def roofs() -> gpd.GeoDataFrame:
    """Return the buildings of the assessment; the last one is not visible."""
    corners = [(20 + 30 * (number // 10), 20 + 30 * (number % 10)) for number in range(60)]
    footprints = [
        shapely.box(500_000 + left / 2, 4_000_000 - (top + SIDE) / 2, 500_000 + (left + SIDE) / 2, 4_000_000 - top / 2)
        for top, left in corners
    ]
    codes = [1 + code % 4 if number % 10 == 9 else code for number, code in enumerate(TRUTH)]
    shares = np.full((60, 4), 0.1)
    shares[range(60), np.array(codes) - 1] = 0.7
    columns = {
        "building_id": [f"r{number}" for number in range(60)],
        "visible_fraction": 1.0,
        "area_m2": 64.0,
        "status": "assessed",
        "reason": None,
        "damage": pd.array(codes, dtype="Int8"),
        **dict(zip(SHARES, shares.T, strict=True)),
        "confidence": 0.7,
    }
    frame = gpd.GeoDataFrame(columns, geometry=footprints, crs="EPSG:32615")
    frame.loc[59, ["status", "reason", "visible_fraction"]] = ["not_assessed", "no data", 0.0]
    frame.loc[59, ["damage", *SHARES, "confidence"]] = pd.NA
    return frame


@pytest.fixture
def folder(write_raster: Write, tmp_path: Path) -> Path:
    """The folder of the assessment."""
    images = [np.full((220, 340, 3), grey, np.uint8) for grey in (90, 120)]
    images = [write_raster(f"{name}.tif", image) for name, image in zip(("pre", "post"), images, strict=True)]
    return write_assessment(tmp_path / "assessed", pair_of(*images).pair, buildings=roofs())


@pytest.fixture
def zones(tmp_path: Path) -> Path:
    """Two districts, one of them with a name that a page must escape."""
    boxes = [shapely.box(500_000 + 80 * west, 3_999_800, 500_080 + 80 * west, 4_000_000) for west in range(2)]
    path = tmp_path / "zones.gpkg"
    gpd.GeoDataFrame({"name": ["<script>alert(1)</script>", "east"]}, geometry=boxes, crs="EPSG:32615").to_file(path)
    return path
