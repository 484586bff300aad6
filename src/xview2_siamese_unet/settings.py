"""What Kedro reads first: how this project loads its configuration, and what happens around a run."""

from typing import Any

from fsspec import register_implementation  # type: ignore[import-untyped]

from xview2_siamese_unet.datasets.whole_files import WholeFiles
from xview2_siamese_unet.environments import UserExperimentConfigLoader
from xview2_siamese_unet.hooks import (
    InputsExist,
    ModelIsThere,
    RankZeroWrites,
    RunEnding,
    SeveralOnlyTrain,
    Steps,
    Timing,
)
from xview2_siamese_unet.locks import Locks
from xview2_siamese_unet.session import ProjectSession

# Before any dataset is made: all of Kedro's open their files through fsspec.
register_implementation("file", WholeFiles, clobber=True)

HOOKS = (
    SeveralOnlyTrain(),
    InputsExist(),
    ModelIsThere(),
    RankZeroWrites(),
    Steps(),
    Timing(),
    RunEnding(),
    Locks(),
)
# `.telemetry` silences the command line; a packaged run, which has no such file beside it, is silenced here.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)
SESSION_CLASS = ProjectSession
CONFIG_LOADER_CLASS = UserExperimentConfigLoader
CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "default/quickstart",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
}
