"""Ten thousand damaged labels and names are each read, or refused with an error of this project, within 2 s."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_scenes import building, metadata

from xview2_siamese_unet.damage import Damage
from xview2_siamese_unet.errors import DataError, LabelError
from xview2_siamese_unet.xbd.georeference import fit_georeference
from xview2_siamese_unet.xbd.labels import Label, format_label, parse_label, parse_polygons
from xview2_siamese_unet.xbd.scenes import PHASES, Phase, SceneId, parse_stem

SCENE = SceneId("hurricane-harvey", 72)
LABEL = format_label(
    Label(metadata(SCENE, "post"), (building("u1", 1, 2), building("u2", 30, 30, 4, Damage.MAJOR_DAMAGE))),
    "post",
)
NUMBERS = st.one_of(
    st.floats(), st.integers(), st.sampled_from([1e308, -1e308, 5e-324, 2**63, -(2**63), 2**64, 10**40, 1024, -1.4e-05])
)
WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "nan", "inf", "1e999", "POLYGON EMPTY", "POINT (1 1)", "POLYGON ((0 0))", "\x00"]),
)
RINGS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=6).map(
    lambda points: f"POLYGON (({', '.join(f'{x} {y}' for x, y in points)}))"
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, RINGS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)


def slots(tree: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401
    """Return every position in a JSON tree as (container, key)."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree))) if isinstance(tree, list) else []
    return [(tree, key) for key in keys] + [slot for key in keys for slot in slots(tree[key])]


@st.composite
def mutated_trees(draw: st.DrawFn) -> bytes:
    tree = json.loads(LABEL)
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(slots(tree) or [([None], 0)]))
        if draw(st.booleans()):
            container[key] = draw(VALUES)
        elif isinstance(container, dict) or len(container) > 1:
            del container[key]
    return json.dumps(tree).encode("utf-8", "surrogatepass")


@st.composite
def mutated_bytes(draw: st.DrawFn) -> bytes:
    data = bytearray(LABEL)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data) - 1))
        end = draw(st.integers(start, min(start + 40, len(data))))
        data[start:end] = draw(st.binary(max_size=8))
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])


def read(data: bytes, phase: Phase) -> Label | None:
    try:
        label = parse_label(data, phase, where="a.json", georeferenced=True)
        xy = parse_polygons([b.xy for b in label.buildings], "a.json")
        georeference = fit_georeference(xy, parse_polygons([b.lng_lat or "" for b in label.buildings], "a.json"))
    except LabelError as error:
        if not (error.message.startswith("a.json") and error.hint):
            raise AssertionError(f"not a complete error: {error}") from error
        return None
    assert georeference is None or 0 <= georeference.residual <= georeference.pixel
    return label


NAMES = [SCENE.stem("pre"), f"challenge_train_images_{SCENE.stem('post')}", "test_pre_00001"]
OFTEN = pytest.mark.parametrize("share", [0.05, pytest.param(1.0, marks=pytest.mark.slow)], ids=["some", "all"])
"""Some of the ten thousand in every test run, all of them in slow runs."""


def fuzz(examples: float) -> settings:
    return settings(max_examples=int(examples), suppress_health_check=list(HealthCheck))


@OFTEN
@pytest.mark.parametrize("mutated", [mutated_trees(), mutated_bytes()], ids=["trees", "bytes"])
def test_a_mutated_label_is_read_or_refused(mutated: st.SearchStrategy[bytes], share: float) -> None:
    counts: dict[bool, int] = {True: 0, False: 0}

    @fuzz(4500 * share)
    @given(mutated, st.sampled_from(PHASES))
    def run(data: bytes, phase: Phase) -> None:
        started = time.perf_counter()
        label = read(data, phase)
        counts[label is not None] += 1
        assert time.perf_counter() - started < 2
        if label is not None:
            again = read(format_label(label, phase), phase)
            assert again is not None
            assert again.buildings == label.buildings

    run()
    assert min(counts.values()) > 50 * share, counts


@st.composite
def mutated_names(draw: st.DrawFn) -> str:
    stem = draw(st.sampled_from(NAMES))
    start = draw(st.integers(0, len(stem)))
    end = draw(st.integers(start, min(len(stem), start + 5)))
    return stem[:start] + draw(st.text(max_size=6)) + stem[end:]


@OFTEN
def test_a_mutated_name_is_read_or_refused(share: float) -> None:
    @fuzz(1500 * share)
    @given(mutated_names())
    def run(name: str) -> None:
        try:
            scene, phase = parse_stem(name)
        except DataError as error:
            if not error.message.startswith(name):
                raise AssertionError(error.message) from error
            return
        assert parse_stem(scene.stem(phase)) == (scene, phase)
        assert scene.disaster in name
        assert "/" not in str(scene)

    run()
