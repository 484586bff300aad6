from __future__ import annotations

import pytest

from xview2_siamese_unet.errors import LabelError
from xview2_siamese_unet.xbd.polygons import parse_polygons

GOOD = "POLYGON ((0 0, 9.3e-05 4, 4 4, 0 0))"


def test_numbers_as_xbd_writes_them() -> None:
    (polygon,) = parse_polygons([GOOD], "a.json")
    assert polygon.exterior.coords[1] == (9.3e-05, 4.0)
    (polygon,) = parse_polygons(["POLYGON ((-1.4e-05 0, 1024 1.1234567890123456789, 4 4, -1.4e-05 0))"], "a.json")
    assert polygon.bounds == (-1.4e-05, 0, 1024, 4)


def test_none_is_none() -> None:
    assert parse_polygons([], "a.json").shape == (0,)


def test_a_ring_that_crosses_itself_is_taken_as_it_is() -> None:
    (polygon,) = parse_polygons(["POLYGON ((0 0, 4 4, 4 0, 0 4, 0 0))"], "a.json")
    assert not polygon.is_valid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "POINT (1 1)",
        "POLYGON EMPTY",
        "MULTIPOLYGON EMPTY",
        "GEOMETRYCOLLECTION (POLYGON ((0 0, 1 0, 1 1, 0 0)))",
        "POLYGON ((0 0, 1 0, 1 1))",
        "POLYGON ((0 0, 1 0))",
        "POLYGON ((0 0, nan 0, 1 1, 0 0))",
        "POLYGON ((0 0, inf 0, 1 1, 0 0))",
        "POLYGON ((0 0, 1e300 0, 1 1, 0 0))",
        "POLYGON 0 0",
        "POLYGON ((0 0, 1 0, 1 1, 0 0",
    ],
)
def test_what_is_no_polygon_is_refused_and_shown(text: str) -> None:
    with pytest.raises(LabelError) as caught:
        parse_polygons([GOOD, text, GOOD], "a.json")
    assert (caught.value.where, caught.value.found) == ("a.json", f"geometry {text[:60]!r}")


def test_a_number_beyond_floats_is_refused_without_a_warning() -> None:
    with pytest.raises(LabelError, match="1E310"):
        parse_polygons(["1E310"], "label.json")
