"""One date of a pair: a GeoTIFF, a VRT or a folder of GeoTIFF tiles, opened only after a look at what it is.

Each file opens with the driver that its ending names. A VRT is text that may name anything: its sources must be
GeoTIFFs below its own folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, Final

import rasterio
import shapely
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.grid import Place, edge, is_on_earth

DRIVERS: Final = {".tif": "GTiff", ".tiff": "GTiff", ".vrt": "VRT"}
_TILES: Final = (".tif", ".tiff")
_BESIDE: Final = (".ovr", ".msk", ".OVR", ".MSK")
_TIFF_HEADS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_VRT_BYTES: Final = 20_000_000
_SOURCE: Final = re.compile(
    r"""<source(?:filename|dataset)((?:\s+(?:relativetovrt|shared)\s*=\s*"[01]")*)\s*>"""
    r"((?:[^<>&]|&(?:amp|lt|gt|quot|apos);)*)</source(?:filename|dataset)>",
    re.IGNORECASE | re.ASCII,
)
_RELATIVE: Final = re.compile(r"relativetovrt\s*=\s*.([01])", re.IGNORECASE | re.ASCII)
_RGB: Final = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True, slots=True)
class Tile:
    """One raster of a date: its file, and which of its bands are red, green and blue."""

    path: Path
    bands: tuple[int, int, int]
    place: Place


@dataclass(frozen=True, slots=True)
class Source:
    """One date.

    Attributes:
        path: what the user named.
        tiles: its rasters; where they overlap, the first by name wins.
        place: where all of them lie; the transform is that of the first.
        dtype: of the pixels.
        taken: date and time that the file states, if any.
    """

    path: Path
    tiles: tuple[Tile, ...]
    place: Place
    dtype: str
    taken: str | None


def open_tile(path: Path) -> Any:  # noqa: ANN401
    """Open a raster for reading with the one driver that its ending names.

    Raises:
        DataError: its overviews or its mask lie in a file that is no TIFF, or in one of another name. GDAL would open
            that with any driver.
    """
    for beside in (path.with_name(path.name + ending) for ending in _BESIDE):
        if beside.is_file() and not _is_tiff(beside):
            raise _led_away(beside, "another format than TIFF")
    # Without a list of the folder, GDAL looks for the names above and not for such as .Ovr.
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
        raster = rasterio.open(path, driver=DRIVERS[path.suffix.lower()])
    if elsewhere := raster.tags(ns="OVERVIEWS").get("OVERVIEW_FILE"):
        raster.close()
        raise _led_away(path, f"overviews in {elsewhere}")
    return raster


def _led_away(path: Path, found: str) -> DataError:
    return DataError(
        str(path),
        found=found,
        allowed="overviews and masks as TIFF, in the image or beside it in a file of its name",
        remedy="remove that file, or write the image again with gdal_translate -of COG",
    )


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in _TIFF_HEADS


def read_source(path: Path, bands: tuple[int, int, int] | None = None) -> Source:
    """Look at the headers of one date; no pixel is decoded.

    Args:
        path: a GeoTIFF, a VRT, or a folder of GeoTIFF tiles.
        bands: numbers of red, green and blue; `None` as the colour interpretation says, else the first three.

    Raises:
        DataError: missing, not readable, not to be trusted, without a coordinate reference system, too few bands, tiles
            that differ in any of these.
    """
    files = _files(path)
    read = [_read_header(file, bands) for file in files]
    tiles = tuple(tile for tile, _, _ in read)
    first, dtype, taken = read[0]
    for tile, kind, _ in read:
        if (tile.place.crs, kind) != (first.place.crs, dtype):
            raise DataError(
                str(tile.path),
                found=f"{tile.place.crs} and {kind}",
                allowed=f"{first.place.crs} and {dtype}, as {first.path.name} beside it",
                remedy="put tiles of one image in one folder",
            )
    outline = shapely.union_all([tile.place.outline for tile in tiles])
    return Source(path, tiles, Place(first.place.crs, outline, first.place.transform), dtype, taken)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in _TILES)
        found = "a folder without any"
    else:
        files = [path] if path.is_file() and path.suffix.lower() in DRIVERS else []
        found = f"a {path.suffix or 'nameless'} file" if path.is_file() else "no such file or folder"
    if not files:
        raise DataError(
            str(path),
            found=found,
            allowed="a GeoTIFF (.tif, .tiff), a .vrt, or a folder of GeoTIFF tiles",
            remedy="check the path, or convert the image to GeoTIFF",
        )
    return files


def _read_header(path: Path, bands: tuple[int, int, int] | None) -> tuple[Tile, str, str | None]:
    try:
        if path.suffix.lower() == ".vrt":
            check_vrt(path)
        with open_tile(path) as raster:
            place = Place(
                _crs_of(path, raster.crs), edge(raster.transform, raster.width, raster.height), raster.transform
            )
            chosen = _choose_bands(path, raster, bands)
            return Tile(path, chosen, place), raster.dtypes[chosen[0] - 1], raster.tags().get("TIFFTAG_DATETIME")
    except RasterioError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: RasterioError) -> DataError:
    """Return the sentence for a raster whose header or pixels cannot be read."""
    return DataError(
        str(path),
        found=f"a file that cannot be read ({error.__cause__ or error})",
        allowed="a whole GeoTIFF, or a VRT of such",
        remedy="restore the file, or convert the image to GeoTIFF",
    )


def _crs_of(path: Path, crs: CRS | None) -> CRS:
    if not crs or not is_on_earth(crs):
        raise DataError(
            str(path),
            found=f"{crs}, a system without a place on Earth" if crs else "no coordinate reference system",
            allowed="a georeferenced raster",
            remedy="assign the true one, for example with rio edit-info --crs EPSG:32615",
        )
    return crs


def _choose_bands(path: Path, raster: Any, bands: tuple[int, int, int] | None) -> tuple[int, int, int]:  # noqa: ANN401
    count = raster.count
    if bands is None:
        meaning = list(raster.colorinterp)
        known = all(colour in meaning for colour in _RGB)
        red, green, blue = (meaning.index(colour) + 1 for colour in _RGB) if known else (1, 2, 3)
        bands = red, green, blue
    if count < 3 or max(bands) > count:
        raise DataError(
            str(path),
            found=f"{count} band{'s' if count > 1 else ''}",
            allowed="red, green and blue" if count < 3 else f"band numbers up to {count}, not {max(bands)}",
            remedy="use the colour image" if count < 3 else "correct inference.images.pre_bands or post_bands",
        )
    return bands


def check_vrt(path: Path) -> None:
    """Refuse a VRT that reaches for anything but GeoTIFFs below its own folder.

    Raises:
        DataError: such a VRT.
    """
    if path.stat().st_size > _VRT_BYTES:
        raise _distrusted(path, "too much text")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise _distrusted(path, "text that is not UTF-8") from error
    lower = text.lower()
    if "<!" in text or "subclass" in lower:
        raise _distrusted(path, "comments or pixel functions")
    named = _SOURCE.findall(text)
    # GDAL also takes attributes and torn tags for sources: whatever is not plain is refused.
    if not named or len(re.findall("sourcefilename|sourcedataset", lower)) != 2 * len(named):
        raise _distrusted(path, "no plain sources")
    for said, name in dict.fromkeys((said, unescape(name)) for said, name in named):
        file = (path.parent / name).resolve()
        below = path.parent.resolve() in file.parents and file.is_file()
        # GDAL skips a space before a name and not one behind it.
        if file.suffix.lower() not in _TILES or not below or name != name.strip():
            raise _distrusted(path, f"the source {name!r}")
        if not Path(name).is_absolute() and _RELATIVE.findall(said) != ["1"]:
            raise _distrusted(path, f'the source {name!r} without relativeToVRT="1", so relative to any current folder')
        with open_tile(file):  # refuses what is named .tif and is something else
            pass


def _distrusted(path: Path, found: str) -> DataError:
    return DataError(
        str(path),
        found=f"a VRT with {found}",
        allowed="a mosaic of GeoTIFFs that lie in its own folder or below",
        remedy="build it with gdalbuildvrt beside its tiles, or name the folder of tiles instead",
    )
