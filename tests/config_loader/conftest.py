"""Kedro is imported here and not in the tests' root, whose tests take milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS


@pytest.fixture
def load() -> Callable[..., UserExperimentConfigLoader]:
    """The loader of a folder or archive of configuration, as Kedro makes it: `load(conf, env, **runtime_params)`."""

    def make(conf: Path, env: str | None = None, **params: object) -> UserExperimentConfigLoader:
        return UserExperimentConfigLoader(conf, env=env, runtime_params=params, **CONFIG_LOADER_ARGS)

    return make
