"""The two masks of a scene on disk: `<tier>/<scene>_building.tif` (0/1) and `<tier>/<scene>_damage.tif` (0–5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xview2_siamese_unet.damage import SUBTYPES
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.raster.burn import Rule, Shape, burn_buildings, burn_damage
from xview2_siamese_unet.raster.io import read_tag, write_mask
from xview2_siamese_unet.xbd.georeference import Georeference
from xview2_siamese_unet.xbd.polygons import parse_polygons

Kind = Literal["building", "damage"]


@dataclass(frozen=True, slots=True)
class MaskJob:
    """All that the two masks of one scene are made from.

    Attributes:
        scene: name of the scene.
        tier: its folder.
        shape: height and width in pixels.
        pre: WKT of the buildings in the pre-disaster image.
        post: WKT of the buildings in the post-disaster image.
        subtypes: damage word of each building in `post`.
        rule: see `MaskParams.rule`.
        place: georeference, where the scene has one.
        key: of labels and rule; a mask with the same key is not burnt again.
    """

    scene: str
    tier: str
    shape: Shape
    pre: tuple[str, ...]
    post: tuple[str, ...]
    subtypes: tuple[str, ...]
    rule: Rule
    place: Georeference | None
    key: str


class MaskPlan:
    """Jobs that are described when their turn comes: the texts of all polygons at once are what memory is short of.

    Args:
        rule: of all jobs.
        count: how many there are.
        describe: starts to describe them, from the first.
    """

    def __init__(self, rule: Rule, count: int, describe: Callable[[], Iterator[MaskJob]]) -> None:
        self.rule = rule
        self._count = count
        self._describe = describe

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[MaskJob]:
        return self._describe()


def mask_path(folder: Path, tier: str, scene: str, kind: Kind) -> Path:
    """Return where a mask lies."""
    return folder / tier / f"{scene}_{kind}.tif"


def burn_scene(folder: Path, job: MaskJob) -> bool:
    """Write both masks of a scene; return whether that was needed."""
    paths: dict[Kind, Path] = {kind: mask_path(folder, job.tier, job.scene, kind) for kind in ("building", "damage")}
    if all(_key(path) == job.key for path in paths.values()):
        return False
    building = burn_buildings(parse_polygons(job.pre, job.scene), job.shape, job.rule)
    codes = [SUBTYPES[word] for word in job.subtypes]
    damage = burn_damage(parse_polygons(job.post, job.scene), codes, job.shape, job.rule)
    write_mask(paths["building"], building, job.place, key=job.key)
    write_mask(paths["damage"], damage, job.place, key=job.key)
    return True


def _key(path: Path) -> str | None:
    """Return what a mask was burnt from, `None` where it is missing or damaged: such a one is burnt again."""
    try:
        return read_tag(path, "key") if path.exists() else None
    except DataError:
        return None
