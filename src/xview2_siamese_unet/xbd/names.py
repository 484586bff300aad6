"""Scene names: `hurricane-harvey_00000072_post_disaster.png` and its parts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.params.dataset import Tier

Phase = Literal["pre", "post"]

PHASES: Final[tuple[Phase, Phase]] = ("pre", "post")
TIERS: Final[tuple[Tier, ...]] = get_args(Tier)

# ASCII digits only: `\d` would take ٣ for a 3, and a name must format back to itself.
_STEM = re.compile(r"(?P<disaster>[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)_(?P<number>[0-9]{8})_(?P<phase>pre|post)_disaster")


@dataclass(frozen=True, order=True, slots=True)
class SceneId:
    """One place of one disaster: `hurricane-harvey`, 72."""

    disaster: str
    number: int

    def __str__(self) -> str:
        """Return the name that every table and file uses, `hurricane-harvey_00000072`."""
        return f"{self.disaster}_{self.number:08d}"

    def stem(self, phase: Phase) -> str:
        """Return the file name without its ending, `hurricane-harvey_00000072_post_disaster`."""
        return f"{self}_{phase}_disaster"


def parse_stem(stem: str) -> tuple[SceneId, Phase]:
    """Return scene and phase of a file name without its ending.

    Raises:
        DataError: the stem is not a scene name.
    """
    match = _STEM.fullmatch(stem)
    if match is None:
        raise DataError(
            stem,
            found="a name that is no scene name",
            allowed="<disaster>_<8 digits>_<pre|post>_disaster",
            remedy="rename the file or move it out of the dataset folder",
        )
    phase: Phase = "pre" if match["phase"] == "pre" else "post"
    return SceneId(match["disaster"], int(match["number"])), phase
