"""`kedro doctor`: what this machine and this configuration have, and what is in the way of a run."""

from __future__ import annotations

import json
from typing import Final

import click

from xview2_siamese_unet.cli.command import ProjectCommand
from xview2_siamese_unet.cli.configuration import Source, explain, open_configuration

_COLOURS: Final = {"good": "green", "note": "yellow", "bad": "red"}


@click.command(cls=ProjectCommand)
@click.option("--env", "-e", help="User and experiment, such as lab/002; else KEDRO_ENV, else default/quickstart.")
@click.option("--explain", "keys", multiple=True, metavar="KEY", help="Say where the value of a key comes from.")
def doctor(env: str | None, keys: tuple[str, ...]) -> None:
    """Look at the machine, the configuration and the data; exit with 1 if a run would fail.

    \b
    kedro doctor --env lab/002
    kedro doctor --env lab/002 --explain training.learning_rate
    """  # noqa: D301  click takes the escaped character
    loader = open_configuration(env)
    if keys:
        for key in keys:
            click.echo(_explained(key, *explain(loader, key)))
        return
    from xview2_siamese_unet.cli.checks import run_checks  # noqa: PLC0415  torch and rasterio are slow to import

    findings = list(run_checks(loader))
    for finding in findings:
        remedy = f"; next: {finding.remedy}" if finding.remedy else ""
        # Lines and no table: a path must stay one word to be copied.
        state = click.style(f"{finding.state:<5}", fg=_COLOURS[finding.state])
        click.echo(f"{state} {finding.what:<19} {finding.found.removesuffix('.')}{remedy}")
    if any(finding.state == "bad" for finding in findings):
        raise SystemExit(1)


def _explained(key: str, value: object, sources: list[Source]) -> str:
    width = max((len(json.dumps(source.value, default=str)) for source in sources), default=0)
    lines = [f"{key} = {json.dumps(value, default=str)}"]
    for source in sources:
        holds = "  <- holds" if source is sources[-1] else ""
        lines.append(f"  {json.dumps(source.value, default=str):<{width}}  {source.where}{holds}")
    return "\n".join(lines)
