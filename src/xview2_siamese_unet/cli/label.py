"""`kedro label DIR`: a page to label buildings of an assessment with, and the agreement of two labellers."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
import geopandas as gpd
from rich.table import Table

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.cli.command import (
    ProjectCommand,
    features_option,
    json_option,
    open_console,
    out_option,
    print_json,
)
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.inference.buildings import read_building_layer
from xview2_siamese_unet.inference.reopen import assessment_root, reopen_pair, require_record
from xview2_siamese_unet.labelling.agreement import Agreement, kappa
from xview2_siamese_unet.labelling.labels import read_label_files, read_labels, training_labels, validation_ids
from xview2_siamese_unet.labelling.page import labelling_page

_PATH: Final = click.Path(path_type=Path)
_PAGE: Final = "label.html"
_log = logging.getLogger(__name__)


@click.command("label", cls=ProjectCommand)
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--count", type=click.IntRange(min=1), default=60, show_default=True, help="Number of buildings.")
@click.option("--labels", type=_PATH, multiple=True, help="Labels so far: their buildings are not asked for again.")
@features_option
@out_option(f"Page to write. Default: DIR/{_PAGE}.")
@click.option("--show-prediction", is_flag=True, help="Show the predicted class, which influences people.")
@click.option("--pre", type=_PATH, help="Pre-disaster image, if it has moved since the assessment.")
@click.option("--post", type=_PATH, help="Post-disaster image, if it has moved.")
@click.option("--compare", type=_PATH, nargs=2, metavar="FILE FILE", help="Print the agreement of two labellers.")
@json_option
def label_command(  # noqa: PLR0913  one argument an option
    folder: Path,
    *,
    count: int,
    labels: tuple[Path, ...],
    features: tuple[str, ...],
    out: Path | None,
    show_prediction: bool,
    pre: Path | None,
    post: Path | None,
    compare: tuple[Path, Path] | None,
    as_json: bool,
) -> None:
    """Write a page on which a person labels the damage of buildings.

    DIR is the folder of an assessment, or of adapted products in it. The page is one HTML file that works without a
    network. The first 24 buildings represent all; with --labels, those that are uncertain follow. Those of the
    validation sample are never asked for.

    \b
    kedro label assessment --count 100
    kedro label assessment --compare anna.csv ben.csv
    """  # noqa: D301  click takes the escaped character
    shown, folder = folder, assessment_root(folder.expanduser().absolute())
    record, buildings = require_record(folder), read_building_layer(folder / "buildings.gpkg")
    if compare is not None:
        first, second = (read_labels(path, buildings) for path in compare)
        _print(kappa(first, second), as_json=as_json)
        return
    _require_new(page := out or folder / _PAGE)
    known = read_label_files(labels, buildings)
    least = record["settings"]["inference"]["buildings"]["min_visible"]
    free, taken = _free(buildings, least, known["building_id"], validation_ids(folder))
    if not free:
        raise DataError(f"{folder} has no visible building without a label.", hint="There is nothing left to label.")
    pair = reopen_pair(folder, {"pre": pre, "post": post})
    # scikit-learn is slow to import
    from xview2_siamese_unet.adaptation.next_labels import embed_assessed, next_labels  # noqa: PLC0415

    embedding = embed_assessed(folder, pair, buildings, features)
    ids = next_labels(embedding, buildings, free, count, training_labels(known, folder))
    if len(ids) < count:
        _log.warning(
            "only %d buildings to label: of %d, %s, %d have no features",
            *(len(ids), len(buildings), taken, len(free) - len(ids)),
        )
    # A page of adapted products shows their predictions.
    frame = buildings if shown.resolve() == folder.resolve() else read_building_layer(shown / "buildings.gpkg")
    write_atomically(page, labelling_page(frame, pair, ids, show_prediction=show_prediction))
    if as_json:
        print_json({"page": str(page), "building_ids": ids})
    else:
        click.echo(f"{page}: {len(ids)} buildings to label, open it in a browser")


def _require_new(page: Path) -> None:
    """Refuse to replace a page, whose labels may not be exported yet."""
    if page.exists():
        raise DataError(
            f"{page} already exists.", hint="Export its labels, then choose another name with --out, or delete it."
        )


def _free(
    buildings: gpd.GeoDataFrame, min_visible: float, labelled: Iterable[str], sample: Iterable[str]
) -> tuple[list[str], str]:
    """Return the ids that may be asked for, and how many others there are, by the first reason that holds."""
    seen = (buildings["visible_fraction"] >= min_visible) & (buildings["visible_fraction"] > 0)
    visible = buildings["building_id"][seen].dropna()
    unlabelled = visible[~visible.isin(list(labelled))]
    free = unlabelled[~unlabelled.isin(list(sample))]
    hidden, known, drawn = len(buildings) - len(visible), len(visible) - len(unlabelled), len(unlabelled) - len(free)
    taken = f"{hidden} are not visible or have no id, {known} have a label, {drawn} are in the validation sample"
    return free.tolist(), taken


def _print(found: Agreement, *, as_json: bool) -> None:
    """Print kappa, and the confusion matrix with the first labeller in rows."""
    words = [str(word) for word in found.confusion.columns]
    if as_json:
        known = None if math.isnan(found.kappa) else found.kappa
        confusion = {"labels": words, "counts": found.confusion.to_numpy().tolist()}
        print_json({"kappa": known, "agreement": found.agreement, "buildings": found.labels, "confusion": confusion})
        return
    table = Table("", *words, title="First labeller in rows, second in columns", title_justify="left")
    for word, row in zip(words, found.confusion.to_numpy(), strict=True):
        table.add_row(word, *map(str, row))
    console = open_console()
    console.print(table)
    console.print(
        f"Cohen's kappa {found.kappa:.3f} · {found.agreement:.1%} of {found.labels} buildings have equal labels"
    )
