"""Prepares the fork server, which imports this module before its first fork."""

from __future__ import annotations

import os

import quick_configuration  # noqa: F401  before the configuration is opened
from run_command import SERVER
from shipped_project import SHIPPED
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

# Processes that a fork starts are forks of this server, too. Python would start another server in each fork.
SERVER.ensure_running = lambda: None

# Keep log messages of workers out of the output of pytest. Commands have their own streams.
for stream in (1, 2):
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)

for kind in ("parameters", "catalog"):
    UserExperimentConfigLoader(str(SHIPPED), **CONFIG_LOADER_ARGS)[kind]  # each text is parsed once
