"""May an assessment begin in this folder, and what of an earlier one can be taken up?"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from xview2_siamese_unet.atomic import nearest_existing, write_atomically
from xview2_siamese_unet.errors import ConfigError, DataError

PRODUCTS: Final = (
    "run.json",
    "damage.tif",
    "probability.tif",
    "buildings.gpkg",
    "buildings.geojson",
    "buildings.parquet",
    "summary.json",
    "summary.csv",
    "map.html",
    "report.html",
)
"""First of all the record, without which an assessment is not finished; some are there only if asked for."""
_STAMP: Final = "made_with.txt"


def work_folder(folder: Path) -> Path:
    """Return where an assessment keeps what it has not finished."""
    return folder / ".work"


def check_out(folder: Path, asked: Path | None, *, overwrite: bool) -> None:
    """See that products may be written; changes nothing.

    Args:
        folder: where the catalog writes.
        asked: where the parameters want it.
        overwrite: whether an assessment may be replaced.

    Raises:
        ConfigError: the two folders differ.
        DataError: an assessment lies there already, or no folder can be there.
    """
    if asked is not None and asked.expanduser().resolve() != folder.resolve():
        raise ConfigError(
            "inference.out",
            found=f"{asked} in a parameters file, which the catalog does not read",
            allowed="kedro assess --out, or --params inference.out=...",
            remedy="pass the folder on the command line",
        )
    _check_path(folder)
    there = [name for name in PRODUCTS if (folder / name).exists()]
    unfinished = work_folder(folder).is_dir()
    if there and not overwrite and not (unfinished and PRODUCTS[0] not in there):
        raise DataError(
            str(folder),
            found=f"an assessment ({', '.join(there)})",
            allowed="a new or empty folder, or one whose assessment was stopped",
            remedy="choose another folder, or repeat with --overwrite",
        )


def _check_path(folder: Path) -> None:
    nearest = nearest_existing(folder)
    if not nearest.is_dir():
        raise DataError(str(nearest), found="a file", allowed="a folder", remedy="choose another folder with --out")
    if "!" in str(folder):  # what writes the GeoPackage takes the part before it for an archive
        raise DataError(
            str(folder),
            found="an exclamation mark in the path",
            allowed="a path without any",
            remedy="choose another folder with --out",
        )


def begin(folder: Path, fingerprint: str) -> Path:
    """Return the folder of unfinished work, emptied unless it is this run's own; from here on nothing is finished."""
    work = work_folder(folder)
    stamp = work / _STAMP
    if not stamp.is_file() or stamp.read_text() != fingerprint:
        shutil.rmtree(work, ignore_errors=True)
        write_atomically(stamp, fingerprint)
    (folder / PRODUCTS[0]).unlink(missing_ok=True)
    return work
