"""The output folder of an assessment, and the styles that QGIS shows its layers in.

Files of an earlier assessment may be replaced or reused, all other files never.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from xview2_siamese_unet.atomic import PART, WRITTEN, nearest_existing, note_written, sha256, written
from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.inference.building_formats import FORMATS

RUN_RECORD: Final = "run.json"
"""Name of the record; without it, an assessment is not finished."""
_SYMBOL: Final = (
    '<symbol type="fill" name="{name}" alpha="1"><layer class="SimpleFill" enabled="1"><Option type="Map">'
    '<Option type="QString" name="color" value="{fill}"/><Option type="QString" name="style" value="{style}"/>'
    '<Option type="QString" name="outline_color" value="{line}"/>'
    '<Option type="QString" name="outline_width" value="0.3"/></Option></layer></symbol>'
)
_log = logging.getLogger(__name__)


def products() -> tuple[str, ...]:
    """Return the names of all files, the record first; some are written only on request."""
    layers = ("buildings.gpkg", *(f"buildings{suffix}" for suffix, _ in FORMATS.values()))
    return (
        RUN_RECORD,
        "damage.tif",
        "damage.qml",
        "probability.tif",
        *layers,
        "summary.json",
        "summary.csv",
        "map.html",
        "report.html",
    )


def work_folder(folder: Path) -> Path:
    """Return the folder of the unfinished work of an assessment."""
    return folder / ".work"


def blocks_folder(folder: Path) -> Path:
    """Return the folder of the blocks; each run has a subfolder named by its id."""
    return work_folder(folder) / "blocks"


def check_out(folder: Path, asked: Path | None, *, overwrite: bool, inputs: Iterable[Path | None] = ()) -> None:
    """Check that the products may be written; changes nothing.

    Args:
        folder: of the catalog.
        asked: of the parameters.
        overwrite: whether an assessment may be replaced.
        inputs: files and folders that the run reads.

    Raises:
        ConfigError: the two folders differ.
        DataError: not a folder, an existing assessment, or a foreign file or an input would be replaced.
    """
    if asked is not None and asked.expanduser().resolve() != folder.resolve():
        raise ConfigError(
            f"inference.out is {asked} in a parameters file, which the catalog does not read.",
            hint="Pass the folder on the command line: kedro assess --out, or --params inference.out=...",
        )
    nearest = nearest_existing(folder)
    if not nearest.is_dir():
        raise DataError(f"{nearest} is a file, not a folder.", hint="Choose another folder with --out.")
    _check_inputs(folder, inputs)
    record = read_record(folder)
    if record is not None and not overwrite:
        raise DataError(
            f"{folder} already holds an assessment ({', '.join([RUN_RECORD, *record['products']])}).",
            hint="Choose another folder with --out, or replace the assessment with --overwrite.",
        )
    foreign = _foreign_files(folder, written(folder), {} if record is None else record["products"])
    if record is None and (folder / RUN_RECORD).exists():
        foreign.insert(0, RUN_RECORD)
    if foreign:
        raise DataError(
            f"{folder} contains files that were not written by an assessment: {', '.join(foreign)}.",
            hint="They will not be replaced. Move them, or choose another folder with --out.",
        )


def _check_inputs(folder: Path, inputs: Iterable[Path | None]) -> None:
    """Refuse inputs that the products would replace, or whose folder would hold them."""
    for path in inputs:
        if path is None:
            continue
        source = Path(str(path).partition("|layername=")[0]).expanduser()
        if source.is_dir() and any(_same(source, above) for above in (folder, *folder.parents)):
            raise DataError(
                f"{folder} lies in the folder of input images {source}.", hint="Choose another folder with --out."
            )
        if any(_same(source, folder / name) for name in products()):
            raise DataError(
                f"The input {source} lies where the assessment writes its products.",
                hint="Move it elsewhere, or choose another folder with --out.",
            )


def _same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)  # also through a link, or in other case on a case-insensitive file system
    return os.path.normcase(one.resolve()) == os.path.normcase(other.resolve())


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a finished assessment, if there is one."""
    try:
        record = json.loads((folder / RUN_RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(record, dict) and "run_id" in record and isinstance(record.get("products"), dict)
    return record if ours else None


def _foreign_files(folder: Path, digests: set[str], finished: Mapping[str, str]) -> list[str]:
    """Return the names of products that other programs have written.

    Args:
        folder: of the assessment.
        digests: SHA-256 of what a stopped assessment has written.
        finished: name and SHA-256 of the products of a finished one; `begin` keeps those that were changed since.
    """
    existing = [name for name in products()[1:] if (folder / name).exists() and name not in finished]
    foreign = [name for name in existing if not (folder / name).is_file() or sha256(folder / name) not in digests]
    # The GeoPackage is open elsewhere, or its writer was killed: SQLite would apply what is left to the new one.
    foreign += [name for end in ("wal", "shm", "journal") if (folder / (name := f"buildings.gpkg-{end}")).exists()]
    work, own = work_folder(folder), (Path(WRITTEN).name, blocks_folder(folder).name)
    if work.exists() and not (work.is_dir() and all(it.name in own or it.suffix == PART for it in work.iterdir())):
        foreign.append(work.name)
    return foreign


def begin(folder: Path) -> None:
    """Record what may be replaced, and remove the record of a finished assessment.

    A product that was changed since, for example by opening it in QGIS, is kept under another name.
    """
    record, ledger = read_record(folder), folder / WRITTEN
    ledger.parent.mkdir(parents=True, exist_ok=True)
    ledger.touch()
    finished = {} if record is None else record["products"]
    for name, digest in finished.items():
        path = folder / name
        if path.is_file() and sha256(path) != digest:
            names = (path.with_stem(f"{path.stem}.changed{number or ''}") for number in count())
            kept = next(name for name in names if not name.exists())
            path.rename(kept)
            _log.warning("%s was changed after the replaced assessment: it is kept as %s", name, kept.name)
    note_written(folder, finished.values())
    (folder / RUN_RECORD).unlink(missing_ok=True)


def buildings_style() -> str:
    """Return the QGIS style of the buildings: a colour a class, a hatch if not assessed."""
    labels = {str(int(code)): code.word for code in SCORED} | {"": "not assessed"}
    symbols = [
        _SYMBOL.format(name=number, fill=_rgba(code.rgb, 190), style="solid", line=_rgba(code.rgb, 255))
        for number, code in enumerate(SCORED)
    ]
    symbols.append(_SYMBOL.format(name=len(SCORED), fill="127,127,127,255", style="b_diagonal", line="127,127,127,255"))
    categories = "".join(
        f'<category render="true" symbol="{number}" value={quoteattr(value)} label={quoteattr(label)} type="string"/>'
        for number, (value, label) in enumerate(labels.items())
    )
    return _qml(
        f'<renderer-v2 type="categorizedSymbol" attr="damage" forceraster="0"><categories>{categories}</categories>'
        f"<symbols>{''.join(symbols)}</symbols></renderer-v2>"
    )


def outline_style() -> str:
    """Return the style of a frame: a line without fill."""
    symbol = _SYMBOL.format(name=0, fill="0,0,0,0", style="no", line="60,60,60,255")
    return _qml(f'<renderer-v2 type="singleSymbol" forceraster="0"><symbols>{symbol}</symbols></renderer-v2>')


def damage_style() -> str:
    """Return the style of `damage.tif`: only buildings are drawn.

    The colour table of a GeoTIFF is opaque: with it alone, the background would hide the image below.
    """
    entries = "".join(
        f'<paletteEntry value="{code:d}" color="{code.colour}" alpha="255" label={quoteattr(code.word)}/>'
        for code in Damage
        if code is not Damage.BACKGROUND
    )
    return _qml(
        '<pipe><rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1">'
        f"<colorPalette>{entries}</colorPalette></rasterrenderer></pipe>"
    )


def _qml(renderer: str) -> str:
    return f'<!DOCTYPE qgis><qgis version="3.34" styleCategories="Symbology">{renderer}</qgis>'


def _rgba(rgb: tuple[int, int, int], alpha: int) -> str:
    return ",".join(map(str, (*rgb, alpha)))
