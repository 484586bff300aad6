from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_scenes import building, metadata

from xview2_siamese_unet.damage import SUBTYPES, Damage
from xview2_siamese_unet.errors import LabelError
from xview2_siamese_unet.xbd.labels import Building, Label, Metadata, format_label, parse_label, parse_polygons
from xview2_siamese_unet.xbd.scenes import PHASES, Phase, SceneId

SCENE = SceneId("hurricane-michael", 399)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(0, 2**31)
METADATA = st.builds(
    Metadata,
    sensor=TEXTS,
    gsd=NUMBERS,
    capture_date=TEXTS,
    off_nadir_angle=NUMBERS,
    pan_resolution=NUMBERS,
    disaster=TEXTS,
    disaster_type=TEXTS,
    original_width=WHOLE,
    width=WHOLE,
    height=WHOLE,
    img_name=TEXTS,
)


def buildings_of(phase: Phase) -> st.SearchStrategy[tuple[Building, ...]]:
    damage = st.sampled_from(sorted(SUBTYPES.values())) if phase == "post" else st.none()
    each = st.builds(Building, TEXTS, TEXTS, damage, TEXTS)
    return st.lists(each, max_size=5, unique_by=lambda b: b.uid).map(tuple)


@pytest.mark.parametrize("phase", PHASES)
@given(data=st.data(), fields=METADATA)
def test_a_written_label_is_read_back_unchanged(phase: Phase, data: st.DataObject, fields: Metadata) -> None:
    label = Label(fields, data.draw(buildings_of(phase)))
    assert parse_label(format_label(label, phase), phase, where="here", georeferenced=True) == label


def raw(**changed: object) -> dict[str, Any]:
    """Return a post-disaster label as in the JSON of the download."""
    label = Label(metadata(SCENE, "post"), (building("u1", 1, 2), building("u2", 20, 20, damage=Damage.DESTROYED)))
    return json.loads(format_label(label, "post")) | changed


def parse(content: object, phase: Phase = "post", **options: bool) -> Label:
    return parse_label(json.dumps(content).encode(), phase, where="a.json", **options)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_of_json_is_read(encoding: str) -> None:
    text = json.dumps(raw(), indent=2).replace("\n", "\r\n")
    read = parse_label(text.encode(encoding), "post", where="a.json", georeferenced=True)
    assert read == parse(raw(), georeferenced=True)


def test_a_feature_that_is_not_a_building_is_refused() -> None:
    content = raw()
    content["features"]["xy"][1]["properties"]["feature_type"] = "road"
    with pytest.raises(LabelError, match=r"a\.json has a feature of type 'road' \(u2\)"):
        parse(content)


def test_a_repeated_uid_in_degrees_is_refused() -> None:
    content = raw()
    content["features"]["lng_lat"].append(content["features"]["lng_lat"][0])
    with pytest.raises(LabelError, match="3 buildings in features"):
        parse(content, georeferenced=True)


def test_labels_are_written_in_the_layout_of_the_download() -> None:
    content = raw()
    assert list(content) == ["features", "metadata"]
    assert list(content["features"]) == ["lng_lat", "xy"]
    assert content["features"]["xy"][1]["properties"] == {
        "feature_type": "building",
        "uid": "u2",
        "subtype": "destroyed",
    }
    assert len(content["metadata"]) == 18


def test_a_pre_disaster_label_has_no_damage() -> None:
    content = raw()
    for feature in content["features"]["xy"]:
        del feature["properties"]["subtype"]
    assert [b.damage for b in parse(content, "pre").buildings] == [None, None]
    written = json.loads(format_label(Label(metadata(SCENE, "pre"), (building("u", 1, 1),)), "pre"))
    assert "subtype" not in written["features"]["xy"][0]["properties"]


def test_degrees_are_read_only_on_request() -> None:
    content = raw()
    assert parse(content).buildings[0].lng_lat is None
    assert parse(content, georeferenced=True).buildings[0].lng_lat == content["features"]["lng_lat"][0]["wkt"]


def test_unknown_keys_are_ignored() -> None:
    content = raw(version=2)
    content["metadata"]["mood"] = {"a": [1]}
    content["features"]["xy"][0]["properties"]["roof"] = None
    assert len(parse(content).buildings) == 2
    assert parse_label(json.dumps(content, indent=4).encode(), "post", where="a.json") == parse(content)


def test_a_label_without_buildings_is_valid() -> None:
    assert parse(raw(features={"lng_lat": [], "xy": []}), georeferenced=True).buildings == ()


def refusal(data: bytes, phase: Phase = "post", **options: bool) -> LabelError:
    with pytest.raises(LabelError) as caught:
        parse_label(data, phase, where="a.json", **options)
    assert caught.value.message.startswith("a.json")
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"features": {}}', b"\xff\xfe{}", b"[" * 100_000])
def test_text_that_is_not_a_label_is_refused(data: bytes) -> None:
    assert "is not an xBD label" in refusal(data).message


def test_stripped_properties_are_named() -> None:
    content = raw()
    content["features"]["xy"][1]["properties"] = {"uid": "u2"}
    assert "feature_type" in refusal(json.dumps(content).encode()).message


@pytest.mark.parametrize("subtype", ["no damage", "", "background", "No-damage", None])
def test_an_unknown_subtype_is_refused(subtype: str | None) -> None:
    content = raw()
    content["features"]["xy"][1]["properties"]["subtype"] = subtype
    error = refusal(json.dumps(content).encode())
    assert "u2" in error.message
    assert "un-classified" in error.message


def test_one_uid_on_two_buildings_is_refused() -> None:
    content = raw()
    content["features"]["xy"][1]["properties"]["uid"] = "u1"
    assert "same uid" in refusal(json.dumps(content).encode()).message


def test_degrees_of_other_buildings_are_refused() -> None:
    content = raw()
    content["features"]["lng_lat"].pop()
    assert "1 buildings in features.lng_lat and 2" in refusal(json.dumps(content).encode(), georeferenced=True).message
    assert len(parse(content).buildings) == 2


GOOD = "POLYGON ((0 0, 9.3e-05 4, 4 4, 0 0))"


def test_numbers_are_parsed_as_xbd_writes_them() -> None:
    (polygon,) = parse_polygons([GOOD], "a.json")
    assert polygon.exterior.coords[1] == (9.3e-05, 4.0)
    (polygon,) = parse_polygons(["POLYGON ((-1.4e-05 0, 1024 1.1234567890123456789, 4 4, -1.4e-05 0))"], "a.json")
    assert polygon.bounds == (-1.4e-05, 0, 1024, 4)


def test_no_geometry_gives_an_empty_array() -> None:
    assert parse_polygons([], "a.json").shape == (0,)


def test_a_ring_that_crosses_itself_is_kept() -> None:
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
def test_other_geometries_are_refused_and_shown(text: str) -> None:
    with pytest.raises(LabelError) as caught:
        parse_polygons([GOOD, text, GOOD], "a.json")
    assert caught.value.message.startswith(f"a.json has geometry {text[:60]!r}")


def test_a_number_beyond_floats_is_refused_without_a_warning() -> None:
    with pytest.raises(LabelError, match="1E310"):
        parse_polygons(["1E310"], "label.json")
