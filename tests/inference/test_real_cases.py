"""Images as users have them, made from a real scene next to the project: their pixels and warnings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from users_files import CASES, make_case
from xview2_siamese_unet.config.inference import InferenceParams
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.pair import HarmonisedPair, harmonise

pytestmark = [
    pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is missing"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that makes the folder of a case by its number, each once."""
    made: dict[str, Path] = {}

    def make(number: str) -> Path:
        if number not in made:
            made[number] = tmp_path_factory.mktemp(number)
            make_case(number, made[number])
        return made[number]

    return make


def open_case(folder: Path, pre: str, post: str, **more: Path) -> tuple[HarmonisedPair, int]:
    """Return the pair of a case and the number of its pixels with data."""
    harmonised = harmonise(InferenceParams(pre=folder / pre, post=folder / post, **more))
    grid = harmonised.pair.grid
    with harmonised.pair.open() as reader:
        return harmonised, int(reader.read(0, 0, grid.height, grid.width).valid.sum())


@pytest.mark.slow
@pytest.mark.parametrize("aside", ["", "_aside"])
def test_pixels_without_data_in_one_band_of_a_float_image_have_no_data(case: Callable[[str], Path], aside: str) -> None:
    folder = case("12")
    for kind, valid in (("u8", 160_000), ("f32", 156_400), ("nan", 156_400)):
        harmonised, count = open_case(folder, f"pre_{kind}.tif", f"post_{kind}{aside}.tif")
        assert count == valid
        if kind != "u8":
            assert harmonised.pair.stretch[0] == harmonised.pair.stretch[1] == pytest.approx((0.11, 0.67), abs=0.01)


@pytest.mark.parametrize(
    ("kind", "fill", "stretch"), [("undeclared", -9999, (0.11, 0.67)), ("u16undeclared", 65535, (660, 4040))]
)
def test_an_undeclared_fill_value_is_no_data(
    case: Callable[[str], Path], kind: str, fill: int, stretch: tuple[float, float]
) -> None:
    harmonised, count = open_case(case("12"), f"pre_{kind}.tif", f"post_{kind}.tif")
    assert count == 400 * 388
    assert harmonised.pair.stretch[0] == pytest.approx(stretch, rel=0.02)
    assert sum(f"hold {fill}" in warning for warning in harmonised.warnings) == 2


def test_control_points_georeference_an_image_and_none_is_refused(case: Callable[[str], Path]) -> None:
    harmonised, count = open_case(case("01"), "pre.tif", "post.tif")
    assert (harmonised.pair.grid.left, harmonised.pair.grid.top, count) == (486_000, 2_148_000, 160_000)
    with pytest.raises(DataError, match="has no transform"):
        open_case(case("01"), "pre_noplace.tif", "post_noplace.tif")


@pytest.mark.parametrize(
    ("pre", "post"), [("pre", "post"), ("pre_deg", "post_deg"), ("pre", "post_deg"), ("pre", "post_zone1")]
)
def test_a_scene_across_180_degrees_is_whole(case: Callable[[str], Path], pre: str, post: str) -> None:
    folder = case("06")
    harmonised, count = open_case(folder, f"{pre}.tif", f"{post}.tif", aoi=folder / "aoi.geojson")
    # Resampled images are black beyond their edge, so that a pixel there may be lost.
    assert count * harmonised.pair.grid.pixel**2 == pytest.approx(40_000, rel=0 if post == "post" else 0.003)


@pytest.mark.slow
def test_collars_of_jpeg_do_not_affect_the_shift(case: Callable[[str], Path]) -> None:
    """The shift varies from -3 to 7 pixels over the scene; unmasked collars would pull the estimate towards zero."""
    lossless, lossy = (open_case(case("04"), f"pre{kind}.tif", f"post{kind}.tif") for kind in ("_lossless", ""))
    for harmonised, count in (lossless, lossy):
        assert harmonised.shift is not None
        assert (harmonised.shift.columns, harmonised.shift.rows) == (
            pytest.approx(3.1, abs=0.2),
            pytest.approx(1.1, abs=0.3),
        )
        assert not harmonised.shift.is_reliable
        assert count == pytest.approx(117_050, rel=0.002)
    moved, _ = open_case(case("04"), "pre_six.tif", "post_six.tif")
    assert moved.pair.shift == pytest.approx((-6, 0), abs=0.05)


@pytest.mark.parametrize(
    ("number", "pre", "post", "warning"),
    [
        ("05", "pre_3d.tif", "tiles", None),
        ("07", "pre.tif", "post", None),
        ("08", "pre", "post", "3 of 4 rasters in pre were left out (not named visual)"),
        ("09", "pre", "post", None),
        ("13", "pre", "post", "do not name the colours of their 4 bands"),
    ],
)
def test_files_are_read_as_delivered(
    case: Callable[[str], Path], number: str, pre: str, post: str, warning: str | None
) -> None:
    harmonised, count = open_case(case(number), pre, post)
    assert harmonised.pair.grid.crs == "EPSG:32614"
    assert count == pytest.approx(160_000, rel=1e-4)
    warnings = [each for each in harmonised.warnings if "shift between" not in each]
    assert bool(warnings) == (warning is not None)
    assert warning is None or any(warning in each for each in warnings)


def test_names_may_have_any_character(case: Callable[[str], Path]) -> None:
    folder = next(path for path in case("24").iterdir() if path.is_dir())
    pre, post = sorted(folder.glob("p*.TIF"), reverse=True)
    assert open_case(folder, pre.name, post.name)[1] == 160_000
