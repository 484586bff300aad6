from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xview2_siamese_unet.config.data_processing import SplitParams
from xview2_siamese_unet.config.dataset import SubsetParams
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.xbd.splits import SPLITS, choose_subset, leave_out, split_scenes

EVENTS = {
    "tier1": {"guatemala-volcano": 18, "hurricane-florence": 319, "hurricane-harvey": 319, "hurricane-matthew": 238,
              "hurricane-michael": 343, "mexico-earthquake": 121, "midwest-flooding": 279, "palu-tsunami": 113,
              "santa-rosa-wildfire": 226, "socal-fire": 822},
    "tier3": {"joplin-tornado": 149, "lower-puna-volcano": 291, "moore-tornado": 227, "nepal-flooding": 619,
              "pinery-bushfire": 1845, "portugal-wildfire": 1869, "sunda-tsunami": 148, "tuscaloosa-tornado": 343,
              "woolsey-fire": 878},
    "hold": {"hurricane-harvey": 933},
    "test": {"hurricane-harvey": 933},
}  # fmt: skip
"""Scenes of the complete dataset by folder and event; for hold and test, only the totals matter."""


def table(rows: list[tuple[str, str, int]]) -> pd.DataFrame:
    """Return scenes from (tier, event, number); every third number has no building."""
    named = [(f"{d}_{n:08d}", t, d, n % 3) for t, d, n in rows]
    return pd.DataFrame(named, columns=["scene", "tier", "disaster", "buildings"])


def complete() -> pd.DataFrame:
    start = {"tier1": 0, "tier3": 0, "hold": 10_000, "test": 20_000}
    rows = [(t, d, start[t] + i) for t, events in EVENTS.items() for d, n in events.items() for i in range(n)]
    return table(rows)


def assigned(scenes: pd.DataFrame, params: SplitParams | None = None) -> dict[str, str]:
    split = split_scenes(scenes, params or SplitParams())
    return dict(zip(split["scene"], split["split"], strict=True))


def test_the_complete_dataset_has_the_split_sizes_of_the_seed_project() -> None:
    scenes = complete()
    assert scenes["tier"].value_counts().to_dict() == {"tier1": 2798, "tier3": 6369, "hold": 933, "test": 933}
    assert Counter(assigned(scenes).values()) == {"train": 7574, "validation": 2526, "test": 933}


# One scene for each split, so that no split is empty.
ANCHORS = [("tier1", "anchor-a", 1), ("hold", "anchor-b", 1), ("test", "anchor-c", 1)]
NUMBERED = st.lists(
    st.tuples(st.sampled_from(["tier1", "tier3"]), st.sampled_from(["a-fire", "b-flood"]), st.integers(0, 400)),
    max_size=60,
    unique_by=lambda row: row[1:],
)


