"""Fixtures that import Kedro, which would slow down tests elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS


@pytest.fixture
def load() -> Callable[..., UserExperimentConfigLoader]:
    """Return a function that creates the loader as Kedro does: `load(conf, env, **runtime_params)`."""

    def make(conf: Path, env: str | None = None, **params: object) -> UserExperimentConfigLoader:
        return UserExperimentConfigLoader(conf, env=env, runtime_params=params, **CONFIG_LOADER_ARGS)

    return make
