"""`kedro slurm`: submit the job script for an environment and a number of nodes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import click
from kedro.utils import find_kedro_project

from xview2_siamese_unet.cli.command import ProjectCommand, open_configuration
from xview2_siamese_unet.errors import ConfigError

_SCRIPT = Path("slurm") / "train.sh"
_CORES = 16  # for each GPU, as the script asks for one


def _gpus(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    """Return the options of sbatch for GPUs on a node, with their cores."""
    if value is None:
        return []
    count = value.rpartition(":")[2]
    if not count.isdigit():
        raise click.BadParameter(f"{value!r} does not end in a number.")
    return ["--gpus-per-node", value, "--cpus-per-task", str(_CORES * max(1, int(count)))]


@click.command(cls=ProjectCommand, context_settings={"ignore_unknown_options": True})
@click.option("--env", "-e", required=True, help="User and experiment, such as lab/002.")
@click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Number of nodes to train on.")
@click.option("--gpus", metavar="[TYPE:]N", callback=_gpus, help="GPUs on each node, such as 4 or h100:4. Default: 1.")
@click.option("--dry-run", is_flag=True, help="Print the command and the script without submitting.")
@click.argument("run_options", nargs=-1, type=click.UNPROCESSED)
def slurm(env: str, nodes: int, gpus: list[str], dry_run: bool, run_options: tuple[str, ...]) -> None:
    """Train ENV on a Slurm cluster; RUN_OPTIONS are passed to `kedro run`.

    Submits slurm/train.sh, which requeues itself when its time is up and resumes from the last finished epoch. Set
    options of sbatch (partition, account) with the environment variables that sbatch reads.

    \b
    kedro slurm --env lab/strong --nodes 2 --gpus 4 --dry-run
    kedro slurm --env lab/strong -- --params training.epochs=60
    """  # noqa: D301  click takes the escaped character
    project = find_kedro_project(Path.cwd()) or Path.cwd()
    script = project / _SCRIPT
    if not script.is_file():
        raise ConfigError(f"{script} does not exist.", hint="Run this command inside the project.")
    open_configuration(env)  # a job would wait in the queue before it failed
    command = ["sbatch", "--nodes", str(nodes), *gpus, str(_SCRIPT), env, *run_options]
    if dry_run:
        click.echo(f"{shlex.join(command)}\n\n{script.read_text(encoding='utf-8')}", nl=False)
        return
    if shutil.which("sbatch") is None:
        raise ConfigError("There is no command sbatch here.", hint="Log in to the cluster, or use --dry-run.")
    done = subprocess.run(command, check=False, cwd=project)  # noqa: S603  a list, no shell
    if done.returncode:  # sbatch has printed the reason
        raise SystemExit(done.returncode)
