"""One label JSON ↔ its buildings and metadata.

msgspec decodes typed structs straight from bytes and skips every key that is not named here; that is what makes a label
cost a tenth of a millisecond. Geometry stays WKT text until somebody needs a polygon: most readers never do.
"""

from __future__ import annotations

import json
from typing import Final

import msgspec

from xview2_siamese_unet.damage import SUBTYPES, Damage
from xview2_siamese_unet.errors import LabelError
from xview2_siamese_unet.xbd.names import Phase


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
    """One building of one date.

    Attributes:
        uid: joins the two dates; geometry does not (it differs between them in every scene).
        xy: polygon in pixels of the image, x to the right and y down, as WKT; may reach over the edge.
        damage: what the post-disaster label says; `None` in a pre-disaster label, which says nothing.
        lng_lat: the same polygon in degrees (WGS 84), as WKT; `None` where the reader did not ask for it.
    """

    uid: str
    xy: str
    damage: Damage | None = None
    lng_lat: str | None = None


class Label(msgspec.Struct, frozen=True):
    """What one label file says."""

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


_PIXELS: Final = msgspec.json.Decoder(_PixelFile)
_WHOLE: Final = msgspec.json.Decoder(_WholeFile)


def parse_label(data: bytes, phase: Phase, *, where: str, georeferenced: bool = False) -> Label:
    """Return what a label file says.

    Args:
        data: the bytes of the file, UTF-8, UTF-16 or UTF-32, with or without a byte order mark.
        phase: the date it belongs to; only a post-disaster label has subtypes.
        where: name for error messages.
        georeferenced: also read the polygons in degrees.

    Raises:
        LabelError: not JSON, a key missing or of another type, a feature that is no building, an unknown or missing
            subtype, a uid twice, `features.lng_lat` and `features.xy` that do not list the same buildings.
    """
    try:
        encoding = json.detect_encoding(data)
        text = data if encoding == "utf-8" else data.decode(encoding)
        file = _WHOLE.decode(text) if georeferenced else _PIXELS.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LabelError(
            where,
            found=f"text that is no xBD label ({error})",
            allowed="JSON with features.lng_lat, features.xy and metadata as in the xBD download",
            remedy="restore the file from the download, or set data_processing.on_problem: skip",
        ) from error
    features = file.features
    if other := next((f.properties for f in features.xy if f.properties.feature_type != "building"), None):
        raise LabelError(
            f"{where} has a feature of type {other.feature_type!r} ({other.uid}), which is no building.",
            hint="Correct the label, or set data_processing.on_problem: skip.",
        )
    degrees = _degrees(features, where) if isinstance(features, _AllFeatures) else {}
    buildings = tuple(
        Building(f.properties.uid, f.wkt, _damage(f.properties, phase, where), degrees.get(f.properties.uid))
        for f in features.xy
    )
    if len({b.uid for b in buildings}) != len(buildings):
        raise LabelError(
            where,
            found="the same uid on two buildings",
            allowed="each uid once in a file",
            remedy="restore the file from the download, or set data_processing.on_problem: skip",
        )
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
            where,
            found=f"subtype {properties.subtype!r} on building {properties.uid}",
            allowed=", ".join(SUBTYPES),
            remedy="correct the label, or set data_processing.on_problem: skip",
        )
    return damage


def _degrees(features: _AllFeatures, where: str) -> dict[str, str]:
    degrees = {f.properties.uid: f.wkt for f in features.lng_lat}
    if len(features.lng_lat) != len(features.xy) or degrees.keys() != {f.properties.uid for f in features.xy}:
        raise LabelError(
            where,
            found=f"{len(features.lng_lat)} buildings in features.lng_lat and {len(features.xy)} in features.xy",
            allowed="the same uids in both",
            remedy="restore the file from the download, or set data_processing.on_problem: skip",
        )
    return degrees
