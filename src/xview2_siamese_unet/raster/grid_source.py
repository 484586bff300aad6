"""One date of a pair: a GeoTIFF, a VRT or a folder of GeoTIFF tiles, opened only after a look at what it is.

Each file opens with the driver that its ending names. A VRT is text that may name anything: its sources must be
GeoTIFFs below its own folder.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyproj
import rasterio
import shapely
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Compression
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import from_gcps
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.grid import Place, edge, horizontal, is_on_earth, pixel_metres, reproject
from xview2_siamese_unet.raster.tile_files import DRIVERS, TILES, colour_files, left_out

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
_NOT_RGB: Final = {
    *(ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black, ColorInterp.palette),
    *(ColorInterp.hue, ColorInterp.saturation, ColorInterp.lightness, ColorInterp.Y, ColorInterp.Cb, ColorInterp.Cr),
}
_LOSSY: Final = (Compression.jpeg, Compression.webp, Compression.jpeg2000)
_ONE_SIZE: Final = 1.05  # times the smallest; tiles in two UTM zones differ by less
_STRAIGHT: Final = 0.5  # pixels between a control point and the grid through all of them


@dataclass(frozen=True, slots=True)
class Tile:
    """One raster of a date.

    Attributes:
        path: of its file.
        bands: numbers of red, green and blue.
        place: where it lies.
        no_data: value that it declares as no data, for each of the three bands.
        scales: scale and offset that it declares, for each of the three bands.
        lossy: whether compression has changed its bytes.
        fills: values of pixels without data that it does not declare.
    """

    path: Path
    bands: tuple[int, int, int]
    place: Place
    no_data: tuple[float | None, ...] = (None, None, None)
    scales: tuple[tuple[float, float], ...] = ((1.0, 0.0),) * 3
    lossy: bool = False
    fills: tuple[float, ...] = ()

    @property
    def scaled(self) -> bool:
        """Whether its values are to be scaled."""
        return any(each != (1, 0) for each in self.scales)


@dataclass(frozen=True, slots=True)
class Source:
    """One date.

    Attributes:
        path: what the user named.
        tiles: its rasters; where they overlap, the first by name wins.
        place: where all of them lie; system and transform are those of the first or the finest.
        dtype: of the pixels, floating-point where they are scaled.
        taken: date and time that the file states, if any.
        warnings: what was assumed or left out.
    """

    path: Path
    tiles: tuple[Tile, ...]
    place: Place
    dtype: str
    taken: str | None
    warnings: tuple[str, ...] = ()


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
        # From the root on: GDAL takes a name that begins with GTIFF_DIR: for an address.
        raster = rasterio.open(path.absolute(), driver=DRIVERS[path.suffix.lower()])
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


class _NoColourError(DataError):
    """A raster of one or two bands: beside colour images a mask or a panchromatic band."""


class _Header(NamedTuple):
    """What one file declares."""

    tile: Tile
    dtype: str
    taken: str | None
    guessed: int
    """Number of its bands, where nothing says which of them are red, green and blue."""


def read_source(path: Path, bands: tuple[int, int, int] | None = None) -> Source:
    """Look at the headers of one date; no pixel is decoded.

    Args:
        path: a GeoTIFF, a VRT, or a folder of GeoTIFF tiles.
        bands: numbers of red, green and blue; `None` as the colour interpretation says, else the first three.

    Raises:
        DataError: missing, not readable, not to be trusted, without a place, too few bands, tiles of several types.
    """
    files, doubts = colour_files(path)
    headers, grey = _read_headers(files, bands)
    if grey:
        doubts.append(left_out(path, grey, len(files), "fewer than three bands"))
    for header in headers:
        if header.dtype != headers[0].dtype:
            name = headers[0].tile.path.name
            raise DataError(
                f"{header.tile.path} is {header.dtype}, but {name} in the same folder is {headers[0].dtype}.",
                hint="Keep the tiles of one image in a folder of their own, or name the one file to read.",
            )
    sizes = [pixel_metres(header.tile.place, headers[0].tile.place.crs) for header in headers]
    if max(sizes) > _ONE_SIZE * min(sizes):
        doubts.append(
            f"the pixels of the tiles in {path.name} differ by a factor of {max(sizes) / min(sizes):.2g}: "
            "the finest are those of the image"
        )
    first = headers[int(np.argmin(sizes))] if max(sizes) > _ONE_SIZE * min(sizes) else headers[0]
    crs = first.tile.place.crs
    outlines = [reproject(header.tile.place.outline, header.tile.place.crs, crs) for header in headers]
    doubts += [*_guesses(path, headers), *_hidden(path, outlines)]
    place = Place(crs, shapely.union_all(outlines), first.tile.place.transform)
    return Source(path, tuple(header.tile for header in headers), place, first.dtype, first.taken, tuple(doubts))


def _read_headers(files: list[Path], bands: tuple[int, int, int] | None) -> tuple[list[_Header], list[Path]]:
    """Return the headers of colour images, and the files with too few bands beside them."""
    headers, grey, refused = [], [], None
    for file in files:
        try:
            headers.append(_read_header(file, bands))
        except _NoColourError as error:
            refused = refused or error
            grey.append(file)
    if refused is not None and not headers:
        raise refused
    return headers, grey


def _guesses(path: Path, headers: list[_Header]) -> Iterator[str]:
    guessed = [header for header in headers if header.guessed > 3]
    if guessed:
        yield (
            f"{len(guessed)} of {len(headers)} rasters of {path.name} do not name the colours of their "
            f"{guessed[0].guessed} bands: 1, 2, 3 were read as red, green, blue. "
            "Many satellites order blue, green, red: set inference.images.pre_bands and post_bands"
        )


def _hidden(path: Path, outlines: list[BaseGeometry]) -> Iterator[str]:
    """Warn of tiles that lie wholly below others, as where a folder holds two images of one place."""
    tree, hidden = shapely.STRtree(outlines), 0
    for number, outline in enumerate(outlines):
        earlier = [outlines[other] for other in tree.query(outline) if other < number]
        hidden += bool(earlier) and outline.difference(shapely.union_all(earlier)).area < 0.01 * outline.area
    if hidden:
        yield (
            f"{hidden} of {len(outlines)} tiles in {path.name} lie within tiles whose names come first, "
            "and are used only where those hold no data. Does the folder hold several images?"
        )


def _read_header(path: Path, bands: tuple[int, int, int] | None) -> _Header:
    try:
        lossy = path.suffix.lower() == ".vrt" and check_vrt(path)
        with _without_doubt(), open_tile(path) as raster:
            place = _place_of(path, raster)
            chosen, guessed = _choose_bands(path, raster, bands)
            dtypes = {raster.dtypes[band - 1] for band in chosen}
            if unusual := sorted(kind for kind in dtypes if kind.startswith("complex") or kind == "int8"):
                raise DataError(
                    f"{path} holds {unusual[0]} values, which are no colours.", hint="Name the colour image."
                )
            scales = tuple((raster.scales[band - 1], raster.offsets[band - 1]) for band in chosen)
            no_data = tuple(raster.nodatavals[band - 1] for band in chosen)
            lossy = dtypes == {"uint8"} and (lossy or raster.compression in _LOSSY)
            tile = Tile(path, chosen, place, no_data, scales, lossy)
            dtype = "float32" if tile.scaled or len(dtypes) > 1 else dtypes.pop()
            return _Header(tile, dtype, raster.tags().get("TIFFTAG_DATETIME"), guessed)
    except RasterioError as error:
        raise unreadable(path, error) from error


@contextmanager
def _without_doubt() -> Iterator[None]:
    """Leave it to this module to speak about a raster without a place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def unreadable(path: Path, error: RasterioError) -> DataError:
    """Return the sentence for a raster whose header or pixels cannot be read."""
    return DataError(
        f"{path} cannot be read ({error.__cause__ or error}).",
        hint="Copy the file again; if its first bytes are not those of a TIFF, convert the image to GeoTIFF.",
    )


