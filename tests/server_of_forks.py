"""Prepares the server, which imports this before it forks the first process of the tests."""

from __future__ import annotations

import os

import quick_configuration  # noqa: F401  before the configuration is opened
from run_command import SERVER
from shipped_project import SHIPPED
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

# Its forks start processes, too, as forks of this server: Python would start another one for each.
SERVER.ensure_running = lambda: None

# Not on the terminal, between the dots of pytest, what workers log; a command has streams of its own.
for stream in (1, 2):
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)

for kind in ("parameters", "catalog"):
    UserExperimentConfigLoader(str(SHIPPED), **CONFIG_LOADER_ARGS)[kind]  # each text is parsed once
