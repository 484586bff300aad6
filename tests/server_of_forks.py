"""Prepares the server, which imports this before it forks the first process of the tests."""

from __future__ import annotations

from multiprocessing import forkserver

import quick_configuration  # noqa: F401  before the configuration is opened
from shipped_project import SHIPPED
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

# Its forks start processes, too, as forks of this server: Python would start another one for each.
forkserver._forkserver.ensure_running = lambda: None  # type: ignore[attr-defined,method-assign]

for kind in ("parameters", "catalog"):
    UserExperimentConfigLoader(str(SHIPPED), **CONFIG_LOADER_ARGS)[kind]  # each text is parsed once
