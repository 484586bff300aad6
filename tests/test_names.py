"""File names made from user input are valid on every system; other input is refused."""

from __future__ import annotations

import ntpath
import re
import string
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xview2_siamese_unet.campaign.tiles import Tile, parse_tile
from xview2_siamese_unet.cli.experiment import require_name
from xview2_siamese_unet.config.globals import Globals
from xview2_siamese_unet.config.validation import NAME, is_portable, validate
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.raster.other_layout import OtherScene, label_name
from xview2_siamese_unet.runs import find_run
from xview2_siamese_unet.xbd.scenes import PHASES, SceneId

FOLDER = "C:/folder"
DEVICES = st.from_regex(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[19]|conin\$)[ .]{0,2}[a-z0-9-]{0,3}", fullmatch=True)
TEXTS = st.text(st.sampled_from([*string.printable, "é", "√", "\x7f", "\x85"]), max_size=6)
NAMES = st.one_of(DEVICES, TEXTS, st.from_regex(NAME, fullmatch=True))


def is_reserved(name: str) -> bool:
    return ntpath.isreserved(name) if hasattr(ntpath, "isreserved") else PureWindowsPath(name).is_reserved()


def validate_or_refuse(values: dict[str, Any], model: type[Globals]) -> Globals | None:
    """Return the validated values, or `None` if one error refuses all of them."""
    try:
        return validate(values, model, "globals")
    except ConfigError as error:
        refused = error.message
    assert all(f"{key} must" in refused for key in ("user", "experiment", "dataset.name"))
    return None


def is_one_file(name: str) -> bool:
    """Return whether POSIX and Windows treat a name as one file in a folder and keep it unchanged."""
    windows, posix = PureWindowsPath(FOLDER, name), PurePosixPath("/folder", name)
    inside = windows.parent == PureWindowsPath(FOLDER) and posix.parent == PurePosixPath("/folder")
    letters = not set(name) & set('<>:"/\\|?*') and all(ord(letter) >= 32 for letter in name)
    return inside and windows.name == posix.name == name and letters and name[-1] not in ". " and not is_reserved(name)


@given(NAMES)
@example("nul.tar.gz")
@example("com0")
@example("com¹.txt")
@example("..")
@example("a.")
@example("a:b")
def test_a_name_is_portable_if_pathlib_treats_it_as_one_file(name: str) -> None:
    assert is_portable(name) == is_one_file(name)


@given(NAMES)
@example("con")
@example("nul.v2")
@example("v2.")
@example("x" * 101)
def test_users_experiments_and_datasets_have_portable_names(name: str) -> None:
    values = {"user": name, "experiment": name, "dataset": {"name": name}}
    accepted = validate_or_refuse(values, Globals)
    assert (accepted is not None) == (re.fullmatch(NAME, name) is not None and len(name) <= 100 and is_one_file(name))


@pytest.mark.parametrize("name", ["con", "Aux", "nul.2", "lpt1", "strong."])
def test_a_new_experiment_cannot_have_the_name_of_a_windows_device(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name") as caught:
        require_name(name)
    assert "Windows device" in caught.value.hint


@given(st.one_of(NAMES, st.from_regex(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", fullmatch=True)), st.integers(-1, 10**9))
@example("con", 1)
def test_files_of_a_scene_have_portable_names(disaster: str, number: int) -> None:
    scene = OtherScene("hold", SceneId(disaster, number), *[Path("a.tif")] * 3)
    with suppress(DataError):
        name = label_name(scene)
        assert PureWindowsPath(name).as_posix() == name
        assert PurePosixPath(name).parts[:2] == ("hold", "labels")
        assert all(is_one_file(part) for part in name.split("/"))
        assert all(is_one_file(f"{scene.id.stem(phase)}.png") for phase in PHASES)
        return
    assert not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", disaster) or not 0 <= number < 10**8


@given(st.integers(1, 60), st.booleans(), st.integers(0, 400), st.integers(0, 4000))
def test_the_name_of_a_tile_is_portable_and_can_be_parsed(zone: int, south: bool, column: int, row: int) -> None:
    tile = Tile(32600 + 100 * south + zone, column, row)
    assert parse_tile(tile.name) == tile
    assert is_one_file(f"{tile.name}_01.json")


def test_a_run_has_a_portable_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    experiment = tmp_path_factory.mktemp("runs")
    assert is_one_file(find_run(experiment, None, {}, same_settings=False).name)
