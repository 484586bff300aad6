"""The examples of CONTRIBUTING work unchanged: one file each, which the whole project then uses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from docs_blocks import PROJECT, blocks
from kedro.framework.startup import bootstrap_project
from kedro.io import DatasetError

from xview2_siamese_unet.assessment import assess
from xview2_siamese_unet.config.modelling import DamageLossMix, ModelParams
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.damage import IGNORE, Damage
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.inference.building_formats import FORMATS
from xview2_siamese_unet.models.build import build_net
from xview2_siamese_unet.models.decoders import DECODERS
from xview2_siamese_unet.raster.io import read_mask
from xview2_siamese_unet.runs import ProjectSession
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS
from xview2_siamese_unet.training.losses import LOSSES, mix_losses

PAGE = PROJECT / "CONTRIBUTING.md"
EXAMPLES = {block.title: block for block in blocks(PAGE) if block.language == "python"}
SOURCE = PROJECT / "src" / "xview2_siamese_unet"
Load = Callable[..., Any]


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    """Remove what an example adds to the tables."""
    with patch.dict(DECODERS), patch.dict(LOSSES), patch.dict(FORMATS):
        yield


@pytest.fixture
def load() -> Load:
    """Return a function that loads the shipped parameters with some of them overridden."""

    def make(**params: object) -> Any:  # noqa: ANN401
        return UserExperimentConfigLoader(PROJECT / "conf", runtime_params=params, **CONFIG_LOADER_ARGS)["parameters"]

    return make


def run(title: str) -> None:
    """Execute an example."""
    block = EXAMPLES[title]
    exec(compile(block.text, block.place, "exec"), {"__name__": "example"})  # noqa: S102


def test_each_example_has_a_test_and_an_existing_folder() -> None:
    tested = {"models/decoders.py", "training/losses.py", "inference/building_formats.py", "datasets/graded.py"}
    assert EXAMPLES.keys() == tested
    assert [title for title in EXAMPLES if not (SOURCE / title).parent.is_dir()] == []
    assert [title for title, block in EXAMPLES.items() if len(block.text.strip().splitlines()) > 17] == []


def test_each_file_of_the_table_exists() -> None:
    table = PAGE.read_text(encoding="utf-8").split("## To add …")[1].split("### ")[0]
    files = re.findall(r"`(\w+/\w+\.py)`", table)
    assert len(files) == 6
    assert [name for name in files if not (SOURCE / name).is_file()] == []


def test_the_example_of_a_decoder_works(load: Load) -> None:
    chosen = {"encoder": {"name": "tu-test_resnet"}, "decoder": "linknet", "decoder_channels": [16, 16, 8, 8, 12]}
    with pytest.raises(ConfigError, match=r"model\.decoder must be one of .*, got 'linknet'"):
        load(model=chosen)
    run("models/decoders.py")
    params = ModelParams.model_validate(load(model=chosen)["model"])
    net = build_net(params, 5).eval()
    assert net.pre.channels == 12
    with torch.inference_mode():
        logits = net(torch.zeros(1, 3, 64, 40), torch.zeros(1, 3, 64, 40))
    assert logits.building.shape == (1, 2, 64, 40)
    assert logits.damage.shape == (1, 5, 64, 40)


def test_the_example_of_a_loss_works(load: Load) -> None:
    chosen = {"losses": {"post": {"focal": 0.0, "tversky": 2.0}}}
    with pytest.raises(ConfigError, match=r"training\.losses\.post must be one of .*, got 'tversky'"):
        load(training=chosen)
    run("training/losses.py")
    mix = DamageLossMix.model_validate(load(training=chosen)["training"]["losses"]["post"])
    logits = torch.randn(2, 5, 6, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = torch.arange(72).view(2, 6, 6) % 5
    target[0, 0] = IGNORE
    loss = mix_losses(logits, target, mix, alpha=None, gamma=2.0)
    counted = (target != IGNORE) & (target != 0)
    p, truth, parts = logits.softmax(1).movedim(1, -1)[counted], target[counted], []
    for c in range(1, 5):
        hits, missed = p[truth == c, c].sum(), (1 - p[truth == c, c]).sum()
        parts.append(1 - hits / (hits + 0.7 * missed + 0.3 * p[truth != c, c].sum()))
    torch.testing.assert_close(loss, 2 * torch.stack(parts).mean())
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.any()


def write_tif(path: Path, pixels: np.ndarray, transform: Affine) -> None:
    """Write an image (h, w, 3) in zone 32 north."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, count = pixels.shape
    size = {"height": height, "width": width, "count": count, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32632", transform=transform, **size) as target:
        target.write(np.moveaxis(pixels, 2, 0))


def noise(seed: int, side: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, (side, side, 3), dtype=np.uint8)


@pytest.fixture
def project(shipped: Path) -> Path:
    """A project with the shipped configuration and a new user."""
    (shipped / "conf/local").mkdir()
    (shipped / "conf/users/ada").mkdir()
    (shipped / "conf/users/ada/globals.yml").touch()
    bootstrap_project(shipped)
    return shipped


@pytest.mark.slow
def test_the_example_of_an_output_format_works(project: Path, load: Load) -> None:
    with pytest.raises(ConfigError, match=r"inference\.formats must be one of geojson, geoparquet, got 'csv'"):
        load(inference={"formats": ["csv"]})
    run("inference/building_formats.py")
    grid = Affine(0.5, 0, 400_000, 0, -0.5, 5_600_000)
    for seed, name in enumerate(("pre.tif", "post.tif")):
        write_tif(project / name, noise(seed, 96), grid)
    boxes = [shapely.box(400_000 + k, 5_599_980, 400_008 + k, 5_599_990) for k in (5, 25)]
    gpd.GeoDataFrame(geometry=boxes, crs="EPSG:32632").to_file(project / "houses.gpkg", engine="pyogrio")
    model = {"encoder": {"name": "tu-test_resnet"}, "decoder_channels": [16, 16, 8, 8, 8]}
    checkpoint = {
        "state": build_net(ModelParams.model_validate(model), 5).state_dict(),
        "model": model,
        "classes": {"unclassified": "ignore"},
        "channels": {"mean": [127.0] * 3, "std": [60.0] * 3},
        "fingerprint": "f" * 32,
    }
    torch.save(checkpoint, project / "model.pth")
    more = {
        "model": "model.pth",
        "footprints": "houses.gpkg",
        "formats": ["csv"],
        "windows": {"size": 96, "overlap": 32},
    }
    done = assess("pre.tif", "post.tif", "out", device="cpu", **more)
    assert "buildings.csv" in done.record["products"]
    table = pd.read_csv(done.products["buildings.csv"])
    centres = gpd.GeoSeries(boxes, crs="EPSG:32632").centroid.to_crs(4326)
    np.testing.assert_allclose(table[["longitude", "latitude"]], np.column_stack([centres.x, centres.y]), atol=1e-7)
    assert done.record["buildings"]["buildings"] == len(table) == 2
    (done.folder / "buildings.csv").write_text("mine")
    again = assess("pre.tif", "post.tif", "out", device="cpu", overwrite=True, **more | {"formats": []})
    assert "buildings.csv" not in again.record["products"]
    assert (again.folder / "buildings.changed.csv").read_text() == "mine"


SCENES = (("train", "tier1", 20), ("validation", "hold", 12), ("test", "test", 8))
"""Folder, tier, and side of the squares in pixels."""
CORNERS = ((2, 3), (30, 5), (4, 40))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Scenes in the layout of the example, of three squares in degrees each, and a module with the example."""
    for number, (part, _, side) in enumerate(SCENES):
        scene, left, top = tmp_path / "pairs" / part / str(number), 400_000 + 100 * number, 5_600_000
        for seed, name in enumerate(("a.tif", "b.tif")):
            write_tif(scene / name, noise(seed + 2 * number, 64), Affine(0.5, 0, left, 0, -0.5, top))
        squares = [
            shapely.box(left + 0.5 * x, top - 0.5 * (y + side), left + 0.5 * (x + side), top - 0.5 * y)
            for x, y in CORNERS
        ]
        frame = gpd.GeoDataFrame({"grade": [0, 3, number]}, geometry=squares, crs="EPSG:32632")
        frame.to_crs("OGC:CRS84").to_file(scene / "buildings.geojson", engine="pyogrio")
    (tmp_path / "graded.py").write_text(EXAMPLES["datasets/graded.py"].text)
    return tmp_path / "pairs"


def process() -> SimpleNamespace:
    """Run data_processing; return some of its outputs."""
    with ProjectSession.create(Path.cwd(), env="ada/strong") as session:
        session.run(pipeline_names=["data_processing"])
        catalog = session.load_context().catalog
        names = ("raw_scenes", "scenes", "buildings", "masks", "store", "splits")
        return SimpleNamespace(**{name: catalog[name].load() for name in names})


@pytest.mark.slow
def test_the_example_of_a_dataset_in_another_layout_works(
    project: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(pairs.parent)
    (entry,) = (block.text for block in blocks(PAGE) if "catalog" in block.title)
    entry = entry.replace("xview2_siamese_unet.datasets.graded", "graded").replace("/path/to/pairs", str(pairs))
    (project / "conf/users/ada/catalog.yml").write_text(entry)
    (project / "conf/users/ada/globals.yml").write_text("dataset: {name: ahr, source: other}")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in pairs.rglob("*") if path.is_file()}
    outputs = process()
    assert outputs.scenes["buildings"].tolist() == [3, 3, 3]
    assert set(outputs.scenes["epsg"]) == {32632}
    assert outputs.buildings.read().to_pandas().groupby("scene").size().tolist() == [3, 3, 3]
    assert sorted(outputs.splits["split"]) == ["test", "train", "validation"]
    for number, (part, tier, side) in enumerate(SCENES):
        scene, grades = f"ahr-flood_0000000{number}", [Damage.NO_DAMAGE, Damage.DESTROYED, Damage.NO_DAMAGE + number]
        expected = np.zeros((64, 64), np.uint8)
        for (x, y), code in zip(CORNERS, grades, strict=True):
            expected[y : y + side, x : x + side] = code
        masks = outputs.masks(f"{tier}/{scene}")
        np.testing.assert_array_equal(masks.read("damage"), expected)
        np.testing.assert_array_equal(read_mask(masks.path("building")), expected > 0)
        with rasterio.open(pairs / part / f"{number}/b.tif") as image:
            np.testing.assert_array_equal(outputs.store.scene(scene).post, np.moveaxis(image.read(), 0, 2))
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}
    assert all(path.is_symlink() for path in outputs.raw_scenes.glob("*/images/*"))
    label = pairs / "train/0/buildings.geojson"
    content = json.loads(label.read_text())
    content["features"] = content["features"][:2]
    label.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="other scenes"):  # labels must not change during a run
        process()
    assert sorted(process().scenes["buildings"]) == [2, 3, 3]
