"""One image of a pair: a GeoTIFF, a VRT or a folder of GeoTIFF tiles, and its headers.

Each file opens with the driver that its ending names. A VRT is text that may name anything: its sources must be
GeoTIFFs in its own folder or below.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, Final

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
from xview2_siamese_unet.raster.grid import (
    Extent,
    horizontal_crs,
    is_on_earth,
    pixel_size,
    raster_outline,
    reproject,
)

SOURCE_DRIVERS: Final = {".tif": "GTiff", ".tiff": "GTiff", ".vrt": "VRT"}
_TIFF: Final = (".tif", ".tiff")
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
_USABLE_DATA_MASKS: Final = {"clouds", "udm", "udm2"}  # of several bands
_LISTED: Final = 6  # names in a message
_SIDECARS: Final = (".ovr", ".msk", ".OVR", ".MSK")
_TIFF_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_VRT_BYTES: Final = 20_000_000
_VRT_SOURCE: Final = re.compile(
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
    """One raster of an image.

    Attributes:
        path: of its file.
        bands: numbers of red, green and blue.
        extent: its outline and transform.
        dtype: of the pixels, floating-point where they are scaled.
        no_data: value that it declares as no data, for each of the three bands.
        scales: scale and offset that it declares, for each of the three bands.
        lossy: whether compression has changed its bytes.
        fills: values of pixels without data that it does not declare.
        taken: date and time that the file states, if any.
        guessed: number of its bands, if no metadata names red, green and blue.
    """

    path: Path
    bands: tuple[int, int, int]
    extent: Extent
    dtype: str
    no_data: tuple[float | None, ...] = (None, None, None)
    scales: tuple[tuple[float, float], ...] = ((1.0, 0.0),) * 3
    lossy: bool = False
    fills: tuple[float, ...] = ()
    taken: str | None = None
    guessed: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """One image.

    Attributes:
        path: as the user named it.
        tiles: its rasters; where they overlap, the first by name wins.
        extent: of all of them; system and transform are those of the first or the finest.
        dtype: of the pixels, floating-point where they are scaled.
        taken: date and time that the file states, if any.
        warnings: what was assumed or left out.
    """

    path: Path
    tiles: tuple[Tile, ...]
    extent: Extent
    dtype: str
    taken: str | None
    warnings: tuple[str, ...] = ()


def read_source(path: Path, bands: tuple[int, int, int] | None = None) -> Source:
    """Read the headers of one image; no pixel is decoded.

    Without `bands`, red, green and blue are those of the colour interpretation, else the first three.

    Raises:
        DataError: missing, not readable, unsafe, without a georeference, too few bands, tiles of several types.
    """
    files, messages = _image_files(path)
    tiles, grey = _read_tiles(files, bands)
    if grey:
        messages.append(_left_out(path, grey, len(files), "fewer than three bands"))
    for tile in tiles:
        if tile.dtype != tiles[0].dtype:
            raise DataError(
                f"{tile.path} is {tile.dtype}, but {tiles[0].path.name} in the same folder is {tiles[0].dtype}.",
                hint="Keep the tiles of one image in a separate folder, or name the one file to read.",
            )
    first, sizes = tiles[0], [pixel_size(tile.extent, tiles[0].extent.crs) for tile in tiles]
    if max(sizes) > _ONE_SIZE * min(sizes):
        first = tiles[int(np.argmin(sizes))]
        messages.append(
            f"the pixels of the tiles in {path.name} differ by a factor of {max(sizes) / min(sizes):.2g}: "
            "the image has the finest"
        )
    crs = first.extent.crs
    outlines = [reproject(tile.extent.outline, tile.extent.crs, crs) for tile in tiles]
    messages += [*_guessed_bands(path, tiles), *_hidden_tiles(path, outlines)]
    extent = Extent(crs, shapely.union_all(outlines), first.extent.transform)
    return Source(path, tuple(tiles), extent, first.dtype, first.taken, tuple(messages))


def _image_files(path: Path) -> tuple[list[Path], list[str]]:
    """Return the files of an image by name, and warnings about files that are left out.

    Hidden files and those of file managers (`._tile.tif`, `.DS_Store`, `Thumbs.db`) are not tiles. Subfolders are
    searched if the folder itself holds no GeoTIFF. In a vendor's delivery, the rasters named `visual` are used.
    """
    if not path.is_dir():
        if not (path.is_file() and path.suffix.lower() in SOURCE_DRIVERS):
            raise _unusable(path)
        return [path], []
    tiles, messages = _tiffs(path, path.iterdir()), []
    # Links to folders are followed at the first level; what lies outside is not read.
    inside, deeper = path.resolve(), _tiffs(path, path.glob("*/*" if tiles else "*/**/*"))
    every = [*tiles, *(tile for tile in deeper if inside in tile.resolve().parents)]
    if outside := {_link(tile) for tile in {*deeper} - {*every}}:
        names = ", ".join(sorted(link.name for link in outside)[:_LISTED])
        messages.append(f"{len(outside)} links in {path.name} lead out of it and were not followed: {names}")
    if tiles and len(every) > len(tiles):
        below = len(every) - len(tiles)
        messages.append(f"{below} of {len(every)} GeoTIFFs of {path.name} lie in folders below it: not read")
    tiles = tiles or every
    visual = [tile for tile in tiles if "visual" in _words(tile)]
    kept = visual or [tile for tile in tiles if not _USABLE_DATA_MASKS & _words(tile)] or tiles
    if not kept:
        raise _unusable(path, messages)
    if len(kept) < len(tiles):
        reason = "not named visual" if visual else "masks by their names"
        messages.append(_left_out(path, sorted({*tiles} - {*kept}), len(tiles), reason))
    return kept, messages


def _left_out(path: Path, files: list[Path], count: int, reason: str) -> str:
    names = ", ".join(dict.fromkeys(file.name for file in files[:_LISTED])) + (", …" if len(files) > _LISTED else "")
    return f"{len(files)} of {count} rasters in {path.name} were left out ({reason}): {names}"


def _tiffs(folder: Path, files: Iterable[Path]) -> list[Path]:
    named = (file for file in files if file.suffix.lower() in _TIFF)
    shown = (file for file in named if not any(part.startswith(".") for part in file.relative_to(folder).parts))
    return sorted(file for file in shown if file.is_file())


def _words(file: Path) -> set[str]:
    return {*re.split(r"[^a-z0-9]+", file.stem.lower())}


def _link(file: Path) -> Path:
    return next(path for path in (file, *file.parents) if path.is_symlink())


def _unusable(path: Path, messages: Sequence[str] = ()) -> DataError:
    if path.is_dir():
        endings = Counter(file.suffix.lower() for file in path.iterdir() if not file.name.startswith("."))
        other = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(_LISTED) if ending)
        hint = "Name a GeoTIFF (.tif, .tiff), a VRT (.vrt) or a folder of GeoTIFF tiles."
        return DataError(f"{path} holds no GeoTIFF{f' ({other})' if other else ''}.", hint=" ".join([hint, *messages]))
    ending = path.suffix.lower()
    if not path.is_file():
        return DataError(f"{path}: no such file or folder.", hint="Check the path.")
    if ending in _ARCHIVES:
        return DataError(f"{path} is an archive.", hint="Unpack it, and name the GeoTIFF or the folder of tiles in it.")
    kind = _FORMATS.get(ending, ending or "nameless")
    return DataError(
        f"{path} is a {kind} file; GeoTIFF (.tif, .tiff) and VRT (.vrt) are read.",
        hint=f"Convert it: rio convert {path.name} {path.stem}.tif, or gdal_translate for formats that rio lacks.",
    )


class _NoColourError(DataError):
    """A raster of one or two bands: next to colour images, a mask or a panchromatic band."""


def _read_tiles(files: list[Path], bands: tuple[int, int, int] | None) -> tuple[list[Tile], list[Path]]:
    """Return the colour images, and the files with too few bands next to them."""
    tiles, grey, refused = [], [], None
    for file in files:
        try:
            tiles.append(_read_tile(file, bands))
        except _NoColourError as error:
            refused = refused or error
            grey.append(file)
    if refused is not None and not tiles:
        raise refused
    return tiles, grey


def _guessed_bands(path: Path, tiles: list[Tile]) -> Iterator[str]:
    guessed = [tile for tile in tiles if tile.guessed > 3]
    if guessed:
        yield (
            f"{len(guessed)} of {len(tiles)} rasters of {path.name} do not name the colours of their "
            f"{guessed[0].guessed} bands: 1, 2, 3 were read as red, green, blue. "
            "Many satellites order blue, green, red: set inference.images.pre_bands and post_bands"
        )


def _hidden_tiles(path: Path, outlines: list[BaseGeometry]) -> Iterator[str]:
    """Warn of tiles that are wholly covered by others: the folder may hold two images."""
    tree, hidden = shapely.STRtree(outlines), 0
    for number, outline in enumerate(outlines):
        earlier = [outlines[other] for other in tree.query(outline) if other < number]
        hidden += bool(earlier) and outline.difference(shapely.union_all(earlier)).area < 0.01 * outline.area
    if hidden:
        yield (
            f"{hidden} of {len(outlines)} tiles in {path.name} lie within tiles whose names come first, "
            "and are used only where those hold no data. Does the folder hold several images?"
        )


def _read_tile(path: Path, bands: tuple[int, int, int] | None) -> Tile:
    try:
        lossy = path.suffix.lower() == ".vrt" and check_vrt(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # raised as an error below
            raster = open_raster(path)
        with raster:
            extent = _extent_of(path, raster)
            chosen, guessed = _choose_bands(path, raster, bands)
            dtypes = {raster.dtypes[band - 1] for band in chosen}
            if unusual := sorted(kind for kind in dtypes if kind.startswith("complex") or kind == "int8"):
                raise DataError(
                    f"{path} holds {unusual[0]} values, which are not colours.", hint="Name the colour image."
                )
            scales = tuple((raster.scales[band - 1], raster.offsets[band - 1]) for band in chosen)
            scaled = any(each != (1, 0) for each in scales)
            return Tile(
                path,
                chosen,
                extent,
                dtype="float32" if scaled or len(dtypes) > 1 else min(dtypes),
                no_data=tuple(raster.nodatavals[band - 1] for band in chosen),
                scales=scales,
                lossy=dtypes == {"uint8"} and (lossy or raster.compression in _LOSSY),
                taken=raster.tags().get("TIFFTAG_DATETIME"),
                guessed=guessed,
            )
    except RasterioError as error:
        raise unreadable_raster(path, error) from error


def open_raster(path: Path) -> Any:  # noqa: ANN401
    """Open a raster for reading with the one driver that its ending names.

    Raises:
        DataError: its overviews or its mask lie in another file, which GDAL would open with any driver.
    """
    for sidecar in (path.with_name(path.name + ending) for ending in _SIDECARS):
        if sidecar.is_file():
            with sidecar.open("rb") as file:
                if file.read(4) not in _TIFF_MAGIC:
                    raise _foreign_overviews(f"{sidecar} is not a TIFF.")
    # Without a list of the folder, GDAL looks for the names above and not for such as .Ovr.
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"):
        # An absolute path: GDAL takes a name that begins with GTIFF_DIR: for an address.
        raster = rasterio.open(path.absolute(), driver=SOURCE_DRIVERS[path.suffix.lower()])
    if elsewhere := raster.tags(ns="OVERVIEWS").get("OVERVIEW_FILE"):
        raster.close()
        raise _foreign_overviews(f"{path} has its overviews in {elsewhere}.")
    return raster


def _foreign_overviews(message: str) -> DataError:
    return DataError(
        f"{message} Overviews and masks must be TIFF, in the image or next to it in a file of its name.",
        hint="Remove that file, or write the image again with gdal_translate -of COG.",
    )


def unreadable_raster(path: Path, error: RasterioError) -> DataError:
    """Return the error of a raster whose header or pixels cannot be read."""
    return DataError(
        f"{path} cannot be read ({error.__cause__ or error}).",
        hint="Copy the file again; if its first bytes are not those of a TIFF, convert the image to GeoTIFF.",
    )


def _extent_of(path: Path, raster: Any) -> Extent:  # noqa: ANN401
    """Return the extent of a raster, from its transform or from regular ground control points."""
    transform, crs = raster.transform, raster.crs
    points, system = raster.gcps
    if transform.is_identity and points:
        transform, crs = _fit_control_points(path, points, system), system
    if transform.is_identity or transform.is_degenerate:
        raise _no_transform(path, crs, has_rpc=raster.rpcs is not None)
    if not crs or not is_on_earth(crs):
        missing = "no coordinate reference system."
        if crs:
            name = pyproj.CRS.from_wkt(crs.to_wkt()).name
            missing = f"a coordinate reference system without a position on Earth: {name}."
        raise DataError(
            f"{path} has {missing}", hint="Assign the true one, for example with rio edit-info --crs EPSG:32615."
        )
    return Extent(horizontal_crs(crs), raster_outline(transform, raster.width, raster.height), transform)


def _no_transform(path: Path, crs: CRS | None, *, has_rpc: bool) -> DataError:
    if has_rpc:
        return DataError(
            f"{path} is not orthorectified: it has rational polynomial coefficients (RPC) in place of a transform.",
            hint="Use the orthorectified product, or make one with a height model: "
            f"gdalwarp -rpc -to RPC_DEM=heights.tif {path.name} ortho.tif",
        )
    missing = "no transform (position of its pixels)" if crs else "no coordinate reference system and no transform"
    return DataError(
        f"{path} has {missing}.",
        hint="Export it again as GeoTIFF, or assign what it has lost: "
        "rio edit-info --crs EPSG:32615 --transform '[0.5, 0, LEFT, 0, -0.5, TOP]' FILE",
    )


def _fit_control_points(path: Path, points: Sequence[GroundControlPoint], crs: CRS | None) -> Affine:
    transform = from_gcps(points) if len(points) >= 3 else Affine.identity()
    if not transform.is_degenerate:
        fitted = np.column_stack(~transform @ (np.array([p.x for p in points]), np.array([p.y for p in points])))
        if np.hypot(*(fitted - [(p.col, p.row) for p in points]).T).max() <= _STRAIGHT:
            return transform
    raise DataError(
        f"{path} has {len(points)} ground control points, which do not lie on a straight grid of pixels.",
        hint=f"Warp it first: rio warp {path.name} warped.tif --dst-crs {crs.to_string() if crs else 'EPSG:32615'}",
    )


def _choose_bands(path: Path, raster: Any, bands: tuple[int, int, int] | None) -> tuple[tuple[int, int, int], int]:  # noqa: ANN401
    """Return the numbers of red, green and blue, and among how many bands they were guessed, or 0."""
    count, meaning, guessed = raster.count, list(raster.colorinterp), 0
    if count < 3:
        hint = "Expand its colour table: gdal_translate -expand rgb." if ColorInterp.palette in meaning else ""
        raise _NoColourError(
            f"{path} has {count} band{'s' if count > 1 else ''}; red, green and blue are needed.",
            hint=hint or "Name the colour image.",
        )
    if bands is None:
        named = [str(name).lower() for name in raster.descriptions]
        for labels, colours in ((meaning, _RGB), (named, ("red", "green", "blue"))):
            if all(colour in labels for colour in colours):
                red, green, blue = (labels.index(colour) + 1 for colour in colours)
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
    """Return whether any source of a VRT is lossy.

    Raises:
        DataError: it names anything but GeoTIFFs in its own folder or below.
    """
    if path.stat().st_size > _VRT_BYTES:
        raise _unsafe_vrt(path, "too much text")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise _unsafe_vrt(path, "text that is not UTF-8") from error
    lower = text.lower()
    if "<!" in text or "subclass" in lower:
        raise _unsafe_vrt(path, "comments or pixel functions")
    sources = _VRT_SOURCE.findall(text)
    # GDAL also takes attributes and torn tags for sources: whatever is not plain is refused.
    if not sources or len(re.findall("sourcefilename|sourcedataset", lower)) != 2 * len(sources):
        raise _unsafe_vrt(path, "no plain sources")
    lossy = False
    for attributes, name in dict.fromkeys((attributes, unescape(name)) for attributes, name in sources):
        file = (path.parent / name).resolve()
        below = path.parent.resolve() in file.parents and file.is_file()
        # GDAL skips a space before a name and not one behind it.
        if file.suffix.lower() not in _TIFF or not below or name != name.strip():
            raise _unsafe_vrt(path, f"the source {name!r}")
        if not Path(name).is_absolute() and _RELATIVE.findall(attributes) != ["1"]:
            raise _unsafe_vrt(path, f'the source {name!r} without relativeToVRT="1", so relative to any current folder')
        with open_raster(file) as raster:  # refuses a file named .tif that is something else
            lossy |= raster.compression in _LOSSY
    return lossy


def _unsafe_vrt(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} is a VRT with {reason}; only mosaics of GeoTIFFs in its own folder or below are read.",
        hint="Build it with gdalbuildvrt next to its tiles, or name the folder of tiles instead.",
    )
