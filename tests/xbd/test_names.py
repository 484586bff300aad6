from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd.names import PHASES, Phase, SceneId, parse_stem

DISASTERS = st.from_regex(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", fullmatch=True, alphabet=st.characters(codec="ascii"))
SCENES = st.builds(SceneId, DISASTERS, st.integers(0, 99_999_999))
NAMES_OF_TODAY = st.from_regex(r"[a-z]+(-[a-z]+)*_[0-9]{8}_(pre|post)_disaster", fullmatch=True)


@given(SCENES, st.sampled_from(PHASES))
def test_a_scene_reads_back_from_its_name(scene: SceneId, phase: Phase) -> None:
    assert parse_stem(scene.stem(phase)) == (scene, phase)


@given(NAMES_OF_TODAY)
def test_a_name_is_written_as_it_was_read(stem: str) -> None:
    scene, phase = parse_stem(stem)
    assert scene.stem(phase) == stem
    assert stem.startswith(f"{scene}_")


@given(SCENES, st.sampled_from(PHASES), st.sampled_from(["images", "labels"]), st.sampled_from(["train", "tier3"]))
def test_the_prefix_of_some_copies_means_nothing(scene: SceneId, phase: Phase, kind: str, tier: str) -> None:
    assert parse_stem(f"challenge_{tier}_{kind}_{scene.stem(phase)}") == (scene, phase)


def test_early_names() -> None:
    assert parse_stem("test_pre_00042") == (SceneId("test", 42), "pre")
    assert parse_stem("test_post_00000") == (SceneId("test", 0), "post")


@pytest.mark.parametrize(
    "stem",
    [
        "",
        "hurricane-harvey_00000072_during_disaster",
        "hurricane-harvey_0000072_pre_disaster",
        "hurricane-harvey_00000072_pre_disaster_target",
        "hurricane-harvey_00000072_pre_disaster\n",
        "hurricane-harvey_0000007٣_pre_disaster",
        "_00000072_pre_disaster",
        "hurricane--harvey_00000072_pre_disaster",
        "../evil_00000072_pre_disaster",
        "test_pre_000001",
        "test_localization_00000",
        "challenge_train_images_test",
    ],
)
def test_anything_else_is_no_scene(stem: str) -> None:
    with pytest.raises(DataError, match="no scene name") as caught:
        parse_stem(stem)
    assert caught.value.where == stem
