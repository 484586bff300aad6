"""The two masks of a scene: `<tier>/<scene>_building.tif` (0/1), `…_damage.tif` (0–5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd

from xview2_siamese_unet.damage import N_CODES, Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.io import read_mask, read_tag, write_mask
from xview2_siamese_unet.raster.rasterize import Rule, rasterize_buildings, rasterize_damage
from xview2_siamese_unet.types import Mask
from xview2_siamese_unet.xbd.georeference import Georeference
from xview2_siamese_unet.xbd.ingest import read_again
from xview2_siamese_unet.xbd.labels import parse_polygons
from xview2_siamese_unet.xbd.scenes import ScenePair

Kind = Literal["building", "damage"]
_CODES: Final[dict[Kind, int]] = {"building": 2, "damage": N_CODES}


class MaskPair(NamedTuple):
    """Both masks of a scene, and its georeference if it is known."""

    building: Mask
    damage: Mask
    georeference: Georeference | None


def rasterize_scene(
    root: Path, pair: ScenePair, labels_key: str, rule: Rule, georeference: Georeference | None
) -> MaskPair:
    """Rasterise buildings of the pre-disaster label and damage of the post-disaster label.

    Raises:
        DataError: the labels are not those of the table of scenes (`labels_key`).
    """
    labels = read_again(root, pair, labels_key)
    shape = labels["post"].metadata.height, labels["post"].metadata.width
    pre, post = (
        parse_polygons([building.xy for building in labels[phase].buildings], pair.labels[phase])
        for phase in ("pre", "post")
    )
    codes = [int(building.damage or 0) for building in labels["post"].buildings]
    return MaskPair(rasterize_buildings(pre, shape, rule), rasterize_damage(post, codes, shape, rule), georeference)


@dataclass(frozen=True, slots=True)
class SceneMasks:
    """The files of one scene in the folder of all masks; `scene` is `<tier>/<scene>`."""

    folder: Path
    scene: str

    def path(self, kind: Kind) -> Path:
        """Return the path of a mask."""
        return self.folder / f"{self.scene}_{kind}.tif"

    def made_from(self) -> str | None:
        """Return the tag of both masks, `None` if one is missing or damaged."""
        try:
            tags = {read_tag(path, "key") if (path := self.path(kind)).exists() else None for kind in _CODES}
        except DataError:
            return None
        return tags.pop() if len(tags) == 1 else None

    def write(self, rasterize: Callable[[], MaskPair], made_from: str | None) -> None:
        """Rasterise and write both masks."""
        masks = rasterize()
        tags = {} if made_from is None else {"key": made_from}
        write_mask(self.path("building"), masks.building, masks.georeference, **tags)
        write_mask(self.path("damage"), masks.damage, masks.georeference, **tags)

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
    """Return the share of pixels that equal the target of the download: scene, agreement.

    Expect 97 % or more: targets include the outlines. They leave un-classified buildings out, as does the comparison.
    Scenes (rows of `SCENE_COLUMNS`) without a target have no row.
    """
    rows = []
    for scene in scenes.itertuples():
        image = Path(str(scene.post_image))
        target = folder / image.parts[0] / "targets" / f"{image.stem}_target.png"
        if target.is_file():
            ours, theirs = masks(f"{scene.tier}/{scene.scene}").read("damage"), read_mask(target)
            same = ours.shape == theirs.shape
            equal = np.where(ours == Damage.UNCLASSIFIED, 0, ours) == theirs if same else np.zeros(1)
            rows.append((scene.scene, float(equal.mean())))
    return pd.DataFrame(rows, columns=["scene", "agreement"])