def _place_of(path: Path, raster: Any) -> Place:  # noqa: ANN401
    """Return where a raster lies: by its transform, else by ground control points that lie on a straight grid."""
    transform, crs = raster.transform, raster.crs
    points, system = raster.gcps
    if transform.is_identity and points:
        transform, crs = _through(path, points, system), system
    if transform.is_identity or transform.is_degenerate:
        raise _placeless(path, crs, by_rpc=raster.rpcs is not None)
    crs = _crs_of(path, crs)
    return Place(crs, edge(transform, raster.width, raster.height), transform)


def _placeless(path: Path, crs: CRS | None, *, by_rpc: bool) -> DataError:
    if by_rpc:
        return DataError(
            f"{path} is not orthorectified: it has rational polynomial coefficients (RPC) in place of a transform.",
            hint="Use the orthorectified product, or make one with a height model: "
            f"gdalwarp -rpc -to RPC_DEM=heights.tif {path.name} ortho.tif",
        )
    missing = "no transform (its pixels have no place)" if crs else "no coordinate reference system and no transform"
    return DataError(
        f"{path} has {missing}.",
        hint="Export it again as GeoTIFF, or assign what it has lost: "
        "rio edit-info --crs EPSG:32615 --transform '[0.5, 0, LEFT, 0, -0.5, TOP]' FILE",
    )


