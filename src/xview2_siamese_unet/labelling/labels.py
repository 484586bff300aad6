"""Labels of buildings, from the labelling page, QGIS or a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pandas as pd

from xview2_siamese_unet.damage import SCORED, Damage
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.buildings import SHARES
from xview2_siamese_unet.inference.footprints import as_texts
from xview2_siamese_unet.inference.vector_formats import read_table, split_layer
from xview2_siamese_unet.labelling.spatial_join import match_shapes
from xview2_siamese_unet.validation.sampling import by_id

CANNOT_TELL: Final = "cannot-tell"
NO_BUILDING: Final = "no-building"
_LABELS: Final = ("label", "damage", "class", "damage_class", "damage_label")
"""Columns with the class, in any case."""
_ID: Final = "building_id"
_TABLES: Final = (".csv", ".tsv", ".txt")
_WORDS: Final[dict[str, Damage | None]] = {
    **{re.sub("[^a-z]", "", code.word): code for code in SCORED},
    **dict.fromkeys(("undamaged", "notdamaged", "novisibledamage", "intact"), Damage.NO_DAMAGE),
    "minor": Damage.MINOR_DAMAGE,
    "major": Damage.MAJOR_DAMAGE,
    **dict.fromkeys(("cannottell", "canttell", "u", "unknown", "unclear", "unclassified", "unsure"), None),
    "nobuilding": Damage.BACKGROUND,
}
"""Name of a class without spaces, hyphens and underscores → the class."""
_NUMBERS: Final[dict[int, Damage | None]] = {int(code): code for code in SCORED} | {int(Damage.UNCLASSIFIED): None}
_EMPTY: Final = ("", "none", "nan", "null", "<na>")
"""Texts that programs write for a missing label."""
_MEGABYTES: Final = 100
_TWIN: Final = 20
"""Number of labels from which it is suspicious if all equal the predictions."""
_log = logging.getLogger(__name__)


def read_labels(path: Path, buildings: gpd.GeoDataFrame) -> pd.DataFrame:
    """Return the labels of a file: `building_id` and `damage`, in the order of the file.

    `damage` (Int8) is 1 to 4, 0 if there is no building, or missing if the labeller cannot tell. Each building occurs
    once. Rows that cannot be used are left out and counted in a warning.

    Args:
        path: CSV with the columns `building_id` (or `id`) and `label` (or `damage`, `class`), or points or polygons in
            a vector file; `|layername=NAME` names a layer. Shapes without `building_id` belong to the footprint they
            lie in.
        buildings: the assessed buildings, `building_id` and polygons.

    Raises:
        DataError: ids of buildings repeat, the file is unreadable, holds predictions instead of labels, unknown classes
            or conflicting labels of one building, or no row belongs to a building.
    """
    file = split_layer(path)[0]
    rows = _read_csv(file) if file.suffix.lower() in _TABLES else _read_shapes(path, buildings)
    name, total = file.name, len(rows)
    empty = rows["label"].str.strip().str.casefold().isin(_EMPTY)
    _warn(name, total, empty, "have no label yet (empty, none, nan or null)")
    rows = _known(rows[~empty], buildings, name)
    rows = rows.assign(damage=_classes(rows["label"], name))
    labels = _once(rows, name)
    _refuse_predictions(labels, buildings, name)
    return labels


def read_label_files(paths: Iterable[Path], buildings: gpd.GeoDataFrame) -> pd.DataFrame:
    """Return the labels of all files, each building once; see `read_labels`.

    Raises:
        DataError: a file cannot be used, or files disagree about a building.
    """
    read = [read_labels(path.expanduser(), buildings) for path in paths]
    if not read:
        return pd.DataFrame({"building_id": pd.Series(dtype=object), "damage": pd.Series(dtype="Int8")})
    labels = pd.concat(read, ignore_index=True)
    repeated = labels.groupby("building_id")["damage"].nunique(dropna=False)
    if disagreeing := repeated.index[repeated > 1].tolist():
        raise DataError(
            f"The files of labels disagree about {len(disagreeing)} buildings; the first is {disagreeing[0]}.",
            hint="Correct them; kedro label --compare shows how two labellers differ.",
        )
    return labels.drop_duplicates("building_id", ignore_index=True)


def training_labels(labels: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return the labels that name a class, without those of the validation sample; warnings count the others.

    Args:
        labels: of `read_label_files`.
        folder: of the assessment.
    """
    labels = exclude_validation(labels, validation_ids(folder))
    named = labels["damage"].isin(SCORED)
    if not named.all():
        _log.warning("%d of %d labels name no damage class and are not used for training", (~named).sum(), len(labels))
    return labels[named].reset_index(drop=True)


def exclude_validation(labels: pd.DataFrame, sample: Collection[str]) -> pd.DataFrame:
    """Return the labels without those of the validation sample, which must not be trained on; a warning counts them.

    Args:
        labels: as `read_labels` returns them.
        sample: ids, see `validation_ids`.
    """
    in_sample = labels[_ID].isin(list(sample))
    if in_sample.any():
        _log.warning(
            "%d of %d labels belong to the validation sample and are not used for training",
            *(in_sample.sum(), len(labels)),
        )
    return labels[~in_sample].reset_index(drop=True)


