"""The split of each scene, and the scenes of a subset.

The scene numbers of an event are assigned to the splits in cycles, as long as the shares need to come out even (3/4 and
1/4: four scenes); a hash of the event gives the start. So the split of a scene depends only on its own name: adding a
scene moves no other, and every event is in every split. Shares hold for any consecutive numbers: to one scene for
training and for two splits that use the whole folder, to less than two for a further split.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from hashlib import blake2b
from json import detect_encoding
from math import floor, lcm
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import pandas as pd

from xview2_siamese_unet.config.data_processing import SplitParams
from xview2_siamese_unet.config.dataset import SubsetParams
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.xbd.scenes import parse_stem

_log = logging.getLogger(__name__)
Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
_VALIDATION: Final = 4  # one of so many scenes that are not tested validates in cross-validation


def split_scenes(scenes: pd.DataFrame, params: SplitParams) -> pd.DataFrame:
    """Return the table (scene, split), one row per scene that a split uses, in the order of `scenes`.

    Args:
        scenes: with the columns scene, tier and disaster.
        params: shares of the folders, or events to leave out, or a file.

    Raises:
        ConfigError: an event or a scene that is not in the dataset, or a training or test split without scenes.
    """
    if params.file is not None:
        table = _read(params.file, set(scenes["scene"]))
    elif params.fold is not None:
        table = _cross_validate(scenes, *params.fold)
    else:
        table = pd.DataFrame(
            [(row.scene, split) for row in scenes.itertuples() if (split := _assign(row, params)) is not None],
            columns=["scene", "split"],
        ).astype("str")
    if params.leave_events_out:
        table = _hold_out(table, scenes, params.leave_events_out)
    table = _require_all_splits(table)
    if unused := len(scenes) - len(table):
        _log.warning("%d of %d scenes are in no split (data_processing.split)", unused, len(scenes))
    return table


def _cross_validate(scenes: pd.DataFrame, part: int, parts: int) -> pd.DataFrame:
    """Assign scenes to the folds in turn, by event and scene, so that each fold gets its share of every event."""
    table = scenes.sort_values(["disaster", "scene"], ignore_index=True)[["scene"]].assign(split="train")
    tested = table.index % parts == part - 1
    table.loc[tested, "split"] = "test"
    table.loc[table.index[~tested][1::_VALIDATION], "split"] = "validation"
    return table


def leave_out(table: pd.DataFrame, scenes: Collection[str]) -> pd.DataFrame:
    """Return the table of splits without some scenes; every other scene keeps its split.

    Raises:
        ConfigError: a split has no scene left.
    """
    return _require_all_splits(table[~table["scene"].isin(list(scenes))].reset_index(drop=True))


def _require_all_splits(table: pd.DataFrame) -> pd.DataFrame:
    for split in SPLITS:
        if split not in set(table["split"]):
            raise ConfigError(
                f"The {split} split has no scene ({len(table)} scenes are in the other splits).",
                hint=f"Add scenes, or take some from another folder: data_processing.split.{split}, such as "
                "{tier1: 0.1}, and less of that folder in the other splits.",
            )
    return table


def choose_subset(scenes: pd.DataFrame, params: SubsetParams) -> pd.DataFrame:
    """Return the rows of `scenes` that the subset keeps: the same share of every folder and event.

    A count is divided among folders and events in proportion to their size (largest remainder).
    """
    groups = scenes.groupby(["tier", "disaster"], sort=True)["scene"]
    sizes = groups.size()
    wanted = np.ceil(sizes.to_numpy() * params.share - 1e-9).astype(np.int64)
    if params.count is not None and params.count < wanted.sum():
        exact = wanted * (params.count / wanted.sum())
        wanted = np.floor(exact).astype(np.int64)
        rest = params.count - int(wanted.sum())
        wanted[np.argsort(wanted - exact, kind="stable")[:rest]] += 1
    kept: set[str] = set()
    for (_, names), count in zip(groups, wanted, strict=True):
        kept.update(sorted(names, key=_hash)[:count])
    return scenes[scenes["scene"].isin(kept)].reset_index(drop=True)


def _assign(row: object, params: SplitParams) -> Split | None:
    """Return the split of one scene, `None` if the shares leave it out."""
    scene = parse_stem(f"{row.scene}_pre_disaster")[0]  # type: ignore[attr-defined]
    # A share such as 0.1 is meant as 1/10, not as the binary fraction nearest to it; nine digits tell any two apart.
    shares = {split: Fraction(getattr(params, split).get(row.tier, 0)).limit_denominator(10**9) for split in SPLITS}  # type: ignore[attr-defined]
    length = lcm(*(share.denominator for share in shares.values()))
    start = int(Fraction(_hash(f"{params.seed}:{scene.disaster}")) * length)
    return _pick((scene.number + start) % length, shares)


def _pick(position: int, shares: Mapping[Split, Fraction]) -> Split | None:
    """Return the first split whose running total increases at a position of the cycle; the others share the rest."""
    left = Fraction(1)
    for split, share in shares.items():
        part = min(share / left, Fraction(1)) if left > 0 else Fraction(0)  # shares may add up to a billionth over 1
        before, after = floor(position * part), floor((position + 1) * part)
        if after > before:
            return split
        position -= before
        left -= share
    return None


def _hash(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone (Python's own `hash` differs between runs)."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48


def _hold_out(table: pd.DataFrame, scenes: pd.DataFrame, events: Iterable[str]) -> pd.DataFrame:
    known = set(scenes["disaster"])
    for event in events:
        if event not in known:
            raise ConfigError(
                f"data_processing.split.leave_events_out names {event}, which is not an event of the dataset.",
                hint=f"Choose among {', '.join(sorted(known))}.",
            )
    held_out = scenes.loc[scenes["disaster"].isin(list(events)), "scene"]
    others = table[~table["scene"].isin(held_out) & (table["split"] != "test")]
    return pd.concat([others, pd.DataFrame({"scene": held_out, "split": "test"})], ignore_index=True)


def _read(path: Path, known: set[str]) -> pd.DataFrame:
    try:
        # Excel writes a byte order mark, or UTF-16.
        table = pd.read_csv(path, dtype=str, encoding=detect_encoding(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"data_processing.split.file {path} cannot be read ({error}).",
            hint="Correct the path or the file, a CSV with the columns scene and split.",
        ) from error
    if not {"scene", "split"} <= set(table.columns):
        raise DataError(f"{path} has columns {', '.join(table.columns)}.", hint="Name two of them scene and split.")
    scenes, splits = table["scene"], table["split"]
    _refuse(path, set(splits) - set(SPLITS), f"which is not a split ({', '.join(SPLITS)})")
    _refuse(path, set(scenes) - known, "which is not a scene of the dataset")
    _refuse(path, set(scenes[scenes.duplicated()]), "a scene that is listed twice")
    return table[["scene", "split"]].reset_index(drop=True)


def _refuse(path: Path, wrong: set[str], why: str) -> None:
    if wrong:
        raise DataError(f"{path} names {', '.join(sorted(map(str, wrong))[:3])}, {why}.", hint="Correct the file.")
