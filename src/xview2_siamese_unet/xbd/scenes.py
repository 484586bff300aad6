"""Scenes of a dataset folder: their names, the four files of each, and how such files are written.

A scene is an image pair with its labels, such as `hurricane-harvey_00000072_post_disaster.png` and three more files.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import pandas as pd

from xview2_siamese_unet.atomic import link_or_copy, whole_file
from xview2_siamese_unet.config.dataset import Tier
from xview2_siamese_unet.errors import DataError

Phase = Literal["pre", "post"]
PHASES: Final[tuple[Phase, Phase]] = ("pre", "post")
TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
SUFFIXES: Final = {"images": (".png", ".tif", ".tiff"), "labels": (".json",)}
FOLDERS: Final[dict[Tier, tuple[str, ...]]] = {tier: (tier,) for tier in TIERS} | {"tier1": ("tier1", "train")}
"""Folders of a tier: releases disagree about the name of the first."""
FILE_COLUMNS: Final = ("scene", "tier", "pre_image", "post_image", "pre_label", "post_label", "problem", "remedy")
"""One row per scene or misnamed file: paths below the dataset folder, or else what is wrong and what to do."""

_NAMES: Final = tuple(folder for folders in FOLDERS.values() for folder in folders)
# ASCII digits only: `\d` would take ٣ for a 3, and a name must format back to itself.
_DISASTER: Final = r"(?P<disaster>[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)"
_STEMS: Final = (
    re.compile(
        rf"(?:challenge_[a-z0-9]+_(?:images|labels)_)?{_DISASTER}_(?P<number>[0-9]{{8}})_(?P<phase>pre|post)_disaster"
    ),
    re.compile(rf"{_DISASTER}_(?P<phase>pre|post)_(?P<number>[0-9]{{5}})"),
)
"""Current names, also with the prefix of some copies, and those of the first test set (`test_pre_00000`)."""
_Files = dict[tuple["SceneId", Phase], list[str]]


@dataclass(frozen=True, order=True, slots=True)
class SceneId:
    """One scene of one disaster: `hurricane-harvey`, 72."""

    disaster: str
    number: int

    def __str__(self) -> str:
        """Return the name that every table and file uses, `hurricane-harvey_00000072`."""
        return f"{self.disaster}_{self.number:08d}"

    def stem(self, phase: Phase) -> str:
        """Return the file name without its suffix, `hurricane-harvey_00000072_post_disaster`."""
        return f"{self}_{phase}_disaster"


def parse_stem(stem: str) -> tuple[SceneId, Phase]:
    """Return scene and phase of a file name without its suffix.

    The names of other releases are accepted: `challenge_train_images_<current name>` and `test_pre_00000`.

    Raises:
        DataError: the stem is not a scene name.
    """
    match = next((found for pattern in _STEMS if (found := pattern.fullmatch(stem))), None)
    if match is None:
        raise _misnamed(stem)
    phase: Phase = "pre" if match["phase"] == "pre" else "post"
    return SceneId(match["disaster"], int(match["number"])), phase


def _misnamed(name: str) -> DataError:
    return DataError(
        f"{name} is not named like a scene, <disaster>_<8 digits>_<pre|post>_disaster.",
        hint="Rename the file or move it out of the dataset folder.",
    )


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
        last: path below it of the file that is written last: if it exists, the others exist.
    """

    folder: Path
    last: str

    def made_from(self) -> str | None:
        """Return when the files were last changed, in nanoseconds, or `None` if they are missing."""
        path = self.folder / self.last
        return str(path.stat().st_mtime_ns) if path.exists() else None

    def write(self, make: Callable[[], Iterable[tuple[str, bytes | Path]]], made_from: str | None = None) -> None:
        """Make the files, path and content, and write each atomically; dated `made_from` if that is given.

        Where the content is a path, the file is a link to it, or a copy.
        """
        for name, data in make():
            with whole_file(self.folder / name) as part:
                if isinstance(data, Path):
                    link_or_copy(part, data)
                    continue  # a time would be that of the original
                part.write_bytes(data)
                if made_from is not None:
                    os.utime(part, ns=(int(made_from), int(made_from)))


