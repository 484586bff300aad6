"""The class table of the project: codes, labels of xBD, colours.

Masks on disk hold the six codes of `Damage`. `IGNORE` is used in memory only, for pixels that a loss or score skips.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Damage(IntEnum):
    """Code of a pixel or a building, as written to every mask."""

    BACKGROUND = 0
    NO_DAMAGE = 1
    MINOR_DAMAGE = 2
    MAJOR_DAMAGE = 3
    DESTROYED = 4
    UNCLASSIFIED = 5

    @property
    def word(self) -> str:
        """Name of the class in xBD labels and in reports, such as `minor-damage`."""
        return _WORDS[self]

    @property
    def colour(self) -> str:
        """Colour in hexadecimal RGB; light to dark and blue to red, so that it survives colour blindness and print."""
        return _COLOURS[self]

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Colour as three bytes."""
        value = self.colour
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


_WORDS: Final = {
    Damage.BACKGROUND: "background",
    Damage.NO_DAMAGE: "no-damage",
    Damage.MINOR_DAMAGE: "minor-damage",
    Damage.MAJOR_DAMAGE: "major-damage",
    Damage.DESTROYED: "destroyed",
    Damage.UNCLASSIFIED: "un-classified",
}
_COLOURS: Final = {
    Damage.BACKGROUND: "#000000",
    Damage.NO_DAMAGE: "#56b4e9",
    Damage.MINOR_DAMAGE: "#f0e442",
    Damage.MAJOR_DAMAGE: "#e69f00",
    Damage.DESTROYED: "#d7191c",
    Damage.UNCLASSIFIED: "#9e9e9e",
}

SUBTYPES: Final[dict[str, Damage]] = {word: code for code, word in _WORDS.items() if code is not Damage.BACKGROUND}
"""Subtype in a post-disaster label → code."""

SCORED: Final = (Damage.NO_DAMAGE, Damage.MINOR_DAMAGE, Damage.MAJOR_DAMAGE, Damage.DESTROYED)
"""The four classes of the official score."""

OVERLAP_PRIORITY: Final = (
    Damage.MINOR_DAMAGE,
    Damage.MAJOR_DAMAGE,
    Damage.DESTROYED,
    Damage.NO_DAMAGE,
    Damage.UNCLASSIFIED,
)
"""If polygons overlap, the first of these applies: the rarer class, and the worse one to miss."""

N_CODES: Final = len(Damage)
IGNORE: Final = 255
