"""Kedro settings: configuration loader, session and hooks."""

from typing import Any

from fsspec import register_implementation  # type: ignore[import-untyped]

from xview2_siamese_unet.atomic import AtomicLocalFileSystem
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.hooks import RankZeroWrites, RunEnding, Steps
from xview2_siamese_unet.locks import Locks
from xview2_siamese_unet.runs import ProjectSession
from xview2_siamese_unet.tracking import Tracking

# Registered before any dataset is made, because Kedro's datasets open their files through fsspec. Without this, a full
# disk leaves half a table in place of a whole one (tests/reliability/test_atomic.py).
register_implementation("file", AtomicLocalFileSystem, clobber=True)

HOOKS = (RankZeroWrites(), Steps(), RunEnding(), Locks(), Tracking())
# `.telemetry` turns telemetry off for the command line; a packaged run has no such file and is covered here.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)
SESSION_CLASS = ProjectSession
CONFIG_LOADER_CLASS = UserExperimentConfigLoader
CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "default/quickstart",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
}
