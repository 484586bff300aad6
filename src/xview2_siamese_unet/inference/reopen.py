"""Reopen the images of a finished assessment on its grid."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely

from xview2_siamese_unet.errors import DataError, StaleError
from xview2_siamese_unet.inference.pair import without_fill
from xview2_siamese_unet.inference.products import RUN_RECORD, read_record
from xview2_siamese_unet.inference.record import describe_source
from xview2_siamese_unet.raster.grid import Grid
from xview2_siamese_unet.raster.reader import Pair, ShiftField, Stretch
from xview2_siamese_unet.raster.source import Source, read_source

INPUTS: Final = ".inputs.json"
"""File in the folder of an assessment with the paths of its images, which `run.json` leaves out: it is published."""
ADAPTED: Final = "adapted"
"""Folder of adapted products in that of an assessment."""


def assessment_root(folder: Path) -> Path:
    """Return the folder of the assessment that a folder of adapted products belongs to, else the folder itself."""
    return folder.parent if folder.name == ADAPTED and (folder.parent / RUN_RECORD).exists() else folder


def describe_inputs(pair: Pair) -> dict[str, str]:
    """Return the content of `.inputs.json`: the paths of the images, absolute because the folder may move."""
    paths = {"pre": str(pair.pre.path.absolute()), "post": str(pair.post.path.absolute())}
    return {"post": paths["post"]} if pair.post_only else paths


def require_record(folder: Path) -> dict[str, Any]:
    """Return the record of a finished assessment.

    Raises:
        DataError: the folder holds no finished assessment.
    """
    record = read_record(folder)
    if record is None:
        raise DataError(
            f"{folder} holds no finished assessment (run.json).",
            hint="Name the folder that kedro assess --out has written.",
        )
    return record


def reopen_pair(folder: Path, given: Mapping[str, Path | str | None] | None = None) -> Pair:
    """Return the pair of an assessment with its grid, stretch, shift and area of interest.

    Args:
        folder: of the assessment.
        given: `pre` and `post`, if the images have moved; by default the paths in `.inputs.json`.

    Raises:
        DataError: no assessment, or an image that is not found.
        StaleError: the images have changed since.
    """
    record = require_record(folder)
    post_only = record["pre"] is None
    post = _reopen_source(folder, record, "post", (given or {}).get("post"))
    pre = post if post_only else _reopen_source(folder, record, "pre", (given or {}).get("pre"))
    grid, field, aoi = dict(record["grid"]), record["shift_field_px"], record["aoi"]
    grid["pixel"] = grid.pop("pixel_m")
    first, second = (None if each is None else Stretch(*each) for each in record["stretch"])
    columns, rows = record["shift_px"]
    pair = Pair(
        Grid(**grid),
        pre,
        post,
        stretch=(first, second),
        shift=(columns, rows),
        field=None if field is None else _shift_field(field),
        black_is_no_data=record["black_is_no_data"],
        aoi=None if aoi is None else shapely.from_wkt(aoi),
        post_only=post_only,
    )
    return without_fill(pair)[0]


def _shift_field(field: Mapping[str, Any]) -> ShiftField:
    rows, columns = field["spacing"]
    return ShiftField((rows, columns), np.array(field["rows"], float), np.array(field["columns"], float))


def _reopen_source(folder: Path, record: Mapping[str, Any], name: str, moved: Path | str | None) -> Source:
    """Return one image, which must have the bytes that were assessed."""
    recorded = _recorded_path(folder, name, record[name]["name"])
    path = recorded if moved is None else Path(moved).expanduser().absolute()
    hint = f"Name the {name}-disaster image with --{name}."
    if not path.exists():
        raise DataError(f"The {name}-disaster image of {folder} is not at {path}.", hint=hint)
    source = read_source(path, record["settings"]["inference"]["images"][f"{name}_bands"])
    if describe_source(source)["files"] != record[name]["files"]:
        raise StaleError(
            f"{path} is not the {name}-disaster image that was assessed in {folder}: its files or bytes differ.",
            hint=f"{hint} If the image has changed, assess again.",
        )
    return source


def _recorded_path(folder: Path, name: str, file: str) -> Path:
    """Return the path of an image in `.inputs.json`; without that file, its name in the folder of the assessment.

    Relative paths start at the folder. The record may come from another person, so only the file name in it is used.
    """
    try:
        paths: dict[str, str] = json.loads((folder / INPUTS).read_text(encoding="utf-8"))
        return folder / paths[name]
    except (OSError, ValueError, KeyError, TypeError):
        return folder / Path(file).name
