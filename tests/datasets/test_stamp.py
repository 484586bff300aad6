from __future__ import annotations

import json
from pathlib import Path

import pytest

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.datasets.stamp import check_stamp
from xview2_siamese_unet.errors import StaleError


def test_the_same_settings_are_taken_again(tmp_path: Path) -> None:
    settings = {"size": 64, "scenes": {"tier1": 2}, "pair": (1, 2)}
    check_stamp(tmp_path / "new", settings)
    check_stamp(tmp_path / "new", settings)
    assert json.loads((tmp_path / "new" / "made_with.json").read_text())["size"] == 64


def test_other_settings_are_refused_by_name_and_nothing_is_touched(tmp_path: Path) -> None:
    check_stamp(tmp_path, {"size": 64, "seed": 1})
    before = (tmp_path / "made_with.json").read_bytes()
    with pytest.raises(StaleError) as caught:
        check_stamp(tmp_path, {"size": 128, "seed": 1, "new": True})
    assert caught.value.found == "data made with new None, size 64"
    assert caught.value.allowed.endswith("new True, size 128")
    assert (tmp_path / "made_with.json").read_bytes() == before


def test_a_damaged_stamp_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made_with.json").write_text('{"size"')
    with pytest.raises(StaleError, match="text that is no JSON"):
        check_stamp(tmp_path, {"size": 64})


def test_a_file_is_old_or_new_and_leaves_nothing_beside(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", "1")
    write_atomically(tmp_path / "a.json", "2")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "2"
