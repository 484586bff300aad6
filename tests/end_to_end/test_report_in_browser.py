"""The report in a real browser that cannot reach any network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from browser import BROWSER, open_browser


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_without_network_shows_the_report_without_an_error(main_run: Path, tmp_path: Path) -> None:
    folder = max((main_run / "08_reporting/default/quickstart").iterdir())
    report = folder / "report.html"
    with open_browser(tmp_path) as tab:
        tab.open(report, ready="document.querySelector('b') !== null")
        shown = tab.value("document.documentElement.outerHTML")
        assert tab.requests() == [report.as_uri()]
        assert tab.complaints() == []
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"<b>{metrics['score']:.3f}</b>" in shown
    assert report.stat().st_size < 10 * 2**20
