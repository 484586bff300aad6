"""Parses the shipped configuration on import, for the processes that are forked afterwards."""

from __future__ import annotations

import quick_configuration  # noqa: F401  before the configuration is opened
from shipped_project import SHIPPED
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

for kind in ("parameters", "catalog"):
    UserExperimentConfigLoader(str(SHIPPED), **CONFIG_LOADER_ARGS)[kind]
