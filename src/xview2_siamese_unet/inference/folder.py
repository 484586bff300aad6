"""The folder of an assessment: files of an earlier one may be replaced or reused, those of anybody else never."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from xview2_siamese_unet.atomic import PART, WRITTEN, nearest_existing, note_written, sha256, written
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


def work_folder(folder: Path) -> Path:
    """Return where an assessment keeps what it has not finished."""
    return folder / ".work"


def blocks_folder(folder: Path) -> Path:
    """Return where an assessment keeps its blocks, those of each run in a folder of its id."""
    return work_folder(folder) / "blocks"


def check_out(folder: Path, asked: Path | None, *, overwrite: bool, inputs: Iterable[Path | None] = ()) -> None:
    """Check that the products may be written; changes nothing.

    Args:
        folder: where the catalog writes.
        asked: where the parameters want it.
        overwrite: whether an assessment may be replaced.
        inputs: files and folders that the run reads.

    Raises:
        ConfigError: the two folders differ.
        DataError: an assessment lies there already, a file that none has written or an input would be replaced, or no
            folder can be there.
    """
    if asked is not None and asked.expanduser().resolve() != folder.resolve():
        raise ConfigError(
            "inference.out",
            found=f"{asked} in a parameters file, which the catalog does not read",
            allowed="kedro assess --out, or --params inference.out=...",
            remedy="pass the folder on the command line",
        )
    nearest = nearest_existing(folder)
    if not nearest.is_dir():
        raise DataError(f"{nearest} is a file, not a folder.", hint="Choose another folder with --out.")
    _check_inputs(folder, inputs)
    record = _record(folder)
    if record is not None and not overwrite:
        raise DataError(
            f"{folder} already holds an assessment ({', '.join([PRODUCTS[0], *record['products']])}).",
            hint="Choose another folder with --out, or replace the assessment with --overwrite.",
        )
    foreign = _foreign(folder, written(folder) | set(() if record is None else record["products"].values()))
    if record is None and (folder / PRODUCTS[0]).exists():
        foreign.insert(0, PRODUCTS[0])
    if foreign:
        raise DataError(
            f"{folder} holds files that no assessment wrote, or that were changed since: {', '.join(foreign)}.",
            hint="Move them elsewhere, or choose another folder with --out. They are not replaced.",
        )


def _check_inputs(folder: Path, inputs: Iterable[Path | None]) -> None:
    """Refuse inputs that the products would replace, and a folder of images that would come to hold the products."""
    products = [folder / name for name in PRODUCTS]
    for path in inputs:
        given = None if path is None else Path(str(path).partition("|layername=")[0]).expanduser()
        if given is None:
            continue
        if given.is_dir() and any(_same(given, above) for above in (folder, *folder.parents)):
            raise DataError(
                f"{folder} lies in the folder of input images {given}.", hint="Choose another folder with --out."
            )
        if any(_same(given, product) for product in products):
            raise DataError(
                f"The input {given} lies where the assessment writes its products.",
                hint="Move it elsewhere, or choose another folder with --out.",
            )


def _same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)  # also by another link, or in other case where that means nothing
    return os.path.normcase(one.resolve()) == os.path.normcase(other.resolve())


def _record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a finished assessment, if there is one."""
    try:
        record = json.loads((folder / PRODUCTS[0]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(record, dict) and "run_id" in record and isinstance(record.get("products"), dict)
    return record if ours else None


def _foreign(folder: Path, digests: set[str]) -> list[str]:
    """Return the names in a folder that the products take, but that no assessment has written as they are."""
    there = [name for name in PRODUCTS[1:] if (folder / name).exists()]
    found = [name for name in there if not (folder / name).is_file() or sha256(folder / name) not in digests]
    # Somebody has the GeoPackage open; SQLite would apply what is left of that file to the new one.
    found += [name for name in ("buildings.gpkg-wal",) if (folder / name).exists()]
    work, own = work_folder(folder), (Path(WRITTEN).name, blocks_folder(folder).name)
    if work.exists() and not (work.is_dir() and all(it.name in own or it.suffix == PART for it in work.iterdir())):
        found.append(work.name)
    return found


def begin(folder: Path) -> None:
    """Note what earlier assessments have written, which may be replaced; from here on nothing in it is finished."""
    record, ledger = _record(folder), folder / WRITTEN
    ledger.parent.mkdir(parents=True, exist_ok=True)
    ledger.touch()
    note_written(folder, [] if record is None else record["products"].values())
    (folder / PRODUCTS[0]).unlink(missing_ok=True)
