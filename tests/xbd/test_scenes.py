from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd.scenes import PHASES, Phase, SceneId, ScenePair, list_pairs, parse_stem, unread_folders

DISASTERS = st.from_regex(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", fullmatch=True, alphabet=st.characters(codec="ascii"))
SCENES = st.builds(SceneId, DISASTERS, st.integers(0, 99_999_999))
CURRENT_NAMES = st.from_regex(r"[a-z]+(-[a-z]+)*_[0-9]{8}_(pre|post)_disaster", fullmatch=True)


@given(SCENES, st.sampled_from(PHASES))
def test_a_scene_can_be_parsed_from_its_name(scene: SceneId, phase: Phase) -> None:
    assert parse_stem(scene.stem(phase)) == (scene, phase)


@given(CURRENT_NAMES)
def test_a_parsed_name_is_written_unchanged(stem: str) -> None:
    scene, phase = parse_stem(stem)
    assert scene.stem(phase) == stem
    assert stem.startswith(f"{scene}_")


@given(SCENES, st.sampled_from(PHASES), st.sampled_from(["images", "labels"]), st.sampled_from(["train", "tier3"]))
def test_the_prefix_of_some_copies_is_ignored(scene: SceneId, phase: Phase, kind: str, tier: str) -> None:
    assert parse_stem(f"challenge_{tier}_{kind}_{scene.stem(phase)}") == (scene, phase)


def test_early_names_are_parsed() -> None:
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
def test_other_names_are_refused(stem: str) -> None:
    with pytest.raises(DataError, match="not named like a scene") as caught:
        parse_stem(stem)
    assert caught.value.message.startswith(stem)


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def scene_files(tier: str, scene: str, suffix: str = "png") -> list[str]:
    return [
        f"{tier}/{kind}/{scene}_{phase}_disaster.{end}"
        for kind, end in (("images", suffix), ("labels", "json"))
        for phase in ("pre", "post")
    ]


def test_scenes_are_in_the_order_of_tiers_and_names(tmp_path: Path) -> None:
    for tier, scene in (("hold", "a_00000001"), ("tier1", "b_00000002"), ("tier1", "b_00000001")):
        touch(tmp_path, *scene_files(tier, scene))
    pairs, problems = list_pairs(tmp_path)
    assert [f"{p.tier}/{p.scene}" for p in pairs] == ["tier1/b_00000001", "tier1/b_00000002", "hold/a_00000001"]
    assert problems == []
    assert pairs[0] == ScenePair(
        "tier1",
        SceneId("b", 1),
        {p: f"tier1/images/b_00000001_{p}_disaster.png" for p in ("pre", "post")},
        {p: f"tier1/labels/b_00000001_{p}_disaster.json" for p in ("pre", "post")},
    )


@pytest.mark.parametrize("suffix", ["png", "PNG", "tif", "tiff"])
def test_images_of_every_release_are_listed(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, *scene_files("tier3", "b_00000002", suffix))
    (pair,) = list_pairs(tmp_path)[0]
    assert pair.images["pre"] == f"tier3/images/b_00000002_pre_disaster.{suffix}"


def test_the_folder_train_is_tier1(tmp_path: Path) -> None:
    touch(tmp_path, *scene_files("train", "b_00000002"), *scene_files("tier1", "b_00000001"))
    pairs, _ = list_pairs(tmp_path)
    assert [(p.tier, p.images["pre"].split("/")[0]) for p in pairs] == [("tier1", "tier1"), ("tier1", "train")]


def test_early_and_prefixed_names_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, *(f"test/{kind}/test_{p}_00007.{end}" for kind, end in (("images", "png"), ("labels", "json"))
                      for p in ("pre", "post")))  # fmt: skip
    touch(tmp_path, *(f"train/{kind}/challenge_train_{kind}_b_00000001_{p}_disaster.{end}"
                      for kind, end in (("images", "png"), ("labels", "json")) for p in ("pre", "post")))  # fmt: skip
    pairs, problems = list_pairs(tmp_path)
    assert [str(p.scene) for p in pairs] == ["b_00000001", "test_00000007"]
    assert problems == []


