"""A pair of images with footprints and labels."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine

HEIGHT, WIDTH = 224, 320


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of houses; every third is dark in the post-disaster image, and the last footprint lies outside."""
    folder = tmp_path_factory.mktemp("town")
    rng = np.random.default_rng(0)
    pre = rng.integers(90, 130, (HEIGHT, WIDTH, 3))
    post = pre + rng.integers(-5, 6, pre.shape)
    houses, labels = [], []
    for top in range(8, HEIGHT - 20, 20):
        for left in range(8, WIDTH - 20, 20):
            pre[top : top + 12, left : left + 12] = 200
            damaged = len(labels) % 3 == 2
            post[top : top + 12, left : left + 12] = 45 if damaged else 200
            houses.append((left, top, left + 12, top + 12))
            labels.append("destroyed" if damaged else "no-damage")
    transform = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
    for name, image in (("pre", pre), ("post", post + rng.integers(0, 8, post.shape))):
        profile = {"crs": "EPSG:32615", "transform": transform, "dtype": "uint8", "count": 3}
        with rasterio.open(folder / f"{name}.tif", "w", driver="GTiff", height=HEIGHT, width=WIDTH, **profile) as file:
            file.write(np.moveaxis(image.clip(1, 255).astype(np.uint8), 2, 0))
    houses.append((4000, 4000, 4010, 4010))
    boxes = [shapely.transform(shapely.box(*house), lambda xy: xy / [2, -2] + [500_000, 4_000_000]) for house in houses]
    ids = [f"house {number}" for number in range(len(boxes))]
    gpd.GeoDataFrame({"building_id": ids}, geometry=boxes, crs="EPSG:32615").to_file(folder / "houses.gpkg")
    truth = pd.DataFrame({"building_id": ids[:-1], "label": labels})
    truth.to_csv(folder / "truth.csv", index=False)
    truth.sample(36, random_state=0).to_csv(folder / "labels.csv", index=False)
    return folder
