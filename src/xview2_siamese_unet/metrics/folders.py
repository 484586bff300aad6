"""Folders of masks → the official score, one scene in memory at a time.

Two namings. The official one: `{test|hold}_{localization|damage}_<id>_{prediction|target}.png`, with the rules of the
official script. Ours: `<scene>.tif`, as `reporting` writes it, against `<tier>/<scene>_{building|damage}.tif`.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from xview2_siamese_unet.damage import N_CODES
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.metrics.confusion import Counts, IntArray, UInt8Array, count_scene
from xview2_siamese_unet.metrics.table import COUNT_COLUMNS, row_of
from xview2_siamese_unet.raster.io import DRIVERS, read_shape

logger = logging.getLogger(__name__)
OFFICIAL_SIDE: Final = 1024
"""Height and width of every official file, in pixels."""
_KINDS: Final = ("localization", "damage")
_TARGET: Final = re.compile(r"(test|hold)_(localization|damage)_([^_]+)_target\.png")


class MaskSet(NamedTuple):
    """Where the masks of one scene lie.

    Attributes:
        scene: name or id.
        located: where buildings are predicted; the same file as `predicted` in our naming.
        predicted: damage codes.
        building: truth of localisation.
        damage: truth of damage.
    """

    scene: str
    located: Path
    predicted: Path
    building: Path
    damage: Path


def is_official(targets: Path) -> bool:
    """Return whether a folder of targets is named as in the challenge."""
    return any(_files(targets, "*.png"))


def list_mask_sets(predictions: Path, targets: Path) -> list[MaskSet]:
    """Return the scenes of a folder of targets, in whichever of the two namings it has, sorted by name.

    Hidden files, such as those of macOS (`._…`), are passed over; what else has no partner is counted in a warning.

    Raises:
        DataError: no such folder, no target, a name of neither naming, one scene twice, or a file that is missing.
    """
    for folder in (predictions, targets):
        if not folder.is_dir():
            raise DataError(str(folder), found="no such folder", allowed="a folder of masks", remedy="correct the path")
    sets = _official(predictions, targets) or _ours(predictions, targets)
    if not sets:
        raise DataError(
            str(targets),
            found="no target",
            allowed="<test|hold>_localization_<id>_target.png, or <tier>/<scene>_building.tif",
            remedy="give the folder of predictions first and that of targets second",
        )
    for masks in sets:
        _require(masks)
    return sets


def count_folders(predictions: Path, targets: Path, *, side: int | None = None) -> pd.DataFrame:
    """Return a table of counts, one row a scene: `scene` and the columns of counts of `metrics.table`.

    Args:
        predictions: folder of predictions.
        targets: folder of targets.
        side: height and width that every file must have; `None` takes any, the same within a scene.

    Raises:
        DataError: a file that is missing or does not keep the rules of its naming.
    """
    sets = list_mask_sets(predictions, targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        rows = np.array(list(_rows(sets, side)))
    return pd.DataFrame(rows, columns=COUNT_COLUMNS).assign(scene=[masks.scene for masks in sets])


def _official(predictions: Path, targets: Path) -> list[MaskSet]:
    names = {_parse(path) for path in _files(targets, "*.png")}
    partners = {f"{part}_{kind}_{number}_prediction.png" for part, number in names for kind in _KINDS}
    _warn(
        sum(path.name not in partners for path in _files(predictions, "*.png")) if names else 0, "predictions", "target"
    )
    return [
        MaskSet(
            f"{part}_{number}",
            *(predictions / f"{part}_{kind}_{number}_prediction.png" for kind in _KINDS),
            *(targets / f"{part}_{kind}_{number}_target.png" for kind in _KINDS),
        )
        for part, number in sorted(names)
    ]


def _parse(path: Path) -> tuple[str, str]:
    match = _TARGET.fullmatch(path.name)
    if match is None:
        raise DataError(
            str(path),
            found="a name that is none of a target",
            allowed="<test|hold>_<localization|damage>_<id without _>_target.png",
            remedy="rename the file or move it out of the folder",
        )
    return match[1], match[3]


def _ours(predictions: Path, targets: Path) -> list[MaskSet]:
    """Pair every prediction with its truth: the masks of a dataset hold all of its splits, predictions hold one."""
    found = list(_files(targets, "**/*_building.tif"))
    truth = {path.name.removesuffix("_building.tif"): path for path in found}
    if len(truth) < len(found):
        twice = next(path for path in found if truth[path.name.removesuffix("_building.tif")] != path)
        raise DataError(
            f"{targets} has two masks named {twice.name}.", hint="Remove one, or score the masks of one dataset."
        )
    predicted = list(_files(predictions, "*.tif")) if truth else []
    unknown = [path for path in predicted if path.stem not in truth]
    if unknown or (truth and not predicted):
        raise DataError(
            str(unknown[0] if unknown else predictions),
            found="a prediction without a target" if unknown else "no prediction",
            allowed=f"<scene>.tif for scenes that have a <scene>_building.tif below {targets}",
            remedy="give the masks of the dataset that was predicted",
        )
    _warn(len(truth) - len(predicted), "targets", "prediction")
    return [
        MaskSet(path.stem, path, path, truth[path.stem], truth[path.stem].with_name(f"{path.stem}_damage.tif"))
        for path in predicted
    ]


def _files(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files of a folder that are not hidden, sorted."""
    return (path for path in sorted(folder.glob(pattern)) if not path.name.startswith(".") and path.is_file())


