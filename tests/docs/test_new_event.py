"""The page on a new event, from two images and footprints to a map and a count, with true classes as labels."""

from __future__ import annotations

import json
import re
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
from affine import Affine
from docs_blocks import DOCS, blocks
from shapely import wkt
from shapely.affinity import affine_transform
from typed import NO_NETWORK, commands, lay_down_project, type_line, write_geotiff

from xview2_siamese_unet.config.dataset import SampleParams, SampleScenes
from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.synthetic import plan_sample, write_scene

SIDE = 1024
CODES = {code.word: int(code) for code in Damage}


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reader with a project, two images of a synthetic event and footprints."""
    folder = tmp_path_factory.mktemp("event")
    (scene,) = plan_sample(SampleParams(seed=1, size=SIDE, scenes=SampleScenes(tier1=1, tier3=0, hold=0, test=0)))
    write_scene(folder / "xbd", scene, SIDE)
    (folder / "path/to").mkdir(parents=True)
    for image, name in (("pre", "before"), ("post", "after")):
        (png,) = (folder / "xbd").rglob(f"*_{image}_disaster.png")
        write_geotiff(png, folder / f"path/to/{name}.tif")
    (label,) = (folder / "xbd").rglob("*_post_disaster.json")
    transform = Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)
    features = [
        (feature["properties"], affine_transform(wkt.loads(feature["wkt"]), transform.to_shapely()))
        for feature in json.loads(label.read_text())["features"]["xy"]
    ]
    known = [each for each in features if each[0]["subtype"] in CODES and CODES[each[0]["subtype"]] <= Damage.DESTROYED]
    columns = {"building_id": [str(n) for n in range(len(known))], "truth": [CODES[p["subtype"]] for p, _ in known]}
    buildings = gpd.GeoDataFrame(columns, geometry=[outline for _, outline in known], crs="EPSG:32615")
    buildings.drop(columns="truth").to_file(folder / "path/to/buildings.gpkg")
    buildings.drop(columns="geometry").to_csv(folder / "truth.csv", index=False)
    lay_down_project(folder)
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    return folder


def label_page(page: Path, truth: pd.Series, to: Path) -> None:
    """Label the buildings of a page with their true classes."""
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    ids = [building["id"] for building in json.loads(data)["buildings"]]
    pd.DataFrame({"building_id": ids, "label": truth[ids].to_numpy()}).to_csv(to, index=False)


@pytest.mark.slow
def test_two_images_and_footprints_become_a_map_and_a_count(event: Path) -> None:
    truth = pd.read_csv(event / "truth.csv", dtype={"building_id": str}).set_index("building_id")["truth"]
    data = event / "path/to"
    typed = [block for block in blocks(DOCS / "new_event.md") if block.language == "bash"]
    for command in (command for block in typed for command in commands(block, event)):
        type_line(command, event / "xview2")
        if "kedro validate" in command:
            label_page(data / "event/validation/label.html", truth, data / "validation.csv")
        if "--count 48" in command:
            for name in ("labels", "anna", "ben"):
                label_page(data / "event/label.html", truth, data / f"{name}.csv")
    adapted = data / "event/adapted"
    adapted_buildings = gpd.read_file(adapted / "buildings.gpkg", layer="buildings").set_index("building_id")
    assert len(adapted_buildings) == len(truth)
    damaged = (adapted_buildings["damage"] > 1)[truth.index]
    assert (damaged == (truth > 1)).mean() > 0.8
    numbers = json.loads((adapted / "validation/estimates.json").read_text())
    (row,) = (row for row in numbers["all"] if row["kind"] == "damaged")
    assert row["low"] <= (truth > 1).sum() <= row["high"]
    assert numbers["sentences"][0].startswith(f"{row['low']} to {row['high']} of {len(truth)} buildings are damaged")
    assert (adapted / "map.html").is_file()
    before = gpd.read_file(data / "event/buildings.gpkg", layer="buildings")
    assert before["damage"].isna().all()
    assert set(before["reason"]) == {"no model"}