@given(NUMBERED, st.integers(0, 3))
def test_adding_scenes_does_not_move_others_and_no_scene_is_in_two_splits(rows: list, seed: int) -> None:
    params = SplitParams(seed=seed)
    before = assigned(table(ANCHORS + rows[: len(rows) // 2]), params)
    split = split_scenes(table(ANCHORS + rows), params)
    assert split["scene"].is_unique
    after = dict(zip(split["scene"], split["split"], strict=True))
    assert {scene: after[scene] for scene in before} == before
    assert len(after) == len(rows) + 3


@given(st.integers(0, 500), st.integers(0, 300), st.integers(0, 5), st.integers(0, 100))
def test_shares_are_exact_to_one_scene_for_consecutive_numbers(first: int, count: int, seed: int, percent: int) -> None:
    rows = [("tier3", "a-fire", first + i) for i in range(count)]
    shares = SplitParams(train={"tier1": 1, "tier3": 0.75}, seed=seed)
    got = Counter(v for k, v in assigned(table(ANCHORS + rows), shares).items() if k.startswith("a-fire"))
    assert abs(got["train"] - 0.75 * count) <= 1
    assert got["train"] + got["validation"] == count

    part = SplitParams(train={"tier1": 1, "tier3": percent / 100}, validation={"hold": 1}, seed=seed)
    got = Counter(v for k, v in assigned(table(ANCHORS + rows), part).items() if k.startswith("a-fire"))
    assert abs(got["train"] - percent / 100 * count) <= 1


SHARES = st.one_of(st.floats(0, 1), st.sampled_from([0.004, 0.006, 0.996, 1 / 3, 1e-4, 0.12345]))


@settings(max_examples=40)
@given(st.integers(0, 20_000), st.integers(0, 200), st.integers(0, 5), SHARES, SHARES)
def test_any_share_is_exact_to_one_scene(first: int, count: int, seed: int, share: float, part: float) -> None:
    rows = [("tier3", "a-fire", first + i) for i in range(count)]

    def counted(train: float, validation: float) -> Counter[str]:
        params = SplitParams(train={"tier1": 1, "tier3": train}, validation={"hold": 1, "tier3": validation}, seed=seed)
        return Counter(v for k, v in assigned(table(ANCHORS + rows), params).items() if k.startswith("a-fire"))

    both = counted(share, 1 - share)
    assert abs(both["train"] - share * count) <= 1 + 1e-5
    assert both["train"] + both["validation"] == count or share + (1 - share) < 1
    assert abs(counted(0, share)["validation"] - share * count) <= 1 + 1e-5
    some = counted(share, part * (1 - share))
    assert abs(some["train"] - share * count) <= 1 + 1e-5
    assert abs(some["validation"] - part * (1 - share) * count) < 2


@pytest.mark.parametrize(("share", "of_thousand"), [(0.004, 4), (0.006, 6), (0.996, 996), (0.1234, 123)])
def test_a_share_of_a_thousand_scenes_is_exact(share: float, of_thousand: int) -> None:
    params = SplitParams(train={"tier1": 1, "tier3": 1 - share}, validation={"hold": 1, "tier3": share})
    got = Counter(assigned(table(ANCHORS + [("tier3", "a-fire", i) for i in range(1000)]), params).values())
    assert abs(got["validation"] - 1 - of_thousand) <= (share * 1000 != of_thousand)


def test_the_default_split_has_not_changed() -> None:
    """Three quarters of a folder, computed from the hash of the event as in earlier versions."""
    for event in ("joplin-tornado", "woolsey-fire", "a-fire"):
        start = int(int.from_bytes(blake2b(f"0:{event}".encode(), digest_size=6).digest()) / 2**48 * 4)
        got = assigned(table(ANCHORS + [("tier3", event, i) for i in range(40)]))
        expected = {f"{event}_{i:08d}": "validation" if (i + start) % 4 == 0 else "train" for i in range(40)}
        assert {scene: split for scene, split in got.items() if scene.startswith(event)} == expected


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_one_folder_can_be_shared_by_three_splits(a: int, b: int, c: int) -> None:
    whole = max(a + b + c, 1)
    shares = [{"tier3": share / whole} for share in (a, b, c)]
    params = SplitParams(
        train=shares[0] | {"tier1": 1}, validation=shares[1] | {"hold": 1}, test=shares[2] | {"test": 1}
    )
    rows = [("tier3", "a-fire", i) for i in range(whole * 3)]
    got = Counter(v for k, v in assigned(table(ANCHORS + rows), params).items() if k.startswith("a-fire"))
    assert [got[split] for split in SPLITS] == [3 * a, 3 * b, 3 * c]


def test_another_seed_chooses_other_scenes() -> None:
    scenes = complete()
    assert assigned(scenes, SplitParams(seed=1)) != assigned(scenes, SplitParams(seed=2))


def test_cross_validation_tests_each_scene_once_and_spreads_every_event() -> None:
    scenes = complete()
    events = dict(zip(scenes["scene"], scenes["disaster"], strict=True))
    folds = [assigned(scenes, SplitParams(fold=(part, 5))) for part in range(1, 6)]
    assert all(fold.keys() == events.keys() for fold in folds)
    tested = [name for fold in folds for name, split in fold.items() if split == "test"]
    assert sorted(tested) == sorted(events)
    total = Counter(events.values())
    for fold in folds:
        count = Counter(events[name] for name, split in fold.items() if split == "test")
        assert all(abs(count[event] - total[event] / 5) < 1 for event in total)
        assert Counter(fold.values())["validation"] == pytest.approx(len(scenes) * 4 / 5 / 4, abs=1)


@pytest.mark.parametrize("fold", [(0, 3), (4, 3), (1, 1)])
def test_an_invalid_fold_is_refused(fold: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="fold"):
        SplitParams(fold=fold)


def test_the_test_split_has_only_the_events_left_out() -> None:
    scenes = complete()
    got = assigned(scenes, SplitParams(leave_events_out=("joplin-tornado", "socal-fire")))
    event = dict(zip(scenes["scene"], scenes["disaster"], strict=True))
    of_split = {split: {event[s] for s, v in got.items() if v == split} for split in SPLITS}
    assert of_split["test"] == {"joplin-tornado", "socal-fire"}
    assert not of_split["test"] & (of_split["train"] | of_split["validation"])
    with pytest.raises(ConfigError, match=r"joplin-storm.* guatemala-volcano, "):
        assigned(scenes, SplitParams(leave_events_out=("joplin-storm",)))


def test_a_split_without_scenes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data_processing\.split\.validation"):
        assigned(table([("tier1", "a", 1), ("test", "a", 2)]))


def test_scenes_that_drop_out_do_not_move_others() -> None:
    split = split_scenes(table([*ANCHORS, ("tier1", "a", 1)]), SplitParams())
    left = leave_out(split, {"a_00000001", "unknown_00000001"})
    assert left.to_dict("records") == split[split["scene"] != "a_00000001"].to_dict("records")
    with pytest.raises(ConfigError, match=r"data_processing\.split\.test"):
        leave_out(split, {"anchor-c_00000001"})


def from_file(path: Path, text: str) -> dict[str, str]:
    path.write_text(text, encoding="utf-8")
    return assigned(table([("tier1", "a", i) for i in range(3)]), SplitParams(file=path))


def test_a_file_can_set_the_splits(tmp_path: Path) -> None:
    text = "split,scene\ntrain,a_00000002\nvalidation,a_00000000\ntest,a_00000001\n"
    got = from_file(tmp_path / "s.csv", text)
    assert got == {"a_00000002": "train", "a_00000000": "validation", "a_00000001": "test"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_written_by_excel_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes("scene,split\r\nb_00000001,train\r\nb_00000002,validation\r\nb_00000003,test\r\n".encode(encoding))
    got = assigned(table([("tier1", "b", i) for i in (1, 2, 3)]), SplitParams(file=path))
    assert got == {"b_00000001": "train", "b_00000002": "validation", "b_00000003": "test"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name,split\na,train\n", "columns name, split"),
        ("scene,split\na_00000001,training\n", "training, which is not a split"),
        ("scene,split\na_00000009,train\n", "a_00000009, which is not a scene"),
        ("scene,split\na_00000001,\n", "nan, which is not a split"),
        ("scene,split\na_00000001,train\na_00000001,test\n", "a_00000001, a scene that is listed twice"),
    ],
)
def test_an_invalid_file_is_refused(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(DataError) as caught:
        from_file(tmp_path / "s.csv", text)
    assert found in caught.value.message


@pytest.mark.parametrize("text", ["", '"', "a,b\n1,2,3\n"])
def test_a_file_that_is_not_a_table_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises((ConfigError, DataError), match="scene"):
        from_file(tmp_path / "s.csv", text)
    with pytest.raises(ConfigError, match="cannot be read"):
        assigned(table(ANCHORS), SplitParams(file=tmp_path / "absent.csv"))


@given(st.floats(0.01, 1), st.one_of(st.none(), st.integers(1, 200)))
def test_a_subset_has_the_same_share_of_every_event(share: float, count: int | None) -> None:
    scenes = table([("tier1", "a", i) for i in range(60)] + [("tier3", "b", i) for i in range(30)])
    kept = choose_subset(scenes, SubsetParams(share=share, count=count))
    sizes = kept["disaster"].value_counts()
    if count is None:
        assert abs(sizes["a"] - 60 * share) < 1 + 1e-6
        assert abs(sizes["b"] - 30 * share) < 1 + 1e-6
    else:
        assert len(kept) <= count
        assert abs(sizes.get("a", 0) - 2 * sizes.get("b", 0)) <= 3
    assert kept["scene"].is_monotonic_increasing


def test_a_smaller_subset_is_part_of_a_larger() -> None:
    scenes = complete()
    small, large = (set(choose_subset(scenes, SubsetParams(count=n))["scene"]) for n in (500, 2000))
    assert (len(small), len(large)) == (500, 2000)
    assert small < large
