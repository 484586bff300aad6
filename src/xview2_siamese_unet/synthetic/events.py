"""The invented disasters of the sample, and the list of its scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from xview2_siamese_unet.config.dataset import SampleParams, Tier
from xview2_siamese_unet.synthetic.canvas import Rgb
from xview2_siamese_unet.xbd.scenes import TIERS, SceneId

Shares = tuple[float, float, float, float]
Topic = Literal["layout", "houses", "trees", "ground", "force", "damage", "sky", "pre", "post", "labels"]


@dataclass(frozen=True, slots=True)
class Hazard:
    """What one kind of disaster does.

    Attributes:
        kind: xBD's `disaster_type`.
        cover: colour of what it spreads over the ground.
        spread: share of the ground that this hides at its worst.
        debris: colours of rubble.
        patches: colours of a roof whose cover is gone or repaired.
        tree_loss: share of the trees that it fells at its worst.
        burns: whether it chars the trees that remain.
        is_liquid: whether the cover lies flat, as water and mud do.
    """

    kind: str
    cover: Rgb
    spread: float
    debris: tuple[Rgb, ...]
    patches: tuple[Rgb, ...]
    tree_loss: float
    burns: bool = False
    is_liquid: bool = False

    @property
    def is_front(self) -> bool:
        """Whether it comes from one side, as fire and water do, rather than along a track, as a storm does."""
        return self.burns or self.is_liquid


@dataclass(frozen=True, slots=True)
class Climate:
    """Colours of a region."""

    grass: Rgb
    soil: Rgb
    tree: Rgb
    roofs: tuple[Rgb, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One disaster: its name, what it does, and where (degrees)."""

    name: str
    hazard: Hazard
    climate: Climate
    longitude: float
    latitude: float


_TARP, _PLYWOOD, _FELT, _DARK = (0.17, 0.37, 0.70), (0.74, 0.62, 0.44), (0.17, 0.16, 0.16), (0.33, 0.28, 0.25)
_TIMBER = ((0.74, 0.64, 0.50), (0.52, 0.43, 0.34), (0.80, 0.79, 0.76), (0.30, 0.27, 0.25), (0.58, 0.57, 0.56))
_STONE = ((0.66, 0.63, 0.58), (0.50, 0.47, 0.43), (0.80, 0.77, 0.72), (0.34, 0.31, 0.29), (0.60, 0.48, 0.40))
_ASH = ((0.62, 0.61, 0.60), (0.20, 0.19, 0.19), (0.36, 0.34, 0.33), (0.76, 0.75, 0.73), (0.40, 0.33, 0.28))
_SILT = ((0.56, 0.49, 0.40), (0.42, 0.36, 0.29), (0.70, 0.66, 0.60), (0.33, 0.28, 0.23), (0.62, 0.54, 0.42))

_WIND = Hazard("wind", (0.55, 0.50, 0.40), 0.35, _TIMBER, (_TARP, _TARP, _PLYWOOD, _FELT), tree_loss=0.6)
_FIRE = Hazard("fire", (0.16, 0.14, 0.13), 0.85, _ASH, (_FELT, _FELT, _DARK), tree_loss=0.25, burns=True)
_FLOOD = Hazard("flooding", (0.50, 0.42, 0.31), 0.97, _SILT, (_TARP, _PLYWOOD, _FELT), tree_loss=0.1, is_liquid=True)
_QUAKE = Hazard("earthquake", (0.63, 0.58, 0.50), 0.40, _STONE, (_TARP, _FELT, _FELT, _PLYWOOD), tree_loss=0.0)
_WAVE = Hazard("tsunami", (0.44, 0.38, 0.31), 0.90, _SILT, (_FELT, _PLYWOOD, _TARP), tree_loss=0.6, is_liquid=True)
_VOLCANO = Hazard("volcano", (0.34, 0.32, 0.31), 0.90, _ASH, (_FELT, _DARK, _PLYWOOD), tree_loss=0.4, is_liquid=True)

