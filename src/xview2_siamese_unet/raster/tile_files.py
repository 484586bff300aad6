"""The files of one image: a GeoTIFF, a VRT, or the colour tiles of a folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from xview2_siamese_unet.errors import DataError

DRIVERS: Final = {".tif": "GTiff", ".tiff": "GTiff", ".vrt": "VRT"}
TILES: Final = (".tif", ".tiff")
_FORMATS: Final = {
    ".ecw": "ECW",
    ".img": "ERDAS Imagine",
    ".j2k": "JPEG 2000",
    ".jp2": "JPEG 2000",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".ntf": "NITF",
    ".png": "PNG",
    ".sid": "MrSID",
}
_ARCHIVES: Final = (".zip", ".gz", ".tar", ".tgz", ".7z", ".rar")
_VISUAL: Final = "visual"
_MASKS: Final = {"clouds", "udm", "udm2"}  # usable-data masks of several bands
_KINDS: Final = 6


def colour_files(path: Path) -> tuple[list[Path], list[str]]:
    """Return the files of an image in the order of their names, and warnings about files that are left out.

    Hidden files and those that file managers add (`._tile.tif`, `.DS_Store`, `Thumbs.db`) are no tiles. Folders below a
    folder are looked at where it holds no GeoTIFF itself. Of a vendor's delivery the rasters named `visual` are taken.

    Raises:
        DataError: nothing there, or another format.
    """
    if not path.is_dir():
        if not (path.is_file() and path.suffix.lower() in DRIVERS):
            raise _unusable(path)
        return [path], []
    tiles, warnings = _tiffs(path, path.iterdir()), []
    # Links to folders are followed at the first level; what lies outside is not read.
    inside, deeper = path.resolve(), _tiffs(path, path.glob("*/*" if tiles else "*/**/*"))
    every = [*tiles, *(tile for tile in deeper if inside in tile.resolve().parents)]
    if outside := {_link(tile) for tile in {*deeper} - {*every}}:
        names = ", ".join(sorted(link.name for link in outside)[:_KINDS])
        warnings.append(f"{len(outside)} links in {path.name} lead out of it and were not followed: {names}")
    if tiles and len(every) > len(tiles):
        warnings.append(
            f"{len(every) - len(tiles)} of {len(every)} GeoTIFFs of {path.name} lie in folders below it: not read"
        )
    tiles = tiles or every
    visual = [tile for tile in tiles if _VISUAL in _words(tile)]
    kept = visual or [tile for tile in tiles if not _MASKS & _words(tile)] or tiles
    if not kept:
        raise _unusable(path, warnings)
    if len(kept) < len(tiles):
        reason = "not named visual" if visual else "masks by their names"
        warnings.append(left_out(path, sorted({*tiles} - {*kept}), len(tiles), reason))
    return kept, warnings


def left_out(path: Path, files: list[Path], count: int, reason: str) -> str:
    """Return the warning for files of a folder that are no colour images."""
    names = ", ".join(dict.fromkeys(file.name for file in files[:_KINDS])) + (", …" if len(files) > _KINDS else "")
    return f"{len(files)} of {count} rasters in {path.name} were left out ({reason}): {names}"


def _tiffs(folder: Path, files: Iterable[Path]) -> list[Path]:
    named = (file for file in files if file.suffix.lower() in TILES)
    shown = (file for file in named if not any(part.startswith(".") for part in file.relative_to(folder).parts))
    return sorted(file for file in shown if file.is_file())


def _words(file: Path) -> set[str]:
    return {*re.split(r"[^a-z0-9]+", file.stem.lower())}


def _link(file: Path) -> Path:
    return next(place for place in (file, *file.parents) if place.is_symlink())


def _unusable(path: Path, warnings: Sequence[str] = ()) -> DataError:
    allowed = "Name a GeoTIFF (.tif, .tiff), a VRT (.vrt) or a folder of GeoTIFF tiles."
    if path.is_dir():
        endings = Counter(file.suffix.lower() for file in path.iterdir() if not file.name.startswith("."))
        other = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(_KINDS) if ending)
        return DataError(
            f"{path} holds no GeoTIFF{f' ({other})' if other else ''}.", hint=" ".join([allowed, *warnings])
        )
    ending = path.suffix.lower()
    if not path.is_file():
        return DataError(f"{path}: no such file or folder.", hint="Check the path.")
    if ending in _ARCHIVES:
        return DataError(f"{path} is an archive.", hint="Unpack it, and name the GeoTIFF or the folder of tiles in it.")
    kind = _FORMATS.get(ending, ending or "nameless")
    return DataError(
        f"{path} is a {kind} file, which is not read.",
        hint=f"Convert it: rio convert {path.name} {path.stem}.tif, or gdal_translate for formats that rio lacks.",
    )
