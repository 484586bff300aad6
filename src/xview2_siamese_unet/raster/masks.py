"""The two masks of a scene on disk, `<tier>/<scene>_building.tif` (0/1) and `<tier>/<scene>_damage.tif` (0–5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd

from xview2_siamese_unet.damage import N_CODES, Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.burn import Mask, Rule, burn_buildings, burn_damage
from xview2_siamese_unet.raster.io import read_mask, read_tag, write_mask
from xview2_siamese_unet.xbd.georeference import Georeference
from xview2_siamese_unet.xbd.ingest import read_again
from xview2_siamese_unet.xbd.labels import parse_polygons
from xview2_siamese_unet.xbd.scenes import ScenePair

Kind = Literal["building", "damage"]
_CODES: Final[dict[Kind, int]] = {"building": 2, "damage": N_CODES}


class Burnt(NamedTuple):
    """Both masks of a scene (h, w), uint8, and its place on Earth where that is known."""

    building: Mask
    damage: Mask
    place: Georeference | None


def burn_scene(root: Path, pair: ScenePair, labels_key: str, rule: Rule, place: Georeference | None) -> Burnt:
    """Burn the building mask from the pre-disaster label and the damage mask from the post-disaster label.

    Args:
        root: the dataset folder.
        pair: the files of the scene.
        labels_key: of the table of scenes.
        rule: see `MaskParams.rule`.
        place: georeference, where the scene has one.

    Raises:
        DataError: the labels are not those of the table.
    """
    labels = read_again(root, pair, labels_key)
    shape = labels["post"].metadata.height, labels["post"].metadata.width
    pre, post = (
        parse_polygons([building.xy for building in labels[phase].buildings], pair.labels[phase])
        for phase in ("pre", "post")
    )
    codes = [int(building.damage or 0) for building in labels["post"].buildings]
    return Burnt(burn_buildings(pre, shape, rule), burn_damage(post, codes, shape, rule), place)


@dataclass(frozen=True, slots=True)
class SceneMasks:
    """The files of one scene.

    Attributes:
        folder: of all masks.
        scene: `<tier>/<scene>`.
    """

    folder: Path
    scene: str

    def path(self, kind: Kind) -> Path:
        """Return where a mask lies."""
        return self.folder / f"{self.scene}_{kind}.tif"

    def made_from(self) -> str | None:
        """Return the tag of both masks, `None` where one is missing or damaged."""
        try:
            tags = {read_tag(path, "key") if (path := self.path(kind)).exists() else None for kind in _CODES}
        except DataError:
            return None
        return tags.pop() if len(tags) == 1 else None

    def write(self, burn: Callable[[], Burnt], made_from: str | None) -> None:
        """Burn and write both masks."""
        burnt = burn()
        tags = {} if made_from is None else {"key": made_from}
        write_mask(self.path("building"), burnt.building, burnt.place, **tags)
        write_mask(self.path("damage"), burnt.damage, burnt.place, **tags)

    def read(self, kind: Kind) -> Mask:
        """Return a mask.

        Raises:
            DataError: it cannot be read, or holds a code that no mask of its kind has.
        """
        mask = read_mask(self.path(kind))
        if (highest := int(mask.max())) >= _CODES[kind]:
            raise DataError(
                f"{self.path(kind)} holds the code {highest}; {kind} masks hold 0 to {_CODES[kind] - 1}.",
                hint="Remove the file and run kedro run --pipelines data_processing again.",
            )
        return mask


def compare_targets(folder: Path, scenes: pd.DataFrame, masks: Callable[[str], SceneMasks]) -> pd.DataFrame:
    """Return the share of equal pixels for each scene whose target exists: the columns scene and agreement.

    Targets draw outlines, and leave un-classified buildings out; the latter are left out of our mask as well. 97 % and
    more is as expected.

    Args:
        folder: the dataset folder.
        scenes: of `xbd.ingest.SCENE_COLUMNS`.
        masks: `<tier>/<scene>` → our masks.
    """
    rows = []
    for scene in scenes.itertuples():
        stem = Path(str(scene.post_image)).stem
        target = folder / Path(str(scene.post_image)).parts[0] / "targets" / f"{stem}_target.png"
        if target.is_file():
            ours, theirs = masks(f"{scene.tier}/{scene.scene}").read("damage"), read_mask(target)
            same = ours.shape == theirs.shape
            equal = np.where(ours == Damage.UNCLASSIFIED, 0, ours) == theirs if same else np.zeros(1)
            rows.append((scene.scene, float(equal.mean())))
    return pd.DataFrame(rows, columns=["scene", "agreement"])