def _through(path: Path, points: Sequence[GroundControlPoint], crs: CRS | None) -> Affine:
    places = np.array([(point.col, point.row) for point in points])
    found = from_gcps(points) if len(points) >= 3 else Affine.identity()
    if not found.is_degenerate:
        again = np.column_stack(~found @ (np.array([p.x for p in points]), np.array([p.y for p in points])))
        apart = np.hypot(*(again - places).T).max()
        if apart <= _STRAIGHT:
            return found
    raise DataError(
        f"{path} has {len(points)} ground control points, which lie on no straight grid of pixels.",
        hint=f"Warp it first: rio warp {path.name} warped.tif --dst-crs {crs.to_string() if crs else 'EPSG:32615'}",
    )


def _crs_of(path: Path, crs: CRS | None) -> CRS:
    if not crs:
        raise DataError(
            f"{path} has no coordinate reference system.",
            hint="Assign the true one, for example with rio edit-info --crs EPSG:32615.",
        )
    if not is_on_earth(crs):
        raise DataError(
            f"{path} has a coordinate reference system without a place on Earth: {_name(crs)}.",
            hint="Assign the true one, for example with rio edit-info --crs EPSG:32615.",
        )
    return horizontal(crs)


def _name(crs: CRS) -> str:
    return str(pyproj.CRS.from_wkt(crs.to_wkt()).name)


def _choose_bands(path: Path, raster: Any, bands: tuple[int, int, int] | None) -> tuple[tuple[int, int, int], int]:  # noqa: ANN401
    """Return the numbers of red, green and blue, and how many bands there are where that is a guess, else 0."""
    count, meaning, guessed = raster.count, list(raster.colorinterp), 0
    if count < 3:
        hint = "Expand its colour table: gdal_translate -expand rgb." if ColorInterp.palette in meaning else ""
        raise _NoColourError(
            f"{path} has {count} band{'s' if count > 1 else ''}; red, green and blue are needed.",
            hint=hint or "Name the colour image.",
        )
    if bands is None:
        named = [str(name).lower() for name in raster.descriptions]
        for said, colours in ((meaning, _RGB), (named, ("red", "green", "blue"))):
            if all(colour in said for colour in colours):
                red, green, blue = (said.index(colour) + 1 for colour in colours)
                break
        else:
            red, green, blue = 1, 2, 3
            guessed = sum(kind != ColorInterp.alpha for kind in meaning)
        bands = red, green, blue
    if max(bands) > count:
        raise DataError(
            f"{path} has {count} bands, not {max(bands)}.",
            hint="Correct inference.images.pre_bands or post_bands.",
        )
    if other := [kind.name for kind in (meaning[band - 1] for band in bands) if kind in _NOT_RGB]:
        raise DataError(
            f"{path} holds {', '.join(other)} in place of red, green and blue.", hint="Convert the image to RGB."
        )
    return bands, guessed


def check_vrt(path: Path) -> bool:
    """Refuse a VRT that reaches for anything but GeoTIFFs below its own folder; return whether any is lossy.

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
    lossy = False
    for said, name in dict.fromkeys((said, unescape(name)) for said, name in named):
        file = (path.parent / name).resolve()
        below = path.parent.resolve() in file.parents and file.is_file()
        # GDAL skips a space before a name and not one behind it.
        if file.suffix.lower() not in TILES or not below or name != name.strip():
            raise _distrusted(path, f"the source {name!r}")
        if not Path(name).is_absolute() and _RELATIVE.findall(said) != ["1"]:
            raise _distrusted(path, f'the source {name!r} without relativeToVRT="1", so relative to any current folder')
        with open_tile(file) as raster:  # refuses what is named .tif and is something else
            lossy |= raster.compression in _LOSSY
    return lossy


def _distrusted(path: Path, found: str) -> DataError:
    return DataError(
        str(path),
        found=f"a VRT with {found}",
        allowed="a mosaic of GeoTIFFs that lie in its own folder or below",
        remedy="build it with gdalbuildvrt beside its tiles, or name the folder of tiles instead",
    )