def test_side_files_are_ignored(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *scene_files("tier1", "b_00000001"),
        "tier1/images/b_00000001_pre_disaster.png:Zone.Identifier",
        "tier1/images/._b_00000001_pre_disaster.png",
        "tier1/images/.DS_Store",
        "tier1/images/Thumbs.db",
        "tier1/images/b_00000001_pre_disaster.png.aux.xml",
        "tier1/targets/b_00000001_pre_disaster_target.png",
        "tier1/labels/notes.txt",
        "README.md",
    )
    pairs, problems = list_pairs(tmp_path)
    assert (len(pairs), problems) == (1, [])


def test_each_incomplete_scene_is_a_problem(tmp_path: Path) -> None:
    touch(tmp_path, *scene_files("tier1", "b_00000001")[1:], *scene_files("tier1", "b_00000002")[:2])
    touch(tmp_path, *scene_files("tier1", "b_00000003"), "tier1/images/b_00000003_pre_disaster.tif")
    touch(tmp_path, *scene_files("tier1", "b_00000004"), "tier1/images/preview.png", "tier3/labels/classes.json")
    pairs, problems = list_pairs(tmp_path)
    assert [str(p.scene) for p in pairs] == ["b_00000004"]
    beginnings = [
        "tier1/images/preview.png is not named like a scene",
        "tier1/b_00000001 has no pre image",
        "tier1/b_00000002 has no pre label and no post label",
        "tier1/b_00000003 has both tier1/images/b_00000003_pre_disaster.png and tier1/images/b_",
        "tier3/labels/classes.json is not named like a scene",
    ]
    assert all(p.message.startswith(each) for p, each in zip(problems, beginnings, strict=True))


def test_a_scene_in_two_folders_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, *scene_files("tier1", "b_00000001"), *scene_files("test", "b_00000001"))
    with pytest.raises(DataError, match="b_00000001 in tier1 and in test"):
        list_pairs(tmp_path)


def test_a_folder_without_tiers_or_scenes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent is not a folder"):
        list_pairs(tmp_path / "absent")
    with pytest.raises(DataError, match=r"has none of the folders .* folder of the unpacked"):
        list_pairs(tmp_path)
    (tmp_path / "tier1").mkdir()
    with pytest.raises(DataError, match="has no file named"):
        list_pairs(tmp_path)


@pytest.mark.parametrize(
    "root",
    ["", "xview2", "xview2/geotiffs/tier1", "xview2/geotiffs/tier1/images", "xview2/geotiffs/absent"],
    ids=["two too high", "one too high", "one too low", "two too low", "absent"],
)
def test_a_wrong_root_names_the_right_one(tmp_path: Path, root: str) -> None:
    right = tmp_path / "a" / "xview2" / "geotiffs"
    touch(right, *scene_files("tier1", "b_00000001"))
    touch(tmp_path / "a" / "__MACOSX", *scene_files("tier1", "b_00000001"))
    with pytest.raises(DataError) as caught:
        list_pairs(tmp_path / "a" / root)
    assert caught.value.hint == f"Set dataset.root to {right}."


def test_the_problem_of_a_folder_without_labels_names_the_remedy(tmp_path: Path) -> None:
    touch(tmp_path, *scene_files("train", "b_00000001"))
    touch(tmp_path, *scene_files("test", "b_00000002")[:2], *scene_files("test", "b_00000003")[:2])
    pairs, problems = list_pairs(tmp_path)
    assert [str(pair.scene) for pair in pairs] == ["b_00000001"]
    assert [problem.message.split()[0] for problem in problems] == ["test/b_00000002", "test/b_00000003"]
    assert "like all 2 scenes of test" in problems[0].message
    assert "on_problem: skip" in problems[0].hint


def test_folders_not_named_after_a_tier_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, *scene_files("train", "b_00000001"), *scene_files("valid", "b_00000002"), "notes/a.txt")
    assert unread_folders(tmp_path) == ["valid"]
