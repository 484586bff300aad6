"""A session of Kedro that chooses the run of the experiment before the catalog names its files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, cast

from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession

from xview2_siamese_unet.runs import Run
from xview2_siamese_unet.training.distributed import get_rank

if TYPE_CHECKING:
    from xview2_siamese_unet.environments import UserExperimentConfigLoader

logger = logging.getLogger(__name__)

_MAKES_RUNS: Final = {"__default__", "data_processing", "feature_statistics", "modelling"}
"""Pipelines that write what decides a run; all others look at one that is there."""


class ProjectSession(KedroSession):
    """What `kedro run` and notebooks run pipelines in.

    Attributes:
        begins_runs: whether what is running makes a run, and does not only look at one.
        worked_on: the run of the experiment that was worked on.
    """

    begins_runs = False
    worked_on: Run

    def load_context(self) -> KedroContext:
        """Open the configuration, whose catalog names the files of one run."""
        context = super().load_context()
        loader = cast("UserExperimentConfigLoader", context.config_loader)
        loader.project, loader.begins_runs = context.project_path, self.begins_runs
        if self.begins_runs:
            self.worked_on = loader.run
            if get_rank() == 0:
                logger.info(self.worked_on.reason)
        return context

    def run(self, *args: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        """Run as Kedro does."""
        self.begins_runs = bool({*(options.get("pipeline_names") or ["__default__"])} & _MAKES_RUNS)
        return super().run(*args, **options)
