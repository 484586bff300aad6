"""Where an assessment cannot be written is said before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.folder import check_out


@pytest.mark.parametrize("below", ["", "a", "a/b"])
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path, below: str) -> None:
    file = tmp_path / "answer"
    file.write_text("")
    with pytest.raises(DataError, match=rf"{file}: found a file; allowed: a folder"):
        check_out(file / below, None, overwrite=True)


def test_a_name_that_would_be_taken_for_an_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found an exclamation mark in the path"):
        check_out(tmp_path / "wow!" / "answer", None, overwrite=False)
    check_out(tmp_path / "wow" / "answer", None, overwrite=False)
