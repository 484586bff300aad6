"""`kedro label DIR`: write a labelling page for an assessment, or print the agreement of two labellers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.table import Table

import xview2_siamese_unet as xview2
from xview2_siamese_unet.cli.command import (
    ProjectCommand,
    features_option,
    json_option,
    open_console,
    out_option,
    print_json,
)

if TYPE_CHECKING:
    from xview2_siamese_unet.labelling.agreement import Agreement

_PATH: Final = click.Path(path_type=Path)


@click.command("label", cls=ProjectCommand)
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--count", type=click.IntRange(min=1), default=60, show_default=True, help="Number of buildings.")
@click.option("--labels", type=_PATH, multiple=True, help="Labels so far, whose buildings are left out.")
@features_option("those of the adapted assessment, else package")
@out_option("Page to write. Default: DIR/label.html.")
@click.option("--show-prediction", is_flag=True, help="Show the predicted class, which influences people.")
@click.option("--pre", type=_PATH, help="Pre-disaster image, if it has moved since the assessment.")
@click.option("--post", type=_PATH, help="Post-disaster image, if it has moved.")
@click.option("--compare", type=_PATH, nargs=2, metavar="FILE FILE", help="Print the agreement of two labellers.")
@json_option
def label_command(
    folder: Path,
    *,
    count: int,
    compare: tuple[Path, Path] | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Write a page on which a person labels the damage of buildings.

    DIR is the folder of an assessment, or of adapted products in it. The page is one HTML file that works without a
    network. The first 24 buildings represent all; with --labels, uncertain ones follow. Buildings of the validation
    sample are left out.

    \b
    kedro label assessment --count 100
    kedro label assessment --compare anna.csv ben.csv
    """  # noqa: D301  click takes the escaped character
    if compare is not None:
        _print(xview2.compare_labels(folder, *compare), as_json=as_json)
        return
    written = xview2.label(folder, count=count, **options)
    if as_json:
        print_json({"page": str(written.path), "building_ids": written.building_ids})
    else:
        click.echo(f"{written.path}: {len(written.building_ids)} buildings to label, open it in a browser")


def _print(result: Agreement, *, as_json: bool) -> None:
    """Print kappa, and the confusion matrix with the first labeller in rows."""
    words = [str(word) for word in result.confusion.columns]
    if as_json:
        kappa = None if math.isnan(result.kappa) else result.kappa
        confusion = {"labels": words, "counts": result.confusion.to_numpy().tolist()}
        print_json({"kappa": kappa, "agreement": result.agreement, "buildings": result.labels, "confusion": confusion})
        return
    table = Table("", *words, title="First labeller in rows, second in columns", title_justify="left")
    for word, row in zip(words, result.confusion.to_numpy(), strict=True):
        table.add_row(word, *map(str, row))
    console = open_console()
    console.print(table)
    console.print(
        f"Cohen's kappa {result.kappa:.3f} · {result.agreement:.1%} of {result.labels} buildings have equal labels"
    )
