"""Scores of folders of masks, and submissions for the xView2 challenge.

Two naming schemes are scored. Official: `{test|hold}_{localization|damage}_<id>_{prediction|target}.png`, with the
rules of the official script. Ours: `<scene>.tif`, as `reporting` writes it, and `<tier>/<scene>_{building|damage}.tif`.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import numpy as np
import pandas as pd
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from xview2_siamese_unet.config.modelling import Unclassified
from xview2_siamese_unet.damage import N_CODES, Damage
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.metrics.confusion import COUNT_COLUMNS, Predictions, count_scene
from xview2_siamese_unet.metrics.summary import summarise_folders
from xview2_siamese_unet.raster.io import IMAGE_DRIVERS, read_shape
from xview2_siamese_unet.types import Bands, CountRows, Mask

_log = logging.getLogger(__name__)
OFFICIAL_SIDE: Final = 1024
"""Height and width of every official file, in pixels."""
_MOST_IDS: Final = 100_000  # ids have five digits
_KINDS: Final = ("localization", "damage")
_TARGET: Final = re.compile(r"(test|hold)_(localization|damage)_([^_]+)_target\.png")


class MaskFiles(NamedTuple):
    """Files of one scene.

    Attributes:
        scene: name or id.
        located: where buildings are predicted; the same file as `predicted` in our scheme.
        predicted: damage codes.
        building: truth of localisation.
        damage: truth of damage.
    """

    scene: str
    located: Path
    predicted: Path
    building: Path
    damage: Path


def score(
    predictions: Path | str, targets: Path | str, *, any_size: bool = False, unclassified: Unclassified = "ignore"
) -> dict[str, Any]:
    """Return the official xView2 score of two folders of masks, with intervals; the same as `kedro score`.

    Args:
        predictions: folder, see `list_mask_files`.
        targets: folder.
        any_size: whether files of the official names may have another size than the official one.
        unclassified: meaning of un-classified truth.

    Raises:
        ConfigError: unknown meaning of un-classified truth.
        DataError: see `count_folders`.
    """
    if unclassified not in get_args(Unclassified):
        raise ConfigError(f"unclassified is {unclassified}.", hint=f"Name one of {', '.join(get_args(Unclassified))}.")
    predictions, targets = (Path(folder).expanduser() for folder in (predictions, targets))
    side = OFFICIAL_SIDE if is_official(targets) and not any_size else None
    return summarise_folders(count_folders(predictions, targets, side=side), unclassified)


def is_official(targets: Path) -> bool:
    """Return whether a folder of targets is named as in the challenge."""
    return any(_files(targets, "*.png"))


def count_folders(predictions: Path, targets: Path, *, side: int | None = None) -> pd.DataFrame:
    """Return a table of counts, one row a scene: `scene` and `COUNT_COLUMNS`.

    Holds one scene in memory at a time.

    Args:
        predictions: folder of predictions.
        targets: folder of targets.
        side: height and width that every file must have; `None` accepts any size that is the same within a scene.

    Raises:
        DataError: a file that is missing or breaks the rules of its naming scheme.
    """
    scenes = list_mask_files(predictions, targets)
    rows, planes = [], np.empty((4, 0, 0), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        for files in scenes:
            shape = (side, side) if side else read_shape(files.building)[1:]
            # All scenes of one size are read into the same memory.
            planes = planes if planes.shape[1:] == shape else np.empty((4, *shape), np.uint8)
            rows.append(_count(files, planes))
    return pd.DataFrame(np.array(rows), columns=COUNT_COLUMNS).assign(scene=[files.scene for files in scenes])


def list_mask_files(predictions: Path, targets: Path) -> list[MaskFiles]:
    """Return the scenes of a folder of targets in either naming scheme, sorted by name.

    Hidden files, such as those of macOS (`._…`), are skipped; other files without a partner are counted in a warning.

    Raises:
        DataError: no such folder, no target, a name of neither scheme, one scene twice, or a file that is missing.
    """
    for folder in (predictions, targets):
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder.", hint="Correct the path.")
    scenes = _official(predictions, targets) or _ours(predictions, targets)
    if not scenes:
        raise DataError(
            f"{targets} has no target: neither <test|hold>_localization_<id>_target.png nor <scene>_building.tif.",
            hint="Give the folder of predictions first and that of targets second.",
        )
    for files in scenes:
        for path in files[1:]:
            if not path.is_file():
                raise DataError(
                    f"{path} does not exist, but scene {files.scene} needs it.",
                    hint="Add the file; a scene without buildings needs one of zeros.",
                )
    return scenes


def _official(predictions: Path, targets: Path) -> list[MaskFiles]:
    names = {_parse(path) for path in _files(targets, "*.png")}
    scenes = [
        MaskFiles(
            f"{part}_{number}",
            *(predictions / f"{part}_{kind}_{number}_prediction.png" for kind in _KINDS),
            *(targets / f"{part}_{kind}_{number}_target.png" for kind in _KINDS),
        )
        for part, number in sorted(names)
    ]
    partners = {path for files in scenes for path in (files.located, files.predicted)}
    if scenes:
        _warn(sum(path not in partners for path in _files(predictions, "*.png")), "predictions", "target")
    return scenes


def _parse(path: Path) -> tuple[str, str]:
    match = _TARGET.fullmatch(path.name)
    if match is None:
        raise DataError(
            f"{path} is not named <test|hold>_<localization|damage>_<id without _>_target.png.",
            hint="Rename the file or move it out of the folder.",
        )
    return match[1], match[3]


def _ours(predictions: Path, targets: Path) -> list[MaskFiles]:
    """Pair predictions, which are of one split, with the masks of all splits."""
    masks = list(_files(targets, "**/*_building.tif"))
    truth = {path.name.removesuffix("_building.tif"): path for path in masks}
    if len(truth) < len(masks):
        twice = next(path for path in masks if path not in truth.values())
        raise DataError(
            f"{targets} has two masks named {twice.name}.", hint="Remove one, or score the masks of one dataset."
        )
    predicted = list(_files(predictions, "*.tif")) if truth else []
    if truth and not predicted:
        raise DataError(f"{predictions} has no prediction <scene>.tif.", hint="Correct the path.")
    if unknown := [path for path in predicted if path.stem not in truth]:
        raise DataError(
            f"{unknown[0]} has no target {unknown[0].stem}_building.tif below {targets}.",
            hint="Give the masks of the dataset that was predicted.",
        )
    _warn(len(truth) - len(predicted), "targets", "prediction")
    return [
        MaskFiles(path.stem, path, path, truth[path.stem], truth[path.stem].with_name(f"{path.stem}_damage.tif"))
        for path in predicted
    ]


def _files(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files of a folder that are not hidden, sorted."""
    return (path for path in sorted(folder.glob(pattern)) if not path.name.startswith(".") and path.is_file())


