"""Features of buildings: means of their pixels, processing in windows, and reuse from disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from torch.nn import functional

from image_pair import ORIGIN, Smooth, Write, pair_of
from small_nets import small_checkpoint
from xview2_siamese_unet.adaptation import embedding as module
from xview2_siamese_unet.adaptation.embedding import PATCH, blocks_of, embed, sample_patches
from xview2_siamese_unet.adaptation.encoders import PACKAGED, CheckpointEncoder, PretrainedEncoder
from xview2_siamese_unet.adaptation.random_convolutions import RandomEncoder
from xview2_siamese_unet.adaptation.sources import make_encoders
from xview2_siamese_unet.config.adaptation import source_names
from xview2_siamese_unet.config.modelling import EncoderParams, EncoderWeightsParams
from xview2_siamese_unet.errors import CheckpointError, ConfigError
from xview2_siamese_unet.models.predictor import restore
from xview2_siamese_unet.models.pretrained import pretrained_encoder
from xview2_siamese_unet.raster.reader import Pair

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rasterio's own


class GreyEncoder:
    """The image itself, and at stride 4 its block means."""

    name, strides, channels, digest = "grey", (1, 4), (3, 3), "1"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        self.calls += 1
        full = np.moveaxis(image, 2, 0).astype(np.float32)
        height, width = image.shape[:2]
        return [full, full.reshape(3, height // 4, 4, width // 4, 4).mean(axis=(2, 4))]


def box(left: float, top: float, right: float, bottom: float) -> shapely.Polygon:
    """Return a rectangle, given in pixels of the image, in metres."""
    return shapely.box(ORIGIN[0] + left / 2, ORIGIN[1] - bottom / 2, ORIGIN[0] + right / 2, ORIGIN[1] - top / 2)


HOUSES = [(40, 20, 60, 44), (200, 100, 232, 120), (0, 0, 9, 9), (100.2, 50.2, 100.6, 50.4), (900, 900, 910, 910)]


@pytest.fixture
def pair(write_raster: Write, smooth: Smooth) -> Pair:
    pre, post = smooth(), smooth(phase=1.0)
    post[:12, :12] = 0
    return pair_of(write_raster("pre.tif", pre), write_raster("post.tif", post)).pair


@pytest.fixture
def footprints() -> gpd.GeoSeries:
    return gpd.GeoSeries([*(box(*house) for house in HOUSES), None, shapely.Polygon()], crs="EPSG:32615")


def test_features_are_means_of_the_pixels_in_a_footprint(
    pair: Pair, footprints: gpd.GeoSeries, smooth: Smooth, tmp_path: Path
) -> None:
    made = embed(footprints, pair, [GreyEncoder()], tmp_path)
    rows = made.rows(np.arange(len(footprints)))
    columns = {block.name: slice(block.start, block.stop) for block in made.blocks}
    assert [*columns] == [f"grey {level} {region}" for region in ("outline", "box", "difference") for level in (0, 1)]
    pre, post = smooth().astype(float), smooth(phase=1.0).astype(float)
    for number, (left, top, right, bottom) in enumerate(HOUSES[:2]):
        inside = slice(top, bottom), slice(left, right)
        mean = post[inside].mean(axis=(0, 1))
        np.testing.assert_allclose(rows[number, columns["grey 0 outline"]], mean, rtol=2e-3)
        np.testing.assert_allclose(rows[number, columns["grey 1 outline"]], mean, rtol=2e-3)  # edges on multiples of 4
        change = mean - pre[inside].mean(axis=(0, 1))
        np.testing.assert_allclose(rows[number, columns["grey 0 difference"]], change, atol=0.1)
    around = post[110 - 48 : 110 + 48, 216 - 48 : 216 + 48]
    np.testing.assert_allclose(rows[1, columns["grey 0 box"]], around.mean(axis=(0, 1)), rtol=2e-3)
    np.testing.assert_allclose(rows[3, columns["grey 0 outline"]], post[50, 100], rtol=2e-3)  # smaller than a pixel
    assert np.isnan(rows[[2, 4, 5, 6]]).all()  # no data, outside, no polygon
    assert np.isfinite(rows[[0, 1, 3]]).all()


def test_windows_do_not_change_the_features(
    pair: Pair, footprints: gpd.GeoSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = embed(footprints, pair, [GreyEncoder()], tmp_path / "one").rows(np.arange(7))
    monkeypatch.setattr(module, "CORE", 64)
    parts = embed(footprints, pair, [GreyEncoder()], tmp_path / "two").rows(np.arange(7))
    np.testing.assert_allclose(parts, whole, rtol=2e-3, atol=0.1)


def test_features_of_the_same_inputs_are_read_from_disk(pair: Pair, footprints: gpd.GeoSeries, tmp_path: Path) -> None:
    encoder = GreyEncoder()
    first = embed(footprints, pair, [encoder], tmp_path)
    before = encoder.calls, first.path.read_bytes()
    again = embed(footprints, pair, [encoder], tmp_path)
    assert (encoder.calls, again.path.read_bytes()) == before
    assert len(list(tmp_path.glob("*.npy"))) == 1
    moved = footprints.copy()
    moved.iloc[0] = box(41, 20, 60, 44)
    assert embed(moved, pair, [encoder], tmp_path).digest != first.digest
    assert embed(footprints, pair, [encoder], tmp_path, post_only=True).blocks == blocks_of([encoder], pair=False)
    assert embed(footprints, replace(pair, shift=(1.0, 0.0)), [encoder], tmp_path).digest != first.digest


def test_random_convolutions_are_the_same_in_every_run(pair: Pair, footprints: gpd.GeoSeries) -> None:
    visible = gpd.GeoSeries([footprints.iloc[k] for k in (0, 1, 3)] * 2, crs=footprints.crs)
    patches = sample_patches(visible, pair)
    assert patches.shape[1:] == (PATCH, PATCH, 3)
    one, two = RandomEncoder(patches), RandomEncoder(sample_patches(visible, pair))
    assert one.digest == two.digest
    image = np.random.default_rng(0).integers(1, 255, (64, 96, 3)).astype(np.uint8)
    maps = one(image)
    assert [each.shape for each in maps] == [(512, 16, 24)] * 2
    assert all((each >= 0).all() for each in maps)
    flat = one(np.full((64, 96, 3), 90, np.uint8))  # the mean of a filter is zero
    assert max(float(each.max()) for each in flat) < 1e-2


def test_random_convolutions_equal_those_of_torch() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 96, 3)).astype(np.uint8)
    patches = rng.integers(0, 256, (400, PATCH, PATCH, 3)).astype(np.float32)
    plain, standard = map(torch.from_numpy, RandomEncoder(patches)(image))
    assert plain.shape == (512, 16, 24)
    responses = plain[:256] - plain[256:]
    # The filters from their impulse responses: stride 4, size 7.
    filters = torch.zeros(256, 3, PATCH, PATCH)
    for channel, row, column in np.ndindex(3, PATCH, PATCH):
        impulse = np.zeros((32, 32, 3), np.uint8)
        impulse[16 + row - PATCH // 2, 16 + column - PATCH // 2, channel] = 200
        positive, negative = np.split(RandomEncoder(patches)(impulse)[0][:, 4, 4], 2)
        filters[:, channel, row, column] = torch.from_numpy(positive - negative) / 200
    grey = torch.from_numpy(np.moveaxis(image, 2, 0)[None].astype(np.float32))
    padded = functional.pad(grey, (PATCH // 2,) * 4, mode="reflect")
    expected = functional.conv2d(padded, filters, stride=4)[0]
    torch.testing.assert_close(responses, expected, rtol=1e-4, atol=1e-2)
    every = functional.unfold(padded, PATCH, stride=4)[0]
    contrast = torch.sqrt(every.var(dim=0, correction=0) + 10).view(16, 24)
    torch.testing.assert_close(standard[:256] - standard[256:], expected / contrast, rtol=1e-4, atol=1e-3)


def test_the_encoder_of_a_checkpoint_returns_its_feature_maps(tmp_path: Path) -> None:
    content = small_checkpoint()
    torch.save(content, tmp_path / "own.pth")
    encoder = CheckpointEncoder(tmp_path / "own.pth")
    assert encoder.name == "own.pth"
    image = np.random.default_rng(0).integers(1, 255, (64, 96, 3)).astype(np.uint8)
    net, normalise, _ = restore(content)
    with torch.inference_mode():
        grey = torch.from_numpy(np.moveaxis(image, 2, 0)[None].astype(np.float32))
        expected = [level for level in net.eval().post.encoder(normalise(grey))[1:] if level.shape[1]]
    assert len(encoder.strides) == len(expected)
    for level, other in zip(encoder(image), expected, strict=True):
        np.testing.assert_allclose(level, other[0].numpy(), atol=1e-4)


def test_unusable_sources_are_refused(footprints: gpd.GeoSeries, pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"junk")
    with pytest.raises(CheckpointError):
        make_encoders([str(tmp_path / "bad.pth")], footprints, pair)
    with pytest.raises(ConfigError, match="package are named twice"):
        make_encoders(["package", "package"], footprints, pair)
    assert source_names(["package", "/somewhere/own.pth", "resnet18.a1_in1k"]) == [
        "package",
        "own.pth",
        "resnet18.a1_in1k",
    ]


def test_the_packaged_encoder_has_five_levels() -> None:
    encoder = PretrainedEncoder()
    assert encoder.strides == (2, 4, 8, 16, 32)
    levels = encoder(np.zeros((64, 96, 3), np.uint8))
    assert [level.shape for level in levels] == [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]


def test_the_packaged_encoder_equals_that_of_timm() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    net, _ = pretrained_encoder(EncoderParams(name=PACKAGED, weights=EncoderWeightsParams(source="package")))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalised = torch.from_numpy(np.moveaxis((image / 255 - mean) / std, 2, 0)[None]).float()
    with torch.no_grad():
        expected = [level[0].numpy() for level in net(normalised)[1:]]
    for level, wanted in zip(PretrainedEncoder()(image), expected, strict=True):
        np.testing.assert_allclose(level, wanted, atol=1e-3 * np.abs(wanted).max())
