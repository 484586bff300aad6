"""Selection of the pairs of a tile: the rules of `RULES`, applied to the part of it that each acquisition shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from math import inf
from typing import Final, NamedTuple

import shapely
from shapely.geometry.base import BaseGeometry

from xview2_siamese_unet.campaign.acquisition import polygons

MOST_CLOUD: Final = 0.15
MOST_OFF_NADIR: Final = 30.0
SMALLEST: Final = 100.0
"""Square metres; a smaller part of a tile gets no separate job."""
RULES: Final = (
    f"Acquisitions within the limits of a usual tasking order come first: at most {MOST_CLOUD:.0%} clouds and "
    f"{MOST_OFF_NADIR:g} degrees off nadir. Values that the catalogue does not state count as within.",
    "Then the latest day comes first, on both sides of the event: the latest pre-disaster image is the nearest to it. "
    "On one day the least clouds come first, then the least off-nadir angle, then the name; a number that is not "
    "stated comes last.",
    "Each part of the ground is assessed in one pair: the first post-disaster acquisition that covers it, and the "
    "first pre-disaster acquisition that covers the same part. If no pre-disaster acquisition covers it, the next "
    "post-disaster acquisition is tried.",
    "Clouds and angle are those of the images over the tile, not of the whole acquisition.",
    f"A tile gets a job for each pair that is chosen for {SMALLEST:g} m² of it or more, in the order of these rules.",
)
"""How pairs are chosen, a paragraph each."""
EVERY_DAY: Final = (
    "For the history, each other day after the event gets a job for each pair that is chosen by the same rules among "
    "the images of that day; these come after the others."
)
"""One more rule, with `--history`."""
Allowed = Callable[[str | None, str], BaseGeometry | None]
"""Ids of a pre- and a post-disaster acquisition → area in which they may be a pair; `None`: no area."""


@dataclass(frozen=True, slots=True)
class View:
    """One acquisition over a tile.

    Attributes:
        id: of the acquisition, `None` if there is no pre-disaster image.
        taken: its date, see `Acquisition`.
        ground: the part of the tile that it shows, in metres.
        pixel: side of its coarsest pixel in metres.
        cloud: share of clouds, 0 to 1.
        off_nadir: angle in degrees.
    """

    id: str | None
    taken: str | None
    ground: BaseGeometry
    pixel: float
    cloud: float | None = None
    off_nadir: float | None = None


class Choice(NamedTuple):
    """A pair for a tile.

    Attributes:
        pre: view before the event.
        post: view after it.
        ground: the part of the tile that it is chosen for.
    """

    pre: View
    post: View
    ground: BaseGeometry


def in_order(views: Iterable[View]) -> list[View]:
    """Return views in the order of preference."""
    return sorted(views, key=_order)


def _order(view: View) -> tuple[bool, bool, int, float, float, str]:
    cloud, off_nadir = (inf if value is None else value for value in (view.cloud, view.off_nadir))
    beyond = MOST_CLOUD < cloud < inf or MOST_OFF_NADIR < off_nadir < inf
    day = 0 if view.taken is None else date.fromisoformat(view.taken[:10]).toordinal()
    return view.id is None, beyond, -day, cloud, off_nadir, view.id or ""


def choose(before: Sequence[View], after: Sequence[View], allowed: Allowed) -> tuple[list[Choice], float]:
    """Return the pairs of a tile by the rules, and the square metres after the event that no pair shows.

    Args:
        before: views before the event.
        after: views after it.
        allowed: area in which two acquisitions may be a pair.
    """
    left = shapely.union_all([view.ground for view in after])
    chosen: list[Choice] = []
    for pre, post, shown in _pairs(in_order(before), in_order(after), allowed):
        part = polygons(shown.intersection(left))
        if part.area >= SMALLEST:
            chosen.append(Choice(pre, post, part))
            left = polygons(left.difference(part))
    return chosen, left.area


def choose_every_day(
    before: Sequence[View], after: Sequence[View], allowed: Allowed, chosen: Sequence[Choice]
) -> list[Choice]:
    """Return the pairs of each day after the event, except those chosen already, in the order of preference."""
    days: defaultdict[str | None, list[View]] = defaultdict(list)
    for view in in_order(after):
        days[view.taken and view.taken[:10]].append(view)
    known = {(choice.pre.id, choice.post.id) for choice in chosen}
    choices = (choice for views in days.values() for choice in choose(before, views, allowed)[0])
    return [choice for choice in choices if (choice.pre.id, choice.post.id) not in known]


def _pairs(
    before: Sequence[View], after: Sequence[View], allowed: Allowed
) -> Iterator[tuple[View, View, BaseGeometry]]:
    """Yield each allowed pair and the ground that both show, in the order of preference."""
    for post in after:
        for pre in before:
            area = allowed(pre.id, str(post.id))
            if area is not None:
                yield pre, post, polygons(polygons(pre.ground.intersection(post.ground)).intersection(area))
