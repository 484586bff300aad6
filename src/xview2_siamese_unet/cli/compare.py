"""`kedro compare`: scored experiments side by side."""

from __future__ import annotations

from pathlib import Path

import click

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.cli.command import (
    ProjectCommand,
    json_option,
    open_catalog,
    open_console,
    out_option,
    print_json,
)
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.report import comparison
from xview2_siamese_unet.report.comparison import Experiment
from xview2_siamese_unet.runs import flatten


@click.command("compare", cls=ProjectCommand)
@click.argument("experiments", metavar="EXPERIMENT EXPERIMENT...", nargs=-1, required=True)
@out_option("Also write the comparison to this HTML file.")
@json_option
def compare_command(experiments: tuple[str, ...], out: Path | None, *, as_json: bool) -> None:
    """Compare scored experiments with the first one.

    An EXPERIMENT is <user>/<experiment>, as for --env, for its newest finished run, or <user>/<experiment>@<run>.
    Prints the settings in which the runs differ, scores with 95 % intervals, their paired differences, and the scenes
    that changed most.

    \b
    kedro compare lab/strong lab/bigger-crops --out comparison.html
    kedro compare lab/strong@2026-11-26T05.29.19.123Z lab/strong
    """  # noqa: D301  click takes the escaped character
    if len(set(experiments)) != len(experiments) or len(experiments) < 2:
        raise click.UsageError("Name two experiments or more, each once.")
    compared = comparison.compare([open_experiment(name) for name in experiments])
    if out is not None:
        write_atomically(out, comparison.render_comparison(compared))
    if as_json:
        print_json(comparison.comparison_numbers(compared))
    else:
        open_console().print(comparison.comparison_tables(compared))


def open_experiment(name: str) -> Experiment:
    """Return a scored run of an experiment, read through its own catalog.

    Args:
        name: `<user>/<experiment>` or `<user>/<experiment>@<run>`.

    Raises:
        DataError: the run has no scores.
    """
    catalog, env = open_catalog(name), name.partition("@")[0]
    if absent := [needed for needed in ("run", "scene_counts", "metrics") if not catalog.exists(needed)]:
        raise DataError(f"{name} has no {', '.join(absent)}.", hint=f"Run kedro run --env {env} first.")
    unclassified, run = catalog.load("metrics")["unclassified"], catalog.load("run")
    return Experiment(name, catalog.load("scene_counts"), unclassified, flatten(run["settings"]))