_SHINGLES = ((0.46, 0.43, 0.41), (0.36, 0.34, 0.34), (0.54, 0.46, 0.39), (0.62, 0.59, 0.55), (0.74, 0.73, 0.71))
_TILES = ((0.62, 0.40, 0.30), (0.55, 0.36, 0.29), (0.68, 0.55, 0.44), (0.70, 0.67, 0.62), (0.55, 0.51, 0.47))
_SHEETS = ((0.50, 0.34, 0.27), (0.58, 0.57, 0.57), (0.36, 0.45, 0.55), (0.72, 0.72, 0.71), (0.58, 0.30, 0.26))
_MILD = Climate((0.35, 0.40, 0.24), (0.52, 0.46, 0.36), (0.16, 0.24, 0.12), _SHINGLES)
_DRY = Climate((0.51, 0.47, 0.33), (0.63, 0.54, 0.42), (0.23, 0.27, 0.16), _TILES)
_LUSH = Climate((0.30, 0.40, 0.21), (0.55, 0.41, 0.30), (0.12, 0.25, 0.11), _SHEETS)

_SHARED: Final = (
    Event("sample-hurricane", _WIND, _MILD, -85.61, 30.19),
    Event("sample-wildfire", _FIRE, _DRY, -122.71, 38.46),
    Event("sample-flooding", _FLOOD, _MILD, 90.42, 24.31),
    Event("sample-earthquake", _QUAKE, _DRY, 36.92, 37.58),
    Event("sample-tsunami", _WAVE, _LUSH, 119.86, -0.88),
)
_TIER3: Final = (
    Event("sample-tornado", _WIND, _MILD, -94.51, 37.07),
    Event("sample-bushfire", _FIRE, _DRY, 149.52, -36.42),
    Event("sample-volcano", _VOLCANO, _LUSH, -17.87, 28.61),
)
EVENTS: Final[dict[Tier, tuple[Event, ...]]] = {"tier1": _SHARED, "tier3": _TIER3, "hold": _SHARED, "test": _SHARED}
"""As in xBD, tier1, hold and test show the same disasters, and tier3 others."""
SEVERITIES: Final[tuple[Shares, ...]] = (
    (0.66, 0.20, 0.10, 0.04),
    (0.34, 0.12, 0.20, 0.34),
    (0.94, 0.06, 0.00, 0.00),
    (0.48, 0.14, 0.22, 0.16),
)
"""Shares of no, minor, major damage and destroyed in a scene; they take turns, so every few scenes hold every class."""
_EMPTY_TURN: Final[dict[Tier, int]] = {"tier1": 9, "tier3": 4, "hold": 6, "test": 10}
"""Which of every twelve scenes of a tier has no buildings."""


@dataclass(frozen=True, slots=True)
class SampleScene:
    """One scene to draw; complete in itself and picklable.

    Attributes:
        tier: folder of the dataset.
        id: name of the scene.
        event: the disaster.
        seed: entropy of everything drawn in it.
        shares: how the buildings divide over the four classes of damage.
        is_empty: no building stands here.
        has_border: the images end inside the tile; the rest is black.
        has_cloud: something hides a part of the post-disaster image.
    """

    tier: Tier
    id: SceneId
    event: Event
    seed: tuple[int, ...]
    shares: Shares
    is_empty: bool
    has_border: bool
    has_cloud: bool

    def rng(self, topic: Topic) -> np.random.Generator:
        """Return the generator of one topic, so that a change in one of them leaves the others as they are."""
        return np.random.default_rng([*self.seed, get_args(Topic).index(topic)])


def plan_sample(params: SampleParams) -> tuple[SampleScene, ...]:
    """Return the scenes of the sample in the order of their names.

    A scene depends only on the seed, its tier and its number in the tier: asking for more scenes changes no other.
    """
    scenes = [_scene(params.seed, tier, index) for tier in TIERS for index in range(getattr(params.scenes, tier))]
    return tuple(sorted(scenes, key=lambda scene: scene.id))


def _scene(seed: int, tier: Tier, index: int) -> SampleScene:
    events, order = EVENTS[tier], TIERS.index(tier)
    event = events[index % len(events)]
    sharing = [other for other in TIERS if event in EVENTS[other]]
    return SampleScene(
        tier=tier,
        # Tiers that share an event take turns in its numbers: as in xBD, no name is in two tiers.
        id=SceneId(event.name, index // len(events) * len(sharing) + sharing.index(tier)),
        event=event,
        seed=(seed, order, index),
        shares=SEVERITIES[(index + order) % len(SEVERITIES)],
        is_empty=index % 12 == _EMPTY_TURN[tier],
        has_border=index % 6 == 2,
        has_cloud=index % 6 == 5,
    )
