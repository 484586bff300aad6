"""Assessments with model cards of exported nets and of external networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pyogrio
import pytest
import rasterio
import torch
from click.testing import CliRunner

from onnx_nets import IMAGENET, Coarse, write_card, write_onnx
from xview2_siamese_unet.assessment import Assessment, assess
from xview2_siamese_unet.atomic import sha256
from xview2_siamese_unet.cli.assess import assess_command
from xview2_siamese_unet.models.export import write_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:Accessing the 'model_fields'"),  # Kedro's own
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),  # rasterio's own
]


def rasters(found: Assessment) -> tuple[np.ndarray, np.ndarray]:
    with rasterio.open(found.products["damage.tif"]) as damage, rasterio.open(found.products["probability.tif"]) as p:
        return damage.read(1), p.read().astype(int)


def pair_of(folder: Path) -> tuple[Path, Path]:
    return folder / "pre.tif", folder / "post.tif"


@pytest.mark.slow
def test_the_exported_network_gives_the_products_of_the_checkpoint(material: Path, project: Path) -> None:
    checkpoint = torch.load(material / "model.pth", weights_only=True)
    checkpoint["state"]["building_head.weight"] *= 30  # raise the low confidence of an untrained net
    torch.save(checkpoint, project / "model.pth")
    write_model("net", checkpoint, None, project / "model" / "net.onnx")
    ours, onnx = (
        rasters(
            assess(*pair_of(material), project / f"out_{Path(name).stem}", model=project / name, registration="off")
        )
        for name in ("model.pth", "model/net.onnx")
    )
    assert np.mean(onnx[0] == ours[0]) >= 0.9999
    assert np.abs(onnx[1] - ours[1]).max() <= 1
    assert len(np.unique(ours[0])) > 2


@pytest.fixture
def foreign(project: Path) -> Path:
    """The card of a network for buildings and one for damage, trained on pixels of 0.5 m."""
    folder = project / "foreign"
    folder.mkdir()
    loc = write_onnx(Coarse(3, 1, 0), folder / "loc.onnx", 3, half=True)
    cls = write_onnx(Coarse(6, 4, 1), folder / "cls.onnx", 6, half=True)
    how = {**IMAGENET, "multiple": 32}
    members = {**loc, **how, "input": "pre", "output": "building"}, {**cls, **how, "output": "damage"}
    more = {"licence": "CC BY-NC-SA 4.0", "origin": "somewhere", "dataset": "xBD", "pixel_size": 0.5}
    more |= {"thresholds": {"building": 0.4, "damaged": 0.4}, "prediction": {"vote": "connected"}}
    return write_card(folder / "foreign.yml", *members, **more)


@pytest.mark.slow
def test_external_networks_make_all_products(material: Path, project: Path, foreign: Path) -> None:
    found = assess(*pair_of(material), project / "out", model=foreign, registration="off")
    record = found.record
    assert record["model"]["licence"] == "CC BY-NC-SA 4.0"
    assert record["model"]["origin"] == "somewhere"
    named = {member["file"]: member["sha256"] for member in record["model"]["members"]}
    assert named == {name: sha256(foreign.parent / name) for name in ("loc.onnx", "cls.onnx")}
    assert record["model"]["id"] == sha256(foreign)[:12]
    assert not any("was trained on pixels" in warning for warning in record["warnings"])
    codes, shares = rasters(found)
    valid = codes != 255
    building = 1 - shares[0] / 254
    np.testing.assert_allclose(shares[:, valid].sum(axis=0), 254, atol=3)
    clear = np.abs(building - 0.4) > 0.01
    assert np.array_equal((codes > 0)[valid & clear], (building > 0.4)[valid & clear])
    assert len(np.unique(codes[valid])) > 2
    buildings = pyogrio.read_dataframe(found.products["buildings.gpkg"], layer="buildings")
    assert (buildings["model_id"] == sha256(foreign)[:12]).all()
    assert buildings.loc[buildings["status"] != "assessed", "damage"].isna().all()
    assert record["versions"]["onnxruntime"] == onnxruntime.__version__
    assert "trained on xBD, licence: CC BY-NC-SA 4.0" in found.products["report.html"].read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("pixel", "warned"), [(0.41, False), (0.62, False), (0.39, True), (0.65, True)])
def test_a_pixel_size_unlike_that_of_the_card_causes_a_warning(
    material: Path, project: Path, foreign: Path, pixel: float, warned: bool
) -> None:
    found = assess(*pair_of(material), project / "out", model=foreign, registration="off", pixel_size=pixel)
    warning = [each for each in found.record["warnings"] if "trained on pixels of 0.5 m" in each]
    assert len(warning) == warned
    if warned:
        assert str(pixel) in warning[0]
        assert warning[0] in found.products["report.html"].read_text()


@pytest.mark.parametrize(
    ("member", "change", "sentence"),
    [
        (0, {"sha256": "0" * 64}, "loc.onnx is not the file that foreign.yml describes"),
        (1, {"input": "post"}, "has 6 channels, but the card describes 3"),
    ],
)
def test_an_invalid_card_exits_with_2_and_writes_nothing(
    *, material: Path, project: Path, foreign: Path, member: int, change: dict[str, str], sentence: str
) -> None:
    card = json.loads(foreign.read_text(encoding="utf-8"))
    card["members"][member] |= change
    foreign.write_text(json.dumps(card), encoding="utf-8")
    given = [*map(str, pair_of(material)), "--out", str(project / "out"), "--model", str(foreign)]
    done = CliRunner().invoke(assess_command, given)
    assert done.exit_code == 2
    assert sentence in done.output
    assert not (project / "out").exists()


def test_a_missing_card_exits_with_2_and_writes_nothing(material: Path, project: Path) -> None:
    for name in ("gone.yml", "gone.onnx"):
        given = [*map(str, pair_of(material)), "--out", str(project / "out"), "--model", str(project / name)]
        done = CliRunner().invoke(assess_command, given)
        assert done.exit_code == 2
        assert name.partition(".")[0] in done.output
        assert not (project / "out").exists()
