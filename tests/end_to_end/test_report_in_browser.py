"""The report in a real browser that cannot reach any network."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_without_network_shows_the_report_without_a_complaint(main_run: Path, tmp_path: Path) -> None:
    folder = max((main_run / "08_reporting/default/quickstart").iterdir())
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}",
        "--dump-dom",
        (folder / "report.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603
    assert "CONSOLE" not in done.stderr, done.stderr
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"<b>{metrics['score']:.3f}</b>" in done.stdout
    assert (folder / "report.html").stat().st_size < 10 * 2**20
