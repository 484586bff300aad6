"""One label JSON: its metadata, its buildings, and their polygons.

msgspec decodes typed structs from bytes and skips every key that is not named here, so that a label takes a tenth of a
millisecond. Geometry stays WKT until `parse_polygons`: most readers never need polygons.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import shapely

from xview2_siamese_unet.damage import SUBTYPES, Damage
from xview2_siamese_unet.errors import LabelError
from xview2_siamese_unet.xbd.scenes import Phase


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The `metadata` object of a label: one image, as the provider describes it.

    `gsd` and `pan_resolution` describe the sensor, not the pixels of the PNG (those measure 0.45 to 0.50 m).
    """

    sensor: str = ""
    provider_asset_type: str = ""
    gsd: float = 0.0
    capture_date: str = ""
    off_nadir_angle: float = 0.0
    pan_resolution: float = 0.0
    sun_azimuth: float = 0.0
    sun_elevation: float = 0.0
    target_azimuth: float = 0.0
    disaster: str
    disaster_type: str
    catalog_id: str = ""
    original_width: int = 0
    original_height: int = 0
    width: int
    height: int
    id: str = ""
    img_name: str


class Building(msgspec.Struct, frozen=True):
    """One building in one image.

    Attributes:
        uid: joins the buildings of both labels; geometry does not, because it differs in every scene.
        xy: polygon in pixels of the image, x to the right and y down, as WKT; may reach over the edge.
        damage: class of a post-disaster label; `None` in a pre-disaster label.
        lng_lat: the same polygon in degrees (WGS 84), as WKT; `None` if the reader did not ask for it.
    """

    uid: str
    xy: str
    damage: Damage | None = None
    lng_lat: str | None = None


class Label(msgspec.Struct, frozen=True):
    """The content of one label file."""

    metadata: Metadata
    buildings: tuple[Building, ...]


class _Properties(msgspec.Struct, omit_defaults=True):
    feature_type: str
    uid: str
    subtype: str | None = None


class _Feature(msgspec.Struct):
    properties: _Properties
    wkt: str


class _PixelFeatures(msgspec.Struct):
    xy: list[_Feature]


class _AllFeatures(msgspec.Struct):
    lng_lat: list[_Feature]
    xy: list[_Feature]


class _PixelFile(msgspec.Struct):
    features: _PixelFeatures
    metadata: Metadata


class _WholeFile(msgspec.Struct):
    features: _AllFeatures
    metadata: Metadata


PolygonArray = npt.NDArray[np.object_]
_PIXELS: Final = msgspec.json.Decoder(_PixelFile)
_WHOLE: Final = msgspec.json.Decoder(_WholeFile)
_RESTORE: Final = "Restore the file from the download, or set data_processing.on_problem: skip."
_CORRECT: Final = "Correct the label, or set data_processing.on_problem: skip."
_FARTHEST: Final = 1e7
"""Larger coordinates, in pixels or in degrees, are typing errors and soon overflow."""
_POLYGONS: Final = (int(shapely.GeometryType.POLYGON), int(shapely.GeometryType.MULTIPOLYGON))


def parse_label(data: bytes, phase: Phase, *, where: str, georeferenced: bool = False) -> Label:
    """Return the content of a label file.

    Args:
        data: the bytes of the file, UTF-8, UTF-16 or UTF-32, with or without a byte order mark.
        phase: of its image; only a post-disaster label has subtypes.
        where: name for error messages.
        georeferenced: also read the polygons in degrees.

    Raises:
        LabelError: not JSON, a key missing or of another type, a feature that is not a building, an unknown or missing
            subtype, a uid twice, `features.lng_lat` and `features.xy` that do not list the same buildings.
    """
    try:
        encoding = json.detect_encoding(data)
        text = data if encoding == "utf-8" else data.decode(encoding)
        file = _WHOLE.decode(text) if georeferenced else _PIXELS.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LabelError(
            f"{where} is not an xBD label, which is JSON with features.lng_lat, features.xy and metadata ({error}).",
            hint=_RESTORE,
        ) from error
    features = file.features
    if other := next((f.properties for f in features.xy if f.properties.feature_type != "building"), None):
        raise LabelError(
            f"{where} has a feature of type {other.feature_type!r} ({other.uid}), which is not a building.",
            hint=_CORRECT,
        )
    degrees = _degrees(features, where) if isinstance(features, _AllFeatures) else {}
    buildings = tuple(
        Building(f.properties.uid, f.wkt, _damage(f.properties, phase, where), degrees.get(f.properties.uid))
        for f in features.xy
    )
    if len({b.uid for b in buildings}) != len(buildings):
        raise LabelError(f"{where} has the same uid on two buildings.", hint=_RESTORE)
    return Label(file.metadata, buildings)


def format_label(label: Label, phase: Phase) -> bytes:
    """Return the bytes of a label file, in the layout of the download; the inverse of `parse_label`."""
    features = _AllFeatures(
        lng_lat=[_Feature(_properties(b, phase), b.lng_lat or "") for b in label.buildings],
        xy=[_Feature(_properties(b, phase), b.xy) for b in label.buildings],
    )
    return msgspec.json.encode(_WholeFile(features, label.metadata))


def _properties(building: Building, phase: Phase) -> _Properties:
    subtype = building.damage.word if phase == "post" and building.damage is not None else None
    return _Properties("building", building.uid, subtype)


def _damage(properties: _Properties, phase: Phase, where: str) -> Damage | None:
    if phase == "pre":
        return None
    damage = SUBTYPES.get(properties.subtype or "")
    if damage is None:
        raise LabelError(
            f"{where} has subtype {properties.subtype!r} on building {properties.uid}, none of {', '.join(SUBTYPES)}.",
            hint=_CORRECT,
        )
    return damage


def _degrees(features: _AllFeatures, where: str) -> dict[str, str]:
    degrees = {f.properties.uid: f.wkt for f in features.lng_lat}
    if len(features.lng_lat) != len(features.xy) or degrees.keys() != {f.properties.uid for f in features.xy}:
        raise LabelError(
            f"{where} has {len(features.lng_lat)} buildings in features.lng_lat and {len(features.xy)} in features.xy, "
            "or other uids.",
            hint=_RESTORE,
        )
    return degrees


def parse_polygons(wkt: Sequence[str], where: str) -> PolygonArray:
    """Return the polygons of WKT texts, (n,) shapely geometries; a ring may cross itself.

    Raises:
        LabelError: a text that is not a polygon, is empty, or has a coordinate that is not finite or far too large.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # of coordinates written nan or 1E310, refused below
        polygons: PolygonArray = shapely.from_wkt(np.asarray(wkt, dtype=object), on_invalid="ignore")
    usable = np.isin(shapely.get_type_id(polygons), _POLYGONS) & ~shapely.is_empty(polygons)
    coordinates, owners = shapely.get_coordinates(polygons, return_index=True)
    strange = ~(np.abs(coordinates) < _FARTHEST).all(axis=1)  # so written, NaN is strange as well
    usable[owners[strange]] = False
    if not usable.all():
        raise LabelError(
            f"{where} has geometry {wkt[int(np.argmin(usable))][:60]!r}, not POLYGON ((x y, x y, x y, …)) with finite "
            "numbers.",
            hint=_CORRECT,
        )
    return polygons
