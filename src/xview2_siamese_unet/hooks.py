"""What happens around a run, whichever pipelines it has."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from numbers import Real
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline

logger = logging.getLogger(__name__)


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


class RankZeroWrites:
    """Under `torchrun` each process runs the same pipeline; only rank 0 writes and speaks."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Keep what the other ranks make in memory."""
        if _rank() == 0:
            return
        logging.getLogger("kedro").setLevel(logging.ERROR)  # also silences one warning for each dataset replaced
        for name in pipeline.all_outputs():
            catalog[name] = MemoryDataset(copy_mode="assign")


class RunEnding:
    """Says at the end of a run that scored a model what the score is, and where the report lies."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}

    @hook_impl
    def after_catalog_created(self, conf_catalog: Mapping[str, Any]) -> None:
        """Remember where datasets lie; a dataset itself does not tell."""
        self._paths = {name: entry["filepath"] for name, entry in conf_catalog.items() if "filepath" in entry}

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Log the scores of `metrics` and the path of `report`, each if this run made it."""
        made = pipeline.all_outputs()
        if _rank() > 0:
            return
        if "metrics" in made:
            metrics = catalog["metrics"].load()
            scores = [f"{name} {value:.4f}" for name, value in metrics.items() if isinstance(value, Real)]
            logger.info("Scores: %s", ", ".join(scores))
        if "report" in made and "report" in self._paths:
            logger.info("Report: %s", self._paths["report"])
