"""`python -m xview2_siamese_unet` is `kedro run` of the installed package."""

from __future__ import annotations

import pytest

from xview2_siamese_unet import __main__ as packaged


@pytest.mark.parametrize("given", [{}, {"standalone_mode": False}])
def test_options_go_to_run_and_only_a_prompt_keeps_python_alive(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, bool]
) -> None:
    configured: list[str] = []
    monkeypatch.setattr(packaged, "configure_project", configured.append)
    monkeypatch.setattr(packaged, "find_run_command", lambda package: lambda *args, **kwargs: (package, args, kwargs))
    expected = {"standalone_mode": given.get("standalone_mode", True)}
    assert packaged.main(["--env", "x"], **given) == ("xview2_siamese_unet", (["--env", "x"],), expected)
    assert configured == ["xview2_siamese_unet"]