def require_classes(labels: pd.DataFrame) -> None:
    """Require at least two damage classes; `no-building` and `cannot-tell` do not count.

    Raises:
        DataError: all labels are of one class, or there are none.
    """
    codes = labels["damage"].dropna()
    codes = codes[codes > 0]
    if codes.empty:
        raise DataError(f"None of the {len(labels)} labels is a damage class.", hint="Label at least two classes.")
    if codes.nunique() < 2:
        raise DataError(
            f"All {len(codes)} labels are {Damage(codes.iloc[0]).word}; two classes are needed.",
            hint="Label buildings of other classes, too.",
        )


def validation_ids(folder: Path) -> list[str]:
    """Return the ids of the validation sample of an assessment; empty without one."""
    path = folder / "validation" / "sample.csv"
    return pd.read_csv(path, dtype=str, keep_default_na=False)[_ID].tolist() if path.is_file() else []


def _warn(name: str, total: int, rows: pd.Series[bool], what: str) -> None:
    if rows.any():
        _log.warning("%s: %d of %d rows %s; they are left out", name, rows.sum(), total, what)


def _read_csv(path: Path) -> pd.DataFrame:
    """Return `building_id` and `label` as text."""
    if not path.is_file():
        raise DataError(f"{path}: no such file.", hint="Check the path.")
    if path.stat().st_size > _MEGABYTES * 10**6:
        raise DataError(f"{path} has more than {_MEGABYTES} MB, too many for labels.", hint="Name another file.")
    data = path.read_bytes()
    try:
        # Spreadsheets write UTF-8 with a byte order mark, or UTF-16 as "Unicode text".
        text = data.decode(json.detect_encoding(data[:4])).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not valid UTF-8.", hint="Save it again as CSV UTF-8.") from error
    first, _, rest = text.partition("\n")
    text = rest if first.lower().startswith("sep=") else text  # a line that Excel writes for itself
    table = _parse_csv(text, path.name)
    label = _label_column(list(table.columns), path.name)
    lower = {name.lower(): name for name in reversed(table.columns)}
    key = lower.get(_ID) or lower.get("id")
    if key is None:
        raise DataError(
            f"{path.name} has no column {_ID} (columns: {', '.join(table.columns)}).",
            hint=f"Name the column with the ids of the buildings {_ID}.",
        )
    return pd.DataFrame({_ID: table[key], "label": table[label]})


