"""Which scenes the sample has; drawing them is left to whoever has the processes for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from xview2_siamese_unet.config.dataset import SampleParams, Tier
from xview2_siamese_unet.synthetic.events import EVENTS, Event
from xview2_siamese_unet.xbd.names import TIERS, SceneId

Topic = Literal["place", "land", "ground", "houses", "harm", "wreck", "trees", "pre", "post", "labels"]
_TOPICS: Final[tuple[Topic, ...]] = get_args(Topic)

Shares = tuple[float, float, float, float]

SEVERITIES: Final[tuple[Shares, ...]] = (
    (0.66, 0.20, 0.10, 0.04),
    (0.34, 0.12, 0.20, 0.34),
    (0.94, 0.06, 0.00, 0.00),
    (0.48, 0.14, 0.22, 0.16),
)
"""Shares of no, minor, major damage and destroyed in a scene; they take turns, so every few scenes hold every class."""

_EMPTY_TURN: Final[dict[Tier, int]] = {"tier1": 9, "tier3": 4, "hold": 6, "test": 10}


@dataclass(frozen=True, slots=True)
class SampleScene:
    """One scene to draw, complete in itself: it can be sent to another process.

    Attributes:
        tier: folder of the layout.
        id: name of the scene.
        event: the disaster.
        seed: entropy of everything drawn in it.
        shares: how the buildings divide over the four classes of damage.
        is_empty: no building stands here.
        has_border: the images end inside the tile, the rest is black.
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
        """Return the generator of one topic, so that a change in one of them leaves the others' draws alone."""
        return np.random.default_rng([*self.seed, _TOPICS.index(topic)])


def plan_sample(params: SampleParams) -> tuple[SampleScene, ...]:
    """Return the scenes of the sample in the order of their names.

    A scene depends on the seed, its tier and its place in the tier alone: asking for more scenes moves no other.
    """
    scenes = [_scene(params.seed, tier, index) for tier in TIERS for index in range(getattr(params.scenes, tier))]
    return tuple(sorted(scenes, key=lambda scene: scene.id))


def _scene(seed: int, tier: Tier, index: int) -> SampleScene:
    events = EVENTS[tier]
    order = TIERS.index(tier)
    event = events[index % len(events)]
    sharing = [other for other in TIERS if event in EVENTS[other]]
    return SampleScene(
        tier=tier,
        # Tiers that share an event take turns in its numbers, as in xBD, where no name stands in two tiers either.
        id=SceneId(event.name, index // len(events) * len(sharing) + sharing.index(tier)),
        event=event,
        seed=(seed, order, index),
        shares=SEVERITIES[(index + order) % len(SEVERITIES)],
        is_empty=index % 12 == _EMPTY_TURN[tier],
        has_border=index % 6 == 2,
        has_cloud=index % 6 == 5,
    )
