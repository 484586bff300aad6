"""The audit of dependencies fails for a vulnerability and states if it was skipped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unix

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_vulnerabilities.sh"


@pytest.mark.parametrize(
    ("known", "code", "output"),
    [("echo", 0, "skipped"), ("exit 1", 0, "skipped"), ("echo PYSEC-2019-217; exit 1", 1, "audited")],
    ids=["service knows nothing", "service fails", "service works"],
)
def test_the_audit_fails_for_a_vulnerability_and_states_if_it_is_skipped(
    tmp_path: Path, known: str, code: int, output: str
) -> None:
    fakes = {"uvx": f'case "$*" in *known.txt) {known} ;; *) echo audited; exit 1 ;; esac', "uv": "true"}
    for name, script in fakes.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([str(SCRIPT)], env=path, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == code
    assert output in done.stdout
