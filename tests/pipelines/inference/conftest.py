"""A pair of rasters, a checkpoint of random weights, and a project to assess them in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from onnx_nets import IMAGENET, Coarse, write_card, write_onnx
from shipped_project import link_shipped_project
from small_nets import MODEL
from xview2_siamese_unet.config.modelling import ModelParams
from xview2_siamese_unet.models.build import build_net


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair in two coordinate reference systems, and a checkpoint."""
    folder = tmp_path_factory.mktemp("material")
    rng = np.random.default_rng(0)
    for name, crs, transform in (
        ("pre", "EPSG:32615", Affine(0.5, 0, 500_000, 0, -0.5, 4_000_000)),
        ("post", "EPSG:4326", Affine(6e-6, 0, -93.0001, 0, -5e-6, 36.1449)),
    ):
        image = np.kron(rng.integers(1, 255, (3, 40, 40)), np.ones((1, 6, 6))).astype(np.uint8)
        image[:, 100:130, 60:110] = 0
        profile = {"dtype": "uint8", "count": 3, "height": 240, "width": 240, "crs": crs, "transform": transform}
        with rasterio.open(folder / f"{name}.tif", "w", driver="GTiff", **profile) as target:
            target.write(image)
    torch.manual_seed(0)
    state = build_net(ModelParams.model_validate(MODEL), 5).state_dict()
    checkpoint = {
        "state": state,
        "model": MODEL,
        "classes": {"unclassified": "ignore"},
        "channels": {"mean": [127.0] * 3, "std": [60.0] * 3},
        "fingerprint": "f" * 32,
    }
    torch.save(checkpoint, folder / "model.pth")
    return folder


@pytest.fixture
def project(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the shipped configuration and small windows."""
    local = "inference: {windows: {size: 96, overlap: 32}}\nhardware: {device: cpu, precision: 32-true}"
    monkeypatch.chdir(link_shipped_project(tmp_path, local))
    return tmp_path


@pytest.fixture
def card(project: Path) -> Path:
    """The card of two small ONNX networks, in its own folder."""
    folder = project / "model"
    folder.mkdir()
    loc = write_onnx(Coarse(3, 1, 0), folder / "loc.onnx", 3, half=True)
    cls = write_onnx(Coarse(6, 4, 1), folder / "cls.onnx", 6)
    how = {**IMAGENET, "multiple": 32}
    members = {**loc, **how, "input": "pre", "output": "building"}, {**cls, **how, "output": "damage"}
    rule = {"thresholds": {"building": 0.4, "damaged": 0.4}, "prediction": {"vote": "connected", "tta": "d4"}}
    return write_card(folder / "card.yml", *members, **rule, temperatures={"building": 1.3, "damage": 0.8})