def _warn(count: int, what: str, partner: str) -> None:
    if count:
        logger.warning("%d %s have no %s and are not scored", count, what, partner)


def _require(masks: MaskSet) -> None:
    for path in masks[1:]:
        if not path.is_file():
            raise DataError(
                str(path),
                found="no such file",
                allowed=f"all files of scene {masks.scene}",
                remedy="add the file; a scene without buildings needs one too, of zeros",
            )


def _rows(sets: list[MaskSet], side: int | None) -> Iterator[IntArray]:
    """Yield the counts of each scene; all are read into the same memory."""
    planes = np.empty((4, 0, 0), np.uint8)
    for masks in sets:
        shape = (side, side) if side else read_shape(masks.building)[1:]
        planes = planes if planes.shape[1:] == shape else np.empty((4, *shape), np.uint8)
        yield row_of(_count(masks, planes))


def _count(masks: MaskSet, planes: UInt8Array) -> Counts:
    official = masks.building.suffix == ".png"
    for path, plane in zip(masks[1:], planes, strict=True):
        _read(path, plane, N_CODES - 2 if official else N_CODES - 1)
    located, predicted, building, damage = planes
    if not official:
        return count_scene(building, damage, predicted, scene=masks.scene)
    for mask in (located, building):
        np.greater(mask, 0, out=mask.view(np.bool_))
    return count_scene(building, damage, predicted, scene=masks.scene, located=located)


def _read(path: Path, plane: UInt8Array, highest: int) -> None:
    """Read one mask under the rules of the official script; its size is checked before its pixels are decoded."""
    try:
        with rasterio.open(path, driver=DRIVERS[path.suffix]) as source:
            found = _problem_of_header(source, plane.shape)
            if found is None:
                source.read(1, out=plane)
                value = int(plane.max())
                found = f"the value {value}" if value > highest else None
    except RasterioIOError as error:
        found = f"a file that cannot be read ({error})"
    if found is not None:
        raise DataError(
            str(path),
            found=found,
            allowed=f"one band, {plane.shape[1]} × {plane.shape[0]} pixels, uint8 codes 0 to {highest}",
            remedy="write the file again",
        )


def _problem_of_header(source: Any, shape: tuple[int, ...]) -> str | None:  # noqa: ANN401  rasterio has no types
    if source.count != 1:
        return f"{source.count} bands"
    if source.dtypes[0] != "uint8":
        return f"{source.dtypes[0]} values"
    return None if source.shape == shape else f"{source.width} × {source.height} pixels"
