"""A dataset folder: the pairs of files that make its scenes, and how such files are written."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from xview2_siamese_unet.atomic import whole_file
from xview2_siamese_unet.config.dataset import Tier
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd.names import PHASES, TIERS, Phase, SceneId, parse_stem

SUFFIXES: Final = {"images": (".png", ".tif", ".tiff"), "labels": (".json",)}
FOLDERS: Final[dict[Tier, tuple[str, ...]]] = {tier: (tier,) for tier in TIERS} | {"tier1": ("tier1", "train")}
"""Where the scenes of a tier lie: releases disagree about the name of the first."""

_NAMES: Final = tuple(folder for folders in FOLDERS.values() for folder in folders)

FILE_COLUMNS: Final = ("scene", "tier", "pre_image", "post_image", "pre_label", "post_label", "problem", "remedy")
"""One row a scene or foreign file: paths below the dataset folder, or else what is wrong and what to do."""

Files = dict[tuple[SceneId, Phase], list[str]]


@dataclass(frozen=True, slots=True)
class ScenePair:
    """The four files of one scene, relative to the dataset folder."""

    tier: Tier
    scene: SceneId
    images: dict[Phase, str]
    labels: dict[Phase, str]


@dataclass(frozen=True, slots=True)
class SceneFiles:
    """Files of a dataset folder that are made together.

    Attributes:
        folder: the dataset folder.
        last: path below it of the file that is written last: where it is, the others are.
    """

    folder: Path
    last: str

    def made_from(self) -> str | None:
        """Return when the files were last changed, in nanoseconds, or `None` where they are missing."""
        path = self.folder / self.last
        return str(path.stat().st_mtime_ns) if path.exists() else None

    def write(self, make: Callable[[], Iterable[tuple[str, bytes]]], made_from: str | None = None) -> None:
        """Make and write each file, path and content, whole or not at all; dated `made_from` where that is given."""
        for name, data in make():
            with whole_file(self.folder / name) as part:
                part.write_bytes(data)
                if made_from is not None:
                    os.utime(part, ns=(int(made_from), int(made_from)))


def tabulate_pairs(pairs: Iterable[ScenePair], problems: Iterable[DataError]) -> pd.DataFrame:
    """Return one row a complete scene, with the paths of its four files, and one row a problem of `list_pairs`."""
    complete = [
        (str(p.scene), p.tier, *(p.images[i] for i in PHASES), *(p.labels[i] for i in PHASES), "", "") for p in pairs
    ]
    # The sentence of a problem begins with the scene or the file.
    incomplete = [(e.message.split(maxsplit=1)[0].removesuffix(":"), *[""] * 5, e.message, e.hint) for e in problems]
    return pd.DataFrame([*complete, *incomplete], columns=list(FILE_COLUMNS), dtype="str")


def pairs_of(files: pd.DataFrame) -> list[ScenePair]:
    """Return the complete scenes of a table that `tabulate_pairs` made."""
    return [
        ScenePair(
            row["tier"],
            parse_stem(f"{row['scene']}_pre_disaster")[0],
            {"pre": row["pre_image"], "post": row["post_image"]},
            {"pre": row["pre_label"], "post": row["post_label"]},
        )
        for row in files[files["problem"] == ""].to_dict("records")
    ]


def list_pairs(root: Path) -> tuple[list[ScenePair], list[DataError]]:
    """Return the complete scenes below `root`, and one error for each other scene and each foreign image or label.

    Side files (`*:Zone.Identifier`, hidden files, other endings) are no part of a scene and are passed over. The
    sentence of a problem begins with the scene or the file.

    Raises:
        DataError: `root` holds none of tier1 (or train), tier3, hold and test, or no scene at all, or one scene in two
            of them.
    """
    if not any((root / name).is_dir() for name in _NAMES):
        raise _no_scenes(root, "has none of the folders tier1 (or train), tier3, hold and test")
    found = [item for tier in TIERS for item in _pairs_of(root, tier)]
    pairs = [item for item in found if isinstance(item, ScenePair)]
    problems = [item for item in found if isinstance(item, DataError)]
    _refuse_repeats(root, pairs)
    if not pairs and not problems:
        raise _no_scenes(root, "has no file named <disaster>_<8 digits>_<pre|post>_disaster.png in its images folders")
    return pairs, problems


def unread_folders(root: Path) -> list[str]:
    """Return the folders below `root` that hold images under a name that no tier has, so that nobody reads them."""
    return sorted(path.parent.name for path in root.glob("*/images") if path.parent.name not in _NAMES)


def _no_scenes(root: Path, problem: str) -> DataError:
    """Return the error of a folder without scenes; a dataset folder a little above or below it is named."""
    below = (path for pattern in ("*", "*/*") for path in sorted(root.glob(pattern)))
    shown = (path for path in below if not any(part.startswith((".", "__MACOSX")) for part in path.parts))
    right = next((path for path in (root.parent, root.parent.parent, *shown) if _has_images(path)), None)
    return DataError(
        f"{root} {problem if root.is_dir() else 'is no folder'}.",
        hint=f"Set dataset.root to {right or 'the folder of the unpacked xBD download'}.",
    )


def _has_images(folder: Path) -> bool:
    return any((folder / name / "images").is_dir() for name in _NAMES)


def _pairs_of(root: Path, tier: Tier) -> Iterator[ScenePair | DataError]:
    problems: list[DataError] = []
    files = {kind: _index(root, tier, kind, problems) for kind in SUFFIXES}
    yield from problems
    scenes = sorted({scene for named in files.values() for scene, _ in named})
    if scenes and not files["labels"]:
        yield from (_without_label(tier, scene, len(scenes)) for scene in scenes)
        return
    yield from _complete(tier, scenes, files)


def _without_label(tier: Tier, scene: SceneId, count: int) -> DataError:
    return DataError(
        f"{tier}/{scene} has no labels, like all {count} scenes of {' or '.join(FOLDERS[tier])} here (the challenge "
        "gave its test images without). Scenes without labels are neither trained on nor scored.",
        hint="Add the labels; or set data_processing.on_problem: skip and take each split from folders with labels, "
        "such as data_processing.split: {train: {tier1: 0.9, tier3: 0.75}, validation: {tier3: 0.25}, "
        "test: {tier1: 0.1}}.",
    )


def _complete(tier: Tier, scenes: Iterable[SceneId], files: Mapping[str, Files]) -> Iterator[ScenePair | DataError]:
    for scene in scenes:
        wrong = [text for kind, named in files.items() for text in _not_one(named, scene, kind.removesuffix("s"))]
        if wrong:
            yield DataError(
                f"{tier}/{scene}",
                found=" and ".join(wrong),
                allowed="one pre and one post image, each with its label",
                remedy="complete the scene or move its files away, or set data_processing.on_problem: skip",
            )
        else:
            yield ScenePair(tier, scene, *({p: named[scene, p][0] for p in PHASES} for named in files.values()))


def _not_one(files: Files, scene: SceneId, kind: str) -> Iterator[str]:
    for phase in PHASES:
        found = files.get((scene, phase), [])
        if len(found) != 1:
            yield f"both {' and '.join(found)}" if found else f"no {phase} {kind}"


def _index(root: Path, tier: Tier, kind: str, problems: list[DataError]) -> Files:
    files: Files = defaultdict(list)
    for path in _listed(root / folder / kind for folder in FOLDERS[tier]):
        if path.suffix.lower() in SUFFIXES[kind] and not path.name.startswith("."):
            try:
                files[parse_stem(path.stem)].append(path.relative_to(root).as_posix())
            except DataError as error:
                where = path.relative_to(root).as_posix()
                problems.append(DataError(where, found=error.found, allowed=error.allowed, remedy=error.remedy))
    return dict(files)


def _listed(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir():
            yield from sorted(folder.iterdir())


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
