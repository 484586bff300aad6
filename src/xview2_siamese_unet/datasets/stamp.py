"""What shared data was made with: settings, written once and compared at every later save; and each part's own key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.datasets.one_file import OneFile
from xview2_siamese_unet.errors import StaleError

NAME = "made_with.json"


def made_from(*facts: str) -> str:
    """Return what one scene's masks or pixels are made from: a text that changes when they have to be made again."""
    return "-".join(facts)


class StampDataset(OneFile[Mapping[str, Any], Mapping[str, Any]]):
    """The settings of a file beside it, `made_with.json`; saving others is refused.

    Args:
        filepath: of the settings.
        of: name of the file that was made with them; as long as that is missing, they bind nobody.
        metadata: for Kedro-Viz and the like; ignored here.
    """

    def __init__(self, *, filepath: str, of: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._of = self._path.with_name(of)

    def save(self, data: Mapping[str, Any]) -> None:
        """Write them, or compare them with those that stand there.

        Raises:
            StaleError: the file was made with other settings.
        """
        if not self._of.exists():
            self._path.unlink(missing_ok=True)
        check_stamp(self._path.parent, data)

    def load(self) -> Mapping[str, Any]:
        """Return them."""
        return _read(self._path)


def check_stamp(folder: Path, made_with: Mapping[str, Any]) -> None:
    """Write `made_with` into a new folder, or compare it with what stands there.

    Raises:
        StaleError: the folder was made with other settings; nothing in it was touched.
    """
    path = folder / NAME
    if path.exists():
        refuse_other_settings(folder, _read(path), made_with)
        return
    write_atomically(path, json.dumps(made_with, indent=2))


def _read(path: Path) -> dict[str, Any]:
    try:
        made_with: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise StaleError(
            str(path),
            found=f"text that is no JSON ({error})",
            allowed="the settings that the folder was made with",
            remedy="remove the folder, and it is made anew",
        ) from error
    return made_with


def refuse_other_settings(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise a StaleError that names the settings in which two stamps differ, if they do."""
    wanted = json.loads(json.dumps(wanted))
    differing = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
    if differing:
        raise StaleError(
            str(folder),
            found="data made with " + ", ".join(f"{key} {found.get(key)}" for key in differing),
            allowed="what this run asks for: " + ", ".join(f"{key} {wanted.get(key)}" for key in differing),
            remedy="give this dataset another dataset.name, or remove the folder",
        )
