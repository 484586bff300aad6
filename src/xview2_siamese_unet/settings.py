"""What Kedro reads first: how this project loads its configuration, and what happens around a run."""

from typing import Any

from xview2_siamese_unet.environments import UserExperimentConfigLoader
from xview2_siamese_unet.hooks import InputsExist, RankZeroWrites, RunEnding, Steps, Timing

HOOKS = (InputsExist(), RankZeroWrites(), Steps(), Timing(), RunEnding())
# `.telemetry` silences the command line; a packaged run, which has no such file beside it, is silenced here.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)
CONFIG_LOADER_CLASS = UserExperimentConfigLoader
CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "default/quickstart",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
}
