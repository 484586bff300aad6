"""The page on products lists what the code writes; `test_every_page.py` compares it with a whole assessment."""

from __future__ import annotations

import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from docs_blocks import DOCS, first_column

from xview2_siamese_unet.config.inference import BuildingParams
from xview2_siamese_unet.inference.buildings import CEMS, add_provenance, assess_buildings
from xview2_siamese_unet.inference.products import products
from xview2_siamese_unet.inference.summary import summary_table
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.io import BANDS
from xview2_siamese_unet.validation.estimation import COLUMNS
from xview2_siamese_unet.validation.sampling import draw, new_population

PAGE = DOCS / "products.md"
TEXT = PAGE.read_text(encoding="utf-8")
FACTS = ("pre_id", "pre_date", "post_id", "post_date", "gsd_m", "model_id", "run_id")


@pytest.fixture
def buildings(tmp_path: Path) -> gpd.GeoDataFrame:
    grid = Grid("EPSG:32615", 500_000, 4_000_000, 0.5, 16, 16)
    profile = {"dtype": "uint8", "count": 5, "height": 16, "width": 16, "nodata": 255, "crs": grid.crs}
    with rasterio.open(tmp_path / "p.tif", "w", driver="GTiff", transform=grid.transform, **profile) as target:
        target.write(np.full((5, 16, 16), 50, np.uint8))
    columns = {"building_id": ["1"], "footprint_source": ["model"]}
    footprints = gpd.GeoDataFrame(columns, geometry=[shapely.box(500_001, 3_999_993, 500_004, 3_999_997)], crs=grid.crs)
    return add_provenance(
        assess_buildings(footprints, tmp_path / "p.tif", grid, BuildingParams()), dict.fromkeys(FACTS, "")
    )


def test_every_column_of_the_buildings_is_listed(buildings: gpd.GeoDataFrame) -> None:
    assert set(buildings.columns.drop("geometry")) <= set(first_column(PAGE, "### Layer `buildings`"))


def test_every_column_of_the_summary_is_listed(buildings: gpd.GeoDataFrame) -> None:
    assert first_column(PAGE, "## `summary.csv` and `summary.json`") == list(summary_table(buildings).columns)


def test_every_column_of_a_sample_and_its_estimates_is_listed(buildings: gpd.GeoDataFrame) -> None:
    population = new_population(buildings, 10, 0)
    sample = {*draw(population, 10), "seed"}
    assert set(first_column(PAGE, "## `validation/sample.csv`, `validation/population.csv`")) == {
        *population,
        *sample,
        "outline",
    }
    assert first_column(PAGE, "## `validation/estimates.csv` and `validation/estimates.json`") == list(COLUMNS)


def test_every_band_grade_and_file_is_listed() -> None:
    assert first_column(PAGE, "## `probability.tif`") == list(BANDS)
    assert all(grade in TEXT for grade in CEMS.values())
    assert set(products()) <= set(re.findall(r"[a-z]+\.[a-z]+", " ".join(re.findall(r"^## (.*)$", TEXT, re.MULTILINE))))