def _parse_csv(text: str, name: str) -> pd.DataFrame:
    """Return the columns as text; pandas would rename repeated columns and drop fields that have none.

    Raises:
        DataError: the text is not CSV, columns repeat, or rows have more fields than columns.
    """
    separator = max(";\t,", key=text.partition("\n")[0].count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise DataError(f"{name} cannot be read: {error}.", hint="Save it again as CSV UTF-8.") from error
    if not rows:
        raise DataError(f"{name} is empty.", hint="Export the labels again.")
    header, *rows = [[field.strip() for field in rows[0]], *filter(None, rows[1:])]
    repeated = [column for column in header if column and [each.lower() for each in header].count(column.lower()) > 1]
    if repeated:
        raise DataError(f"{name} has several columns {repeated[0]!r}.", hint="Rename or delete all but one.")
    width = len(header)
    long = [row for row in rows if any(row[width:])]
    if long:
        raise DataError(
            f"{len(long)} of {len(rows)} rows of {name} have more fields than its {width} columns; the first begins "
            f"with {long[0][0]!r}.",
            hint="Put fields that hold the separator in quotes.",
        )
    return pd.DataFrame([(row + [""] * width)[:width] for row in rows], columns=header, dtype=object)


def _read_shapes(path: Path, buildings: gpd.GeoDataFrame) -> pd.DataFrame:
    """Return `building_id`, empty if a shape lies in no footprint or in several, and `label` as text."""
    frame, columns, warnings, *_ = read_table(path, (_ID, *_LABELS), "labels", points=True)
    name = split_layer(path)[0].name
    for warning in warnings:
        _log.warning(warning)
    label = _label_column(columns, name)
    key = next((column for column in columns if column.lower() == _ID), None)
    # Other columns, such as fid, are often row numbers, which a footprint may have as its id by accident.
    ids = pd.Series("" if key is None else [text or "" for text in as_texts(frame[key])], frame.index, dtype=object)
    labels = pd.Series([text or "" for text in as_texts(frame[label])], frame.index, dtype=object)
    unplaced = (ids.str.strip() == "") & (labels.str.strip() != "")
    if unplaced.any():
        ids[unplaced] = match_shapes(frame[unplaced], buildings, name)
    return pd.DataFrame({_ID: ids, "label": labels})


def _label_column(columns: Collection[str], name: str) -> str:
    """Return the column with the classes.

    Raises:
        DataError: there is no such column, several, or only one with predictions.
    """
    lower = {column.lower() for column in columns}
    predicted = {"damage", "damage_label"} if lower & {*SHARES, "confidence", "run_id", "model_id"} else set()
    candidates = [column for column in columns if column.lower() in _LABELS and column.lower() not in predicted]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise DataError(
            f"{name} has several columns that may hold labels: {', '.join(candidates)}.",
            hint="Rename all but one, so that one is called label.",
        )
    if predicted & lower:
        raise DataError(
            f"{name} holds the predictions of an assessment, not labels.",
            hint="Add a column label (text), and enter what you see in the images.",
        )
    raise DataError(
        f"{name} has no column label, damage or class (columns: {', '.join(columns)}).",
        hint="Name the column with the classes label.",
    )


def _known(rows: pd.DataFrame, buildings: gpd.GeoDataFrame, name: str) -> pd.DataFrame:
    """Return the rows whose id is that of a building, as the assessment writes it."""
    known = set(by_id(buildings).index)
    written = rows[_ID].str.strip()
    whole = written.str.replace(r"^(\d+)[.,]0+$", r"\1", regex=True)  # a spreadsheet's 12.0, or 12,0
    ids = written.where(written.isin(known), whole)
    blank = ids == ""
    _warn(name, len(rows), blank, "belong to no building")
    unknown = ~ids.isin(known) & ~blank
    if unknown.any():
        first = ids[unknown].iloc[0]
        if unknown.sum() == (~blank).sum():
            raise DataError(
                f"None of the {unknown.sum()} ids in {name} belongs to a building of this assessment; the first is "
                f"{first!r}.",
                hint=f"Name the assessment that was labelled. Its ids look like {min(known, default='')!r}.",
            )
        _warn(name, len(rows), unknown, f"name buildings that this assessment does not have, such as {first!r}")
    return rows.assign(building_id=ids)[ids.isin(known)]


def _classes(texts: pd.Series[Any], name: str) -> Any:  # noqa: ANN401  an extension array
    """Return the classes: 0 for no building, missing if the labeller cannot tell."""
    codes, unknown = {}, []
    for text in texts.unique():
        word, number = re.sub(r"[\W_]+", "", text.casefold()), re.fullmatch(r"(\d+)([.,]0*)?", text.strip())
        table: dict[Any, Damage | None] = _NUMBERS if number else _WORDS
        key = int(number[1]) if number else word
        if key in table or text.strip() == "?":
            codes[text] = table.get(key)
        else:
            unknown.append(text)
    if unknown:
        rows = texts.isin(unknown).sum()
        legend = ", ".join(f"{int(code)} {code.word}" for code in SCORED)
        raise DataError(
            f"Unknown damage class {unknown[0]!r} in {name} ({rows} of {len(texts)} rows have an unknown class).",
            hint=f"Use {legend}, {CANNOT_TELL} or {NO_BUILDING}.",
        )
    return pd.array([codes[text] for text in texts], dtype="Int8")


def _once(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return each building once.

    Raises:
        DataError: labels of one building disagree.
    """
    distinct = rows[[_ID, "damage"]].drop_duplicates()
    disagree = distinct[distinct[_ID].duplicated(keep=False)]
    if len(disagree):
        first = disagree[_ID].iloc[0]
        words = [label_word(code) for code in disagree.loc[disagree[_ID] == first, "damage"]]
        raise DataError(
            f"{disagree[_ID].nunique()} buildings in {name} have labels that disagree; the first is {first!r}: "
            f"{' and '.join(words)}.",
            hint="Keep one label per building. Two labellers have a file each.",
        )
    if repeated := len(rows) - len(distinct):
        _log.warning("%s: %d of %d labels repeat another one; each counts once", name, repeated, len(rows))
    return distinct.astype({_ID: str}).reset_index(drop=True)


def label_word(code: Any) -> str:  # noqa: ANN401
    """Return the name of a code of `read_labels`, as the labelling page exports it."""
    if pd.isna(code):
        return CANNOT_TELL
    return Damage(code).word if code else NO_BUILDING


def _refuse_predictions(labels: pd.DataFrame, buildings: gpd.GeoDataFrame, name: str) -> None:
    """Refuse labels that equal all predictions of the assessment; warn if they equal those of some buildings."""
    if "damage" not in buildings or labels["damage"].count() < _TWIN:
        return
    predicted = by_id(buildings)["damage"].astype("Int8")
    if not labels["damage"].equals(predicted.reindex(labels[_ID]).reset_index(drop=True)):
        return
    if labels["damage"].count() == predicted.count():
        raise DataError(
            f"{name} holds the predictions of this assessment, not labels: its {len(labels)} classes equal the "
            "predicted ones of all assessed buildings.",
            hint="Label what you see in the images.",
        )
    _log.warning("%s: all %d labels equal the predictions; check that a person entered them", name, len(labels))
