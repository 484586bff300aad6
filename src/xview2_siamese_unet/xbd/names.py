"""Scene names: `hurricane-harvey_00000072_post_disaster.png` and its parts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

from xview2_siamese_unet.config.dataset import Tier
from xview2_siamese_unet.errors import DataError

Phase = Literal["pre", "post"]

PHASES: Final[tuple[Phase, Phase]] = ("pre", "post")
TIERS: Final[tuple[Tier, ...]] = get_args(Tier)

# ASCII digits only: `\d` would take ٣ for a 3, and a name must format back to itself.
_DISASTER = r"(?P<disaster>[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)"
_STEMS = (
    re.compile(
        rf"(?:challenge_[a-z0-9]+_(?:images|labels)_)?{_DISASTER}_(?P<number>[0-9]{{8}})_(?P<phase>pre|post)_disaster"
    ),
    re.compile(rf"{_DISASTER}_(?P<phase>pre|post)_(?P<number>[0-9]{{5}})"),
)
"""Names of today, also with the prefix of some copies, and of the challenge's first test set (`test_pre_00000`)."""


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

    The names of other releases mean the same: `challenge_train_images_<name of today>` and `test_pre_00000`.

    Raises:
        DataError: the stem is not a scene name.
    """
    match = next((found for pattern in _STEMS if (found := pattern.fullmatch(stem))), None)
    if match is None:
        raise DataError(
            stem,
            found="a name that is no scene name",
            allowed="<disaster>_<8 digits>_<pre|post>_disaster",
            remedy="rename the file or move it out of the dataset folder",
        )
    phase: Phase = "pre" if match["phase"] == "pre" else "post"
    return SceneId(match["disaster"], int(match["number"])), phase