def tabulate_pairs(pairs: Iterable[ScenePair], problems: Iterable[DataError]) -> pd.DataFrame:
    """Return `FILE_COLUMNS`: one row per complete scene and one per problem of `list_pairs`."""
    complete = [
        (str(p.scene), p.tier, *(p.images[i] for i in PHASES), *(p.labels[i] for i in PHASES), "", "") for p in pairs
    ]
    # The sentence of a problem begins with the scene or the file.
    incomplete = [(e.message.split(maxsplit=1)[0], *[""] * 5, e.message, e.hint) for e in problems]
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
    """Return the complete scenes below `root`, and one error per incomplete scene and misnamed image or label.

    Side files (`*:Zone.Identifier`, hidden files, other suffixes) are ignored. The sentence of an error begins with
    the scene or the file.

    Raises:
        DataError: `root` has none of tier1 (or train), tier3, hold and test, or no scene at all, or one scene in two
            of them.
    """
    if not any((root / name).is_dir() for name in _NAMES):
        raise _no_scenes(root, "has none of the folders tier1 (or train), tier3, hold and test")
    pairs: list[ScenePair] = []
    problems: list[DataError] = []
    for tier in TIERS:
        for item in _list_tier(root, tier):
            if isinstance(item, DataError):
                problems.append(item)
            else:
                pairs.append(item)
    _refuse_repeats(root, pairs)
    if not pairs and not problems:
        raise _no_scenes(root, "has no file named <disaster>_<8 digits>_<pre|post>_disaster.png in its images folders")
    return pairs, problems


def unread_folders(root: Path) -> list[str]:
    """Return the folders below `root` that hold images but are not named after a tier, so that they are not read."""
    return sorted(path.parent.name for path in root.glob("*/images") if path.parent.name not in _NAMES)


def _no_scenes(root: Path, problem: str) -> DataError:
    """Return the error of a folder without scenes; it names a dataset folder a little above or below it."""
    below = (path for pattern in ("*", "*/*") for path in sorted(root.glob(pattern)))
    shown = (path for path in below if not any(part.startswith((".", "__MACOSX")) for part in path.parts))
    candidates = (root.parent, root.parent.parent, *shown)
    right = next((path for path in candidates if any((path / name / "images").is_dir() for name in _NAMES)), None)
    return DataError(
        f"{root} {problem if root.is_dir() else 'is not a folder'}.",
        hint=f"Set dataset.root to {right or 'the folder of the unpacked xBD download'}.",
    )


def _list_tier(root: Path, tier: Tier) -> Iterator[ScenePair | DataError]:
    problems: list[DataError] = []
    files = {kind: _index(root, tier, kind, problems) for kind in SUFFIXES}
    yield from problems
    scenes = sorted({scene for named in files.values() for scene, _ in named})
    if scenes and not files["labels"]:
        yield from (_without_label(tier, scene, len(scenes)) for scene in scenes)
        return
    for scene in scenes:
        wrong = [text for kind, named in files.items() for text in _not_one(named, scene, kind.removesuffix("s"))]
        if wrong:
            yield DataError(
                f"{tier}/{scene} has {' and '.join(wrong)}; a scene has one image and one label per phase.",
                hint="Complete the scene or move its files away, or set data_processing.on_problem: skip.",
            )
        else:
            yield ScenePair(tier, scene, *({p: named[scene, p][0] for p in PHASES} for named in files.values()))


def _without_label(tier: Tier, scene: SceneId, count: int) -> DataError:
    return DataError(
        f"{tier}/{scene} has no labels, like all {count} scenes of {' or '.join(FOLDERS[tier])} here (the challenge "
        "published test images without labels). Scenes without labels are neither trained on nor scored.",
        hint="Add the labels; or set data_processing.on_problem: skip and take each split from folders with labels, "
        "such as data_processing.split: {train: {tier1: 0.9, tier3: 0.75}, validation: {tier3: 0.25}, "
        "test: {tier1: 0.1}}.",
    )


def _not_one(files: _Files, scene: SceneId, kind: str) -> Iterator[str]:
    for phase in PHASES:
        found = files.get((scene, phase), [])
        if len(found) != 1:
            yield f"both {' and '.join(found)}" if found else f"no {phase} {kind}"


def _index(root: Path, tier: Tier, kind: str, problems: list[DataError]) -> _Files:
    files: _Files = defaultdict(list)
    folders = (root / folder / kind for folder in FOLDERS[tier])
    for path in (path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())):
        if path.suffix.lower() in SUFFIXES[kind] and not path.name.startswith("."):
            name = path.relative_to(root).as_posix()
            try:
                files[parse_stem(path.stem)].append(name)
            except DataError:
                problems.append(_misnamed(name))
    return dict(files)


def _refuse_repeats(root: Path, pairs: list[ScenePair]) -> None:
    seen: dict[SceneId, Tier] = {}
    for pair in pairs:
        if pair.scene in seen:
            raise DataError(
                f"{root} has {pair.scene} in {seen[pair.scene]} and in {pair.tier}.",
                hint="Remove one of the two: a scene must not be both trained and tested on.",
            )
        seen[pair.scene] = pair.tier