def _warn(count: int, what: str, partner: str) -> None:
    if count:
        _log.warning("%d %s have no %s and are not scored", count, what, partner)


def _count(files: MaskFiles, planes: Bands) -> CountRows:
    official = files.building.suffix == ".png"
    for path, plane in zip(files[1:], planes, strict=True):
        _read(path, plane, N_CODES - 2 if official else N_CODES - 1)
    located, predicted, building, damage = planes
    if not official:
        return count_scene(building, damage, predicted, scene=files.scene).row()
    for mask in (located, building):
        np.greater(mask, 0, out=mask.view(np.bool_))
    return count_scene(building, damage, predicted, scene=files.scene, located=located).row()


def _read(path: Path, plane: Mask, highest: int) -> None:
    """Read one mask under the rules of the official script, its header first."""
    try:
        with rasterio.open(path, driver=IMAGE_DRIVERS[path.suffix]) as source:
            problem = _problem_of_header(source, plane.shape)
            if problem is None:
                source.read(1, out=plane)
                value = int(plane.max())
                problem = f"holds the value {value}" if value > highest else None
    except RasterioIOError as error:
        problem = f"cannot be read ({error})"
    if problem is not None:
        raise DataError(
            f"{path} {problem}; one band of {plane.shape[1]} × {plane.shape[0]} pixels, uint8 codes 0 to {highest}, "
            "is needed.",
            hint="Write the file again.",
        )


def _problem_of_header(source: Any, shape: tuple[int, ...]) -> str | None:  # noqa: ANN401  rasterio has no types
    if source.count != 1:
        return f"has {source.count} bands"
    if source.dtypes[0] != "uint8":
        return f"has {source.dtypes[0]} values"
    return None if source.shape == shape else f"has {source.width} × {source.height} pixels"


def number_scenes(counts: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest of a submission: columns id (five digits) and scene.

    Raises:
        DataError: more scenes than ids.
    """
    if len(counts) > _MOST_IDS:
        raise DataError(
            f"A submission has ids for {_MOST_IDS} scenes, got {len(counts)}.", hint="Score a smaller split."
        )
    scenes = sorted(counts["scene"])
    return pd.DataFrame({"id": [f"{number:05d}" for number in range(len(scenes))], "scene": scenes})


def submission_masks(manifest: pd.DataFrame, predictions: Predictions, part: str) -> Iterator[tuple[str, Mask]]:
    """Yield file stem and codes, 1024 × 1024 pixels, of both files of each scene.

    Holds one scene in memory at a time. A predicted un-classified building is 1 in the localisation file and 0 in the
    damage file, which has no such class. It is a hit in neither, so the official script and our count agree.

    Args:
        manifest: columns id and scene.
        predictions: scene name → loader of its predicted damage map.
        part: `test` or `hold`.

    Raises:
        DataError: a prediction of another size than the official one.
    """
    for number, scene in manifest[["id", "scene"]].astype(str).itertuples(index=False, name=None):
        codes = predictions[scene]()
        if codes.shape != (OFFICIAL_SIDE, OFFICIAL_SIDE):
            raise DataError(
                f"The prediction of {scene} has {codes.shape[1]} × {codes.shape[0]} pixels, but the official script "
                f"takes {OFFICIAL_SIDE} × {OFFICIAL_SIDE} only.",
                hint="Predict scenes of xBD.",
            )
        yield f"{part}_localization_{number}_prediction", (codes > 0).view(np.uint8)
        yield f"{part}_damage_{number}_prediction", np.where(codes == Damage.UNCLASSIFIED, np.uint8(0), codes)
