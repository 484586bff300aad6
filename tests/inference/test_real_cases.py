"""Images as users have them, made of a real scene beside the project: what is read of them, and what is said."""

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
    """Return the folder of a case by its number; each is made once."""
    made: dict[str, Path] = {}

    def make(number: str) -> Path:
        if number not in made:
            made[number] = tmp_path_factory.mktemp(number)
            make_case(number, made[number])
        return made[number]

    return make


def look(folder: Path, pre: str, post: str, **more: Path) -> tuple[HarmonisedPair, int]:
    """Return a pair and the number of its pixels with data."""
    found = harmonise(InferenceParams(pre=folder / pre, post=folder / post, **more))
    grid = found.pair.grid
    with found.pair.open() as reader:
        return found, int(reader.read(0, 0, grid.height, grid.width).valid.sum())


@pytest.mark.slow
@pytest.mark.parametrize("aside", ["", "_aside"])
def test_no_data_in_one_band(case: Callable[[str], Path], aside: str) -> None:
    folder = case("12")
    for kind, valid in (("u8", 160_000), ("f32", 156_400), ("nan", 156_400)):
        found, seen = look(folder, f"pre_{kind}.tif", f"post_{kind}{aside}.tif")
        assert seen == valid
        if kind != "u8":
            assert found.pair.stretch[0] == found.pair.stretch[1] == pytest.approx((0.11, 0.67), abs=0.01)


@pytest.mark.parametrize(
    ("kind", "fill", "stretch"), [("undeclared", -9999, (0.11, 0.67)), ("u16undeclared", 65535, (660, 4040))]
)
def test_an_undeclared_fill_value(
    case: Callable[[str], Path], kind: str, fill: int, stretch: tuple[float, float]
) -> None:
    found, seen = look(case("12"), f"pre_{kind}.tif", f"post_{kind}.tif")
    assert seen == 400 * 388
    assert found.pair.stretch[0] == pytest.approx(stretch, rel=0.02)
    assert sum(f"hold {fill}" in warning for warning in found.warnings) == 2


def test_control_points_alone_and_no_place_at_all(case: Callable[[str], Path]) -> None:
    found, seen = look(case("01"), "pre.tif", "post.tif")
    assert (found.pair.grid.left, found.pair.grid.top, seen) == (486_000, 2_148_000, 160_000)
    with pytest.raises(DataError, match="has no transform"):
        look(case("01"), "pre_noplace.tif", "post_noplace.tif")


@pytest.mark.parametrize(
    ("pre", "post"), [("pre", "post"), ("pre_deg", "post_deg"), ("pre", "post_deg"), ("pre", "post_zone1")]
)
def test_a_scene_across_180_degrees_is_whole(case: Callable[[str], Path], pre: str, post: str) -> None:
    folder = case("06")
    found, seen = look(folder, f"{pre}.tif", f"{post}.tif", aoi=folder / "aoi.geojson")
    # Resampled images are black beyond their edge, so that a pixel there may be lost.
    assert seen * found.pair.grid.pixel**2 == pytest.approx(40_000, rel=0 if post == "post" else 0.003)


@pytest.mark.slow
def test_collars_of_jpeg_leave_the_shift_as_it_is(case: Callable[[str], Path]) -> None:
    """The shift of the scene differs from -3 to 7 pixels from place to place: the collars pulled it to nearly none."""
    lossless, lossy = (look(case("04"), f"pre{kind}.tif", f"post{kind}.tif") for kind in ("_lossless", ""))
    for found, seen in (lossless, lossy):
        assert found.shift is not None
        assert (found.shift.columns, found.shift.rows) == (pytest.approx(3.1, abs=0.2), pytest.approx(1.1, abs=0.3))
        assert not found.shift.is_reliable
        assert seen == pytest.approx(117_050, rel=0.002)
    moved, _ = look(case("04"), "pre_six.tif", "post_six.tif")
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
def test_files_as_they_are_delivered(
    case: Callable[[str], Path], number: str, pre: str, post: str, warning: str | None
) -> None:
    found, seen = look(case(number), pre, post)
    assert found.pair.grid.crs == "EPSG:32614"
    assert seen == pytest.approx(160_000, rel=1e-4)
    said = [each for each in found.warnings if "shift between" not in each]
    assert bool(said) == (warning is not None)
    assert warning is None or any(warning in each for each in said)


def test_names_with_any_character(case: Callable[[str], Path]) -> None:
    folder = next(path for path in case("24").iterdir() if path.is_dir())
    pre, post = sorted(folder.glob("p*.TIF"), reverse=True)
    assert look(folder, pre.name, post.name)[1] == 160_000
