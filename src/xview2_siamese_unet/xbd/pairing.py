"""A dataset folder → the pairs of files that make its scenes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.params.dataset import Tier
from xview2_siamese_unet.xbd.names import PHASES, TIERS, Phase, SceneId, parse_stem

IMAGE_SUFFIXES = (".png", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class ScenePair:
    """The four files of one scene, relative to the dataset folder."""

    tier: Tier
    scene: SceneId
    images: dict[Phase, str]
    labels: dict[Phase, str]


def list_pairs(root: Path) -> tuple[list[ScenePair], list[DataError]]:
    """Return the complete scenes below `root` and one error for each scene that is not complete.

    Side files (`*:Zone.Identifier`, hidden files, other endings) are no part of a scene and are passed over.

    Raises:
        DataError: `root` holds none of tier1, tier3, hold and test, or no scene at all, or one scene in two folders.
    """
    tiers = [tier for tier in TIERS if (root / tier).is_dir()]
    if not tiers:
        raise DataError(
            str(root),
            found="a folder without tiers" if root.is_dir() else "no folder",
            allowed=f"a folder with at least one of {', '.join(TIERS)}, each with images and labels",
            remedy="set dataset.root to the folder of the unpacked xBD download",
        )
    found = [item for tier in tiers for item in _pairs_of(root, tier)]
    pairs = [item for item in found if isinstance(item, ScenePair)]
    problems = [item for item in found if isinstance(item, DataError)]
    _refuse_repeats(root, pairs)
    if not pairs and not problems:
        raise DataError(
            str(root),
            found="no scene",
            allowed="files named <disaster>_<8 digits>_<pre|post>_disaster.png and .json in images and labels",
            remedy="set dataset.root to the folder of the unpacked xBD download",
        )
    return pairs, problems


def _pairs_of(root: Path, tier: Tier) -> Iterator[ScenePair | DataError]:
    images = _index(root, tier, "images", IMAGE_SUFFIXES)
    labels = _index(root, tier, "labels", (".json",))
    for scene in sorted({scene for scene, _ in images} | {scene for scene, _ in labels}):
        there = {"image": images, "label": labels}
        if missing := [f"{p} {kind}" for kind, files in there.items() for p in PHASES if (scene, p) not in files]:
            yield DataError(
                f"{tier}/{scene}",
                found=f"no {' and no '.join(missing)}",
                allowed="a pre and a post image, each with its label",
                remedy="restore the missing file, remove the others, or set data_processing.on_problem: skip",
            )
        else:
            yield ScenePair(tier, scene, *({p: files[scene, p] for p in PHASES} for files in there.values()))


def _index(root: Path, tier: Tier, kind: str, suffixes: tuple[str, ...]) -> dict[tuple[SceneId, Phase], str]:
    folder = root / tier / kind
    if not folder.is_dir():
        return {}
    files = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
    return {parse_stem(path.stem): f"{tier}/{kind}/{path.name}" for path in sorted(files)}


def _refuse_repeats(root: Path, pairs: list[ScenePair]) -> None:
    seen: dict[SceneId, Tier] = {}
    for pair in pairs:
        if pair.scene in seen:
            raise DataError(
                str(root),
                found=f"{pair.scene} in {seen[pair.scene]} and in {pair.tier}",
                allowed="each scene in one folder",
                remedy="remove one of the two, or a scene would be trained and tested on",
            )
        seen[pair.scene] = pair.tier
