"""The labelling page, and the choice of the buildings to label next."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd

from xview2_siamese_unet.adaptation.buildings import predict_all, zero_shot_of
from xview2_siamese_unet.adaptation.embedding import Embedding
from xview2_siamese_unet.adaptation.fitting import Labelled, fit_head, merge_rare, spatial_blocks
from xview2_siamese_unet.adaptation.head import HEAD, Head, read_head
from xview2_siamese_unet.adaptation.sources import embed_with
from xview2_siamese_unet.adaptation.suggest import FIRST, feature_space, resemblance, suggest
from xview2_siamese_unet.atomic import require_file_path, write_atomically
from xview2_siamese_unet.config.adaptation import as_list, is_checkpoint
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.inference.buildings import read_building_layer
from xview2_siamese_unet.inference.reopen import ADAPTED, assessment_root, reopen_pair, require_record
from xview2_siamese_unet.labelling.labels import read_label_files, training_labels, validation_ids
from xview2_siamese_unet.labelling.page import labelling_page
from xview2_siamese_unet.raster.reader import Pair
from xview2_siamese_unet.types import Float32Array, Float64Array, Int64Array

_log = logging.getLogger(__name__)


class LabellingPage(NamedTuple):
    """A labelling page on disk.

    Attributes:
        path: of the file.
        building_ids: of its buildings, in the order of the page.
    """

    path: Path
    building_ids: list[str]


def label(  # noqa: PLR0913  one argument an option
    folder: Path | str,
    *,
    count: int = 60,
    labels: Path | str | Sequence[Path | str] = (),
    features: str | Sequence[str] = (),
    out: Path | str | None = None,
    show_prediction: bool = False,
    pre: Path | str | None = None,
    post: Path | str | None = None,
) -> LabellingPage:
    """Write a page on which a person labels the damage of buildings; the same as `kedro label FOLDER`.

    Args:
        folder: of an assessment, or of adapted products in it.
        count: number of buildings.
        labels: files of labels so far, whose buildings are left out.
        features: names of sources, see `embed_assessed`.
        out: page to write; default: `label.html` in the folder of the assessment.
        show_prediction: whether to show the predicted class, which influences people.
        pre: pre-disaster image, if it has moved since the assessment.
        post: post-disaster image, if it has moved.

    Raises:
        ConfigError: the count is below 1, or the features cannot be used.
        DataError: there is no assessment, labels cannot be read, nothing is left to label, or the page already exists.
    """
    _require_some(count)
    shown = Path(folder).expanduser()
    folder = assessment_root(shown.absolute())
    record, buildings = require_record(folder), read_building_layer(folder / "buildings.gpkg")
    _require_new(page := Path(out or folder / "label.html").expanduser())
    known = read_label_files([Path(file).expanduser() for file in as_list(labels)], buildings)
    free, taken = _free(buildings, record, known["building_id"], validation_ids(folder))
    pair = reopen_pair(folder, {"pre": pre, "post": post})
    embedding = embed_assessed(folder, pair, buildings, as_list(features))
    ids = next_labels(embedding, buildings, free, count, training_labels(known, folder))
    if len(ids) < count:
        _log.warning(
            "only %d buildings to label: of %d, %s, %d have no features",
            *(len(ids), len(buildings), taken, len(free) - len(ids)),
        )
    if shown.resolve() != folder.resolve():  # a page of adapted products shows their predictions
        buildings = read_building_layer(shown / "buildings.gpkg")
    write_atomically(page, labelling_page(buildings, pair, ids, show_prediction=show_prediction))
    return LabellingPage(page, ids)


def _require_some(count: int) -> None:
    if count < 1:
        raise ConfigError(f"A page cannot have {count} buildings.", hint="Name a count of at least 1.")


def _require_new(page: Path) -> None:
    """Require that a page can be written and does not exist: its labels may not have been exported yet."""
    require_file_path(page)
    if page.exists():
        raise DataError(
            f"{page} already exists.", hint="Export its labels, then choose another name with --out, or delete it."
        )


def _free(
    buildings: gpd.GeoDataFrame, record: Mapping[str, Any], labelled: Iterable[str], sample: Iterable[str]
) -> tuple[list[str], str]:
    """Return the ids of buildings that may be labelled next, and a text that counts the others by reason.

    Raises:
        DataError: there is no such building.
    """
    least = record["settings"]["inference"]["buildings"]["min_visible"]
    is_visible = (buildings["visible_fraction"] >= least) & (buildings["visible_fraction"] > 0)
    visible = buildings["building_id"][is_visible].dropna()
    unlabelled = visible[~visible.isin(list(labelled))]
    free = unlabelled[~unlabelled.isin(list(sample))]
    hidden, known, drawn = len(buildings) - len(visible), len(visible) - len(unlabelled), len(unlabelled) - len(free)
    taken = f"{hidden} are not visible or have no id, {known} have a label, {drawn} are in the validation sample"
    if free.empty:
        raise DataError(
            f"There is no visible building without a label: {taken}.", hint="There is nothing left to label."
        )
    return free.tolist(), taken


def embed_assessed(folder: Path, pair: Pair, buildings: gpd.GeoDataFrame, features: Sequence[str] = ()) -> Embedding:
    """Return the features of the buildings of an assessment, which are kept below its folder.

    Args:
        folder: of the assessment.
        pair: its images.
        buildings: all of them.
        features: names of the sources; default: those of the adapted assessment, else `package`.
    """
    return embed_with(features or _sources(folder), buildings.geometry, pair, folder)


def next_labels(
    embedding: Embedding,
    buildings: gpd.GeoDataFrame,
    candidates: Sequence[str],
    count: int,
    labels: pd.DataFrame | None = None,
) -> list[str]:
    """Return the ids of the buildings to label next, the most useful first; fewer if no more have features.

    The first buildings represent all in features and on the map. From `FIRST` labels of two classes on, they are those
    that a head fitted on the labels so far is least confident about, again spread over the features.

    Args:
        embedding: features of all buildings.
        buildings: all of them.
        candidates: ids to choose from, without those of the validation sample.
        count: number of ids.
        labels: so far, see `training_labels`.
    """
    centres = buildings.geometry.centroid
    coordinates = feature_space(embedding, np.column_stack([centres.x, centres.y]))
    head = margins = None
    if labels is not None and len(labels) >= FIRST:
        labelled = labelled_buildings(embedding, buildings, labels, feature_space(embedding))
        labelled = labelled._replace(classes=merge_rare(labelled.classes))
        if len(labelled.classes) >= FIRST and len(np.unique(labelled.classes)) > 1:
            head = fit_head(embedding, labelled)
            margins = _margins(head, embedding, buildings)
    chosen = suggest(coordinates, _numbers(buildings, candidates), count, head, margins)
    return [str(name) for name in buildings["building_id"].iloc[chosen]]


def _sources(folder: Path) -> tuple[str, ...]:
    """Return the sources of features of the adapted assessment, else `package`."""
    path = folder / ADAPTED / HEAD
    features = read_head(path).facts.get("features") if path.is_file() else None
    if features and any(map(is_checkpoint, features)):
        _log.warning(
            "suggestions use the features package: a head file does not record the path of %s", " and ".join(features)
        )
        features = None
    return tuple(features or ("package",))


def _numbers(buildings: gpd.GeoDataFrame, ids: Sequence[str]) -> Int64Array:
    """Return the row numbers of buildings by id.

    Raises:
        DataError: no building has one of the ids.
    """
    known = np.flatnonzero(buildings["building_id"].notna())
    positions = pd.Index(buildings["building_id"].iloc[known].astype(str)).get_indexer(pd.Index(list(ids)))
    if (positions < 0).any():
        first = ids[int(np.argmin(positions))]
        raise DataError(
            f"{(positions < 0).sum()} of {len(ids)} ids belong to no building; the first is {first!r}.",
            hint="Name labels of this assessment.",
        )
    numbers: Int64Array = known[positions]
    return numbers


def labelled_buildings(
    embedding: Embedding, buildings: gpd.GeoDataFrame, labels: pd.DataFrame, coordinates: Float32Array
) -> Labelled:
    """Return the labelled buildings that have features.

    Args:
        embedding: features of all buildings.
        buildings: all of them.
        labels: `building_id` and `damage`, which is never missing.
        coordinates: of all buildings, from `feature_space` without positions on the map.

    Raises:
        DataError: none of them has features, or no building has one of the ids.
    """
    numbers = _numbers(buildings, labels["building_id"].tolist())
    classes, rows = labels["damage"].to_numpy(np.int64), embedding.rows(numbers)
    visible = np.isfinite(rows[:, 0])
    if not visible.any():
        raise DataError(
            f"None of the {len(labels)} labelled buildings is visible in the images.",
            hint="Label buildings of a page of kedro label, which leaves out those that are not visible.",
        )
    numbers = numbers[visible]
    centres, zero_shot = buildings.geometry.iloc[numbers].centroid, zero_shot_of(buildings)
    return Labelled(
        rows[visible],
        classes[visible],
        spatial_blocks(np.column_stack([centres.x, centres.y])),
        resemblance(coordinates, numbers),
        None if zero_shot is None else zero_shot[numbers],
    )


def _margins(head: Head, embedding: Embedding, buildings: gpd.GeoDataFrame) -> Float64Array:
    """Return the difference of the two largest probabilities of each building."""
    ranked = np.sort(predict_all(head, embedding, buildings), axis=1)
    margins: Float64Array = ranked[:, -1] - ranked[:, -2]
    return margins
