"""Progress bars on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from xview2_siamese_unet import progress
from xview2_siamese_unet.progress import track


def test_progress_is_logged_at_intervals(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, progress.__name__)
    clock = iter([0.0, 10.0, 30.0, 40.0, 59.0])  # the start, then the end of each part
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert list(track("scenes packed", 4, "abcd")) == ["a", "b", "c", "d"]
    assert caplog.messages == ["scenes packed: 2 of 4, about 30 s to go"]


def test_nothing_is_logged_with_quiet(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, progress.__name__)
    monkeypatch.setattr(progress, "SILENCE", 0.0)
    assert list(track("scenes packed", 2, "ab")) == ["a", "b"]
    assert not caplog.messages


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    caplog.set_level(logging.INFO, progress.__package__)
    assert list(track("scenes packed", 2, "ab")) == ["a", "b"]
    assert "scenes packed" in capsys.readouterr().err
