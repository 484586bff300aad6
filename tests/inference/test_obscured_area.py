"""The obscured area of a pair, and the buildings below it."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine

from image_pair import ORIGIN, Write
from xview2_siamese_unet.config.inference import BuildingParams, ImageParams, InferenceParams
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.buildings import ASSESSED, NOT_ASSESSED, SHARES, hide_obscured
from xview2_siamese_unet.inference.obscured import with_obscured
from xview2_siamese_unet.inference.pair import HarmonisedPair, harmonise
from xview2_siamese_unet.inference.summary import summary_table, summary_warnings

HEIGHT, WIDTH = 300, 500  # pixels of 0.5 m; neither is a multiple of a block or of a cell


@pytest.fixture
def images(write_raster: Write) -> dict[str, Path]:
    """A textured pair; the east of the post-disaster image lies below a cloud."""
    rng = np.random.default_rng(0)
    paths = {}
    for name in ("pre", "post"):
        image = rng.integers(20, 120, (HEIGHT, WIDTH, 3), np.uint8)
        if name == "post":
            image[:, 300:] = 215
        paths[name] = write_raster(f"{name}.tif", image)
    return paths


def harmonise_obscured(images: dict[str, Path], *masks: Path, look: bool = True) -> HarmonisedPair:
    params = InferenceParams(
        **images, masks=masks, registration="off", images=ImageParams(find_obscured=look, black_is_no_data=True)
    )
    return with_obscured(harmonise(params), params)


def metres(left: float, top: float, right: float, bottom: float) -> shapely.Polygon:
    """Return a rectangle, given in pixels of the images, in metres."""
    return shapely.box(ORIGIN[0] + left / 2, ORIGIN[1] - bottom / 2, ORIGIN[0] + right / 2, ORIGIN[1] - top / 2)


def test_a_cloud_over_one_image_is_obscured_for_any_block_size(
    images: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    areas = []
    for block in (1024, 256):
        monkeypatch.setattr("xview2_siamese_unet.inference.obscured._BLOCK", block)
        harmonised = harmonise_obscured(images)
        areas.append(shapely.union_all(harmonised.obscured.geometry))
        assert harmonised.warnings[-1].startswith("38.4% of the area is obscured (by the images 38.4%)")
    assert areas[0].symmetric_difference(areas[1]).area == 0
    assert areas[0].symmetric_difference(metres(300, 0, 500, 300)).area <= 4 * 150  # two cells along the edge
    swapped = {"pre": images["post"], "post": images["pre"]}
    assert shapely.union_all(harmonise_obscured(swapped).obscured.geometry).equals(areas[0])


def test_the_search_can_be_switched_off_and_finds_nothing_in_a_clear_pair(images: dict[str, Path]) -> None:
    assert harmonise_obscured(images, look=False).obscured is None
    clear = harmonise_obscured({"pre": images["pre"], "post": images["pre"]})
    assert clear.obscured is None
    assert not any("obscured" in warning for warning in clear.warnings)


def test_masks_of_the_vendor_are_merged(images: dict[str, Path], write_raster: Write, tmp_path: Path) -> None:
    polygons = tmp_path / "cloud-mask.gpkg"
    gpd.GeoDataFrame(geometry=[metres(0, 0, 40, 300)], crs="EPSG:32615").to_crs(4326).to_file(polygons)
    # Pixels of 3 m; bands of snow everywhere, which hides no building, haze in the north and a cloud in the south.
    udm2 = np.zeros((51, 84, 8), np.uint8)
    udm2[..., 1], udm2[:10, :, 4], udm2[40:, :, 5] = 1, 1, 1
    coarse = write_raster("udm2.tif", udm2, Affine(3, 0, ORIGIN[0], 0, -3, ORIGIN[1]))
    only = write_raster("udm.tif", np.full((60, 60), 2, np.uint8), Affine(3, 0, ORIGIN[0] + 170, 0, -3, ORIGIN[1]))
    harmonised = harmonise_obscured(images, polygons, coarse, only, look=False)
    expected = shapely.union_all(
        [metres(0, 0, 40, 300), metres(0, 0, 500, 60), metres(0, 240, 500, 300), metres(340, 0, 500, 300)]
    )
    area = shapely.union_all(harmonised.obscured.geometry)
    assert area.symmetric_difference(expected).area < 0.03 * expected.area  # cells of 2 m along the edges
    assert harmonised.warnings[-1].startswith(
        "64.0% of the area is obscured (by the images 0.0%, cloud-mask.gpkg 8.0%, udm2.tif 40.0%, udm.tif 32.0%)"
    )


def test_an_empty_mask_and_one_outside_the_images_are_reported(
    images: dict[str, Path], write_raster: Write, tmp_path: Path
) -> None:
    far = write_raster("far.tif", np.ones((9, 9), np.uint8), Affine(3, 0, ORIGIN[0] + 9000, 0, -3, ORIGIN[1]))
    empty = tmp_path / "none.geojson"
    empty.write_text('{"type": "FeatureCollection", "features": []}')
    harmonised = harmonise_obscured(images, far, empty, look=False)
    assert harmonised.obscured is None
    assert (
        "0.0% of the area is obscured (by the images 0.0%, far.tif 0.0%, none.geojson 0.0%)" in harmonised.warnings[-1]
    )


@pytest.mark.parametrize(
    ("name", "bands", "crs", "message"),
    [("rgb.tif", 3, "EPSG:32615", "3 bands"), ("nowhere.tif", 1, None, "no coordinate reference system")],
)
def test_a_raster_that_is_not_a_mask_is_refused(
    images: dict[str, Path], write_raster: Write, name: str, bands: int, crs: str | None, message: str
) -> None:
    path = write_raster(name, np.ones((9, 9, bands), np.uint8), crs=crs)
    with pytest.raises(DataError, match=f"{message}, and is not a cloud mask"):
        harmonise_obscured(images, path)


def test_missing_and_truncated_masks_are_refused(images: dict[str, Path], tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.tif"
    truncated.write_bytes(b"II*\0")
    with pytest.raises(DataError, match="no such file"):
        harmonise_obscured(images, tmp_path / "missing.tif")
    with pytest.raises(DataError, match="cannot be read"):
        harmonise_obscured(images, truncated)


def test_buildings_below_an_obscured_area_are_not_assessed() -> None:
    footprints = [metres(10 * n, 0, 10 * n + 10, 10) for n in range(5)] + [shapely.Polygon()]
    facts = {"building_id": list("abcdef"), "visible_fraction": [1, 1, 1, 0.6, 0.4, 0], "reason": None}
    status = [ASSESSED] * 4 + [NOT_ASSESSED] * 2
    frame = gpd.GeoDataFrame(facts, geometry=footprints, crs="EPSG:32615").assign(
        status=status, **{name: [0.25] * 6 for name in SHARES}
    )
    frame.loc[4:, ["reason", *SHARES]] = ["no data", *[np.nan] * 4]
    below = gpd.GeoDataFrame(
        geometry=[metres(0, 0, 14, 10), metres(26, 0, 28, 10), metres(28, 0, 32, 10), metres(40, 0, 60, 10)],
        crs="EPSG:32615",
    )
    hidden = hide_obscured(frame, below, BuildingParams())
    assert hidden["obscured_fraction"].tolist() == pytest.approx([1, 0.4, 0.4, 0.2, 1, 0])
    assert hidden["reason"].tolist() == ["obscured", None, None, "obscured", "no data", "no data"]
    assert hidden["status"].tolist() == [NOT_ASSESSED, *[ASSESSED] * 2, *[NOT_ASSESSED] * 3]
    assert hidden["damage"].isna().tolist() == [True, False, False, True, True, True]
    assert hidden.loc[0, [*SHARES, "confidence"]].isna().all()
    row = summary_table(hidden).iloc[0]
    assert row[["buildings", "not_assessed", "obscured", "no-damage"]].tolist() == [6, 4, 2, 2]
    assert row["damaged_share_of_visible"] == 0
    assert "4 of 6 buildings were not assessed: 2 obscured, 2 no data" in summary_warnings(hidden)
    assert (hide_obscured(frame, None, BuildingParams())["obscured_fraction"] == 0).all()
