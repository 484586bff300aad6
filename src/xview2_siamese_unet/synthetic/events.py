"""The invented disasters of the sample: where they struck, what grows and stands there, and what they leave behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from xview2_siamese_unet.config.dataset import Tier
from xview2_siamese_unet.synthetic.canvas import Rgb

Water = Literal["none", "river", "pond", "coast"]


@dataclass(frozen=True, slots=True)
class Hazard:
    """What one kind of disaster does.

    Attributes:
        word: xBD's `disaster_type`.
        cover: colour of what it spreads over the ground.
        spread: how much of the ground it hides at its worst, from 0 to 1.
        is_liquid: whether the cover lies flat, as water and mud do.
        is_front: whether it comes from one side, as a fire does, rather than along a track, as a storm does.
        debris: colours of rubble.
        patches: colours of a roof where its cover is gone or mended.
        tree_loss: share of the trees that it fells at its worst.
        burns: whether it chars the trees that stay.
    """

    word: str
    cover: Rgb
    spread: float
    is_liquid: bool
    is_front: bool
    debris: tuple[Rgb, ...]
    patches: tuple[Rgb, ...]
    tree_loss: float
    burns: bool = False


@dataclass(frozen=True, slots=True)
class Climate:
    """Colours of a region."""

    grass: Rgb
    soil: Rgb
    tree: Rgb
    roofs: tuple[Rgb, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One disaster: its name, what it does, and where; longitude and latitude in degrees, EPSG of their UTM zone."""

    name: str
    hazard: Hazard
    climate: Climate
    epsg: int
    longitude: float
    latitude: float
    waters: tuple[Water, ...]


_TARP: Final = (0.17, 0.37, 0.70)
_PLY: Final = (0.74, 0.62, 0.44)
_FELT: Final = (0.17, 0.16, 0.16)
_TIMBER: Final = ((0.74, 0.64, 0.50), (0.52, 0.43, 0.34), (0.80, 0.79, 0.76), (0.30, 0.27, 0.25), (0.58, 0.57, 0.56))
_STONE: Final = ((0.66, 0.63, 0.58), (0.50, 0.47, 0.43), (0.80, 0.77, 0.72), (0.34, 0.31, 0.29), (0.60, 0.48, 0.40))
_ASH: Final = ((0.62, 0.61, 0.60), (0.20, 0.19, 0.19), (0.36, 0.34, 0.33), (0.76, 0.75, 0.73), (0.40, 0.33, 0.28))
_SILT: Final = ((0.56, 0.49, 0.40), (0.42, 0.36, 0.29), (0.70, 0.66, 0.60), (0.33, 0.28, 0.23), (0.62, 0.54, 0.42))

_WIND: Final = Hazard("wind", (0.55, 0.50, 0.40), 0.35, False, False, _TIMBER, (_TARP, _TARP, _PLY, _FELT), 0.6)
_FIRE: Final = Hazard(
    "fire", (0.16, 0.14, 0.13), 0.85, False, True, _ASH, (_FELT, _FELT, (0.33, 0.28, 0.25)), 0.25, True
)
_FLOOD: Final = Hazard("flooding", (0.50, 0.42, 0.31), 0.97, True, True, _SILT, (_TARP, _PLY, _FELT), 0.1)
_QUAKE: Final = Hazard("earthquake", (0.63, 0.58, 0.50), 0.40, False, False, _STONE, (_TARP, _FELT, _FELT, _PLY), 0.0)
_WAVE: Final = Hazard("tsunami", (0.44, 0.38, 0.31), 0.90, True, True, _SILT + _TIMBER[:2], (_FELT, _PLY, _TARP), 0.6)
_VOLCANO: Final = Hazard("volcano", (0.34, 0.32, 0.31), 0.90, True, True, _ASH, (_FELT, (0.40, 0.38, 0.37), _PLY), 0.4)

_SHINGLES: Final[tuple[Rgb, ...]] = (
    (0.46, 0.43, 0.41),
    (0.36, 0.34, 0.34),
    (0.54, 0.46, 0.39),
    (0.62, 0.59, 0.55),
    (0.74, 0.73, 0.71),
    (0.44, 0.33, 0.29),
)
_TILES: Final[tuple[Rgb, ...]] = (
    (0.62, 0.40, 0.30),
    (0.55, 0.36, 0.29),
    (0.68, 0.55, 0.44),
    (0.70, 0.67, 0.62),
    (0.55, 0.51, 0.47),
    (0.80, 0.78, 0.74),
)
_SHEETS: Final[tuple[Rgb, ...]] = (
    (0.50, 0.34, 0.27),
    (0.58, 0.57, 0.57),
    (0.36, 0.45, 0.55),
    (0.72, 0.72, 0.71),
    (0.58, 0.30, 0.26),
    (0.42, 0.48, 0.42),
)

_MILD: Final = Climate((0.35, 0.40, 0.24), (0.52, 0.46, 0.36), (0.16, 0.24, 0.12), _SHINGLES)
_DRY: Final = Climate((0.51, 0.47, 0.33), (0.63, 0.54, 0.42), (0.23, 0.27, 0.16), _TILES)
_LUSH: Final = Climate((0.30, 0.40, 0.21), (0.55, 0.41, 0.30), (0.12, 0.25, 0.11), _SHEETS)

_SHARED: Final = (
    Event("sample-hurricane", _WIND, _MILD, 32616, -85.61, 30.19, ("none", "coast", "pond")),
    Event("sample-wildfire", _FIRE, _DRY, 32610, -122.71, 38.46, ("none", "none", "pond")),
    Event("sample-flooding", _FLOOD, _MILD, 32646, 90.42, 24.31, ("river", "river", "pond")),
    Event("sample-earthquake", _QUAKE, _DRY, 32637, 36.92, 37.58, ("none", "river", "none")),
    Event("sample-tsunami", _WAVE, _LUSH, 32750, 119.86, -0.88, ("coast", "coast", "river")),
)
_TIER3: Final = (
    Event("sample-tornado", _WIND, _MILD, 32615, -94.51, 37.07, ("none", "pond", "river")),
    Event("sample-bushfire", _FIRE, _DRY, 32755, 149.52, -36.42, ("none", "pond", "none")),
    Event("sample-volcano", _VOLCANO, _LUSH, 32628, -17.87, 28.61, ("none", "coast", "none")),
)
EVENTS: Final[dict[Tier, tuple[Event, ...]]] = {"tier1": _SHARED, "tier3": _TIER3, "hold": _SHARED, "test": _SHARED}
"""As in xBD, tier1, hold and test see the same disasters, and tier3 others."""
