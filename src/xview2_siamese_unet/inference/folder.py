"""The folder of an assessment: files of an earlier one may be replaced or reused, those of anybody else never."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from itertools import count
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
_log = logging.getLogger(__name__)


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
    foreign = _foreign(folder, written(folder), {} if record is None else record["products"])
    if record is None and (folder / PRODUCTS[0]).exists():
        foreign.insert(0, PRODUCTS[0])
    if foreign:
        raise DataError(
            f"{folder} contains files that were not written by an assessment: {', '.join(foreign)}.",
            hint="They will not be replaced. Move them, or choose another folder with --out.",
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


def _foreign(folder: Path, digests: set[str], products: Mapping[str, str]) -> list[str]:
    """Return the names in a folder that the products take, but that no assessment has written.

    Args:
        folder: of the assessment.
        digests: SHA-256 of what a stopped assessment has written.
        products: name and SHA-256 of what the finished one has; such a file that was changed since is kept by `begin`.
    """
    there = [name for name in PRODUCTS[1:] if (folder / name).exists() and name not in products]
    found = [name for name in there if not (folder / name).is_file() or sha256(folder / name) not in digests]
    # Somebody has the GeoPackage open, or was stopped while writing: SQLite would apply what is left to the new one.
    found += [name for end in ("wal", "shm", "journal") if (folder / (name := f"buildings.gpkg-{end}")).exists()]
    work, own = work_folder(folder), (Path(WRITTEN).name, blocks_folder(folder).name)
    if work.exists() and not (work.is_dir() and all(it.name in own or it.suffix == PART for it in work.iterdir())):
        found.append(work.name)
    return found


def _keep(path: Path) -> None:
    """Rename a product that somebody has changed since, or that QGIS has touched when it opened it."""
    names = (path.with_stem(f"{path.stem}.changed{number or ''}") for number in count())
    kept = next(name for name in names if not name.exists())
    path.rename(kept)
    _log.warning("%s was changed after the assessment that is replaced: it is kept as %s", path.name, kept.name)


def begin(folder: Path) -> None:
    """Note what earlier assessments have written, which may be replaced; from here on nothing in it is finished."""
    record, ledger = _record(folder), folder / WRITTEN
    ledger.parent.mkdir(parents=True, exist_ok=True)
    ledger.touch()
    products = {} if record is None else record["products"]
    for name, digest in products.items():
        if (folder / name).is_file() and sha256(folder / name) != digest:
            _keep(folder / name)
    note_written(folder, products.values())
    (folder / PRODUCTS[0]).unlink(missing_ok=True)
