"""Run benchmarks and write their output, with their docstrings, to docs/benchmarks.md.

    uv run python benchmarks/page.py [NAME ...]      such as: bench_burn bench_score; default: all of them

Other sections stay unchanged. Run this on an idle machine.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch

from xview2_siamese_unet.parallel import usable_cores

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

Each section is one script of `benchmarks/`: description, command and output. What is compared always runs in the same
invocation. `uv run python benchmarks/page.py` regenerates this page, `… page.py bench_score` one section. Training on a
GPU is [the last section](#training-on-a-gpu). `../shared/xbd` stands for a folder of xBD.
"""


class Benchmark(NamedTuple):
    """A benchmark script, parsed from its docstring."""

    name: str
    title: str
    prose: str
    command: str


def read(path: Path) -> Benchmark:
    """Parse the docstring: title, indented command, description."""
    title, *rest = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")
    commands = [part.strip() for part in rest if part.startswith("    ")]
    prose = "\n\n".join(part for part in rest if not part.startswith("    "))
    # The last command installs what the comparison needs. Drop optional arguments in brackets and notes.
    command = re.sub(r"\s*(\[.*|\s{3,}.*)", "", commands[-1])
    return Benchmark(path.stem, title.rstrip("."), prose, command)


def measure(benchmark: Benchmark) -> str:
    """Run one benchmark and return its section."""
    print(f"{benchmark.name}: {benchmark.command}", flush=True)
    environment = os.environ | ({} if benchmark.name in PARALLEL else {"OMP_NUM_THREADS": "1"})
    done = subprocess.run(  # noqa: S602  a command of our own docstrings
        benchmark.command, shell=True, cwd=HERE.parent, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    print(done.stdout)
    threads = "" if benchmark.name in PARALLEL else "OMP_NUM_THREADS=1 "
    command = benchmark.command.removeprefix("OMP_NUM_THREADS=1 ")
    parts = [
        f"## {benchmark.title}",
        f"<!-- {benchmark.name} -->",
        benchmark.prose,
        f"```bash\n{threads}{command}\n```",
        "```text\n" + done.stdout.strip("\n") + "\n```",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}.\n",
    ]
    return "\n\n".join(parts)


PARALLEL = {"bench_first_day", "bench_main_job", "bench_training", "bench_assess_speed", "bench_startup"}
"""Benchmarks that may use every core."""


def machine() -> str:
    """Return a description of the machine."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {version('torch')}"
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", info.read_text(encoding="utf-8")) if info.exists() else None
    return f"{usable_cores()} cores of {named[1] if named else platform.processor()}, no GPU, torch {version('torch')}"


def main(names: list[str]) -> None:
    """Run the named benchmarks and update the page."""
    benchmarks = [read(path) for path in sorted(HERE.glob("bench_*.py"))]
    unknown = set(names) - {benchmark.name for benchmark in benchmarks}
    if unknown:
        sys.exit(f"No such benchmark: {', '.join(sorted(unknown))}")
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    sections = {
        match[1]: part for part in re.split(r"(?m)^(?=## )", text) if (match := re.search(r"<!-- (\w+) -->", part))
    }
    for benchmark in benchmarks:
        if not names or benchmark.name in names:
            sections[benchmark.name] = measure(benchmark)
            names_of_all = [*(each.name for each in benchmarks), "check_gpu"]  # the last is written by hand
            kept = [sections[name] for name in names_of_all if name in sections]
            PAGE.write_text("\n".join([HEAD, *(section.rstrip() + "\n" for section in kept)]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
