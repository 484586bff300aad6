"""Runs that would write to the same folders come one after the other."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from xview2_siamese_unet.atomic import remove_debris
from xview2_siamese_unet.errors import StorageError
from xview2_siamese_unet.hooks import rank

logger = logging.getLogger(__name__)

FOLDER: Final = ".locks"
"""Below the storage; its files are empty and stay."""
_EXPERIMENT: Final = {"feature_statistics", "modelling", "reporting"}
"""Tags of the pipelines whose results are those of one experiment."""
_WHOLE: Final = {"labels", "scenes"}
"""Datasets that no part of a job array makes."""


class Locks:
    """Lets one run at a time make a dataset, others wait for it; and one run at a time work on an experiment.

    They are locks of the operating system: one that is killed frees its own. Free of them are the parts of a dataset
    that a job array burns and packs, which keep apart by themselves; all processes of `torchrun` but the first; and
    `kedro assess`, which has a folder of its own.
    """

    def __init__(self) -> None:
        self._context: KedroContext | None = None
        self._held: dict[str, FileLock] = {}
        self._unsaved: set[str] = set()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remember it: only a run needs to know where it writes."""
        self._context = context

    @hook_impl(trylast=True)  # a run that other hooks refuse has taken nothing
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Take the locks that the run needs.

        Raises:
            StorageError: another run works on the experiment.
        """
        self._release()  # what a run of this process held when somebody interrupted it
        if rank() > 0 or self._context is None:
            return
        config = self._context.config_loader
        named = config["globals"]
        storage = self._context.project_path / named["storage"]
        if any(_EXPERIMENT & node.tags for node in pipeline.nodes):
            self._begin_experiment(storage, f"{named['group']}/{named['experiment']}")
        self._unsaved = pipeline.only_nodes_with_tags("data_processing").all_outputs()
        if self._unsaved & _WHOLE:
            self._wait_for_dataset(storage, config["parameters"]["dataset"]["name"])

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Let others make the dataset when this run has."""
        self._unsaved.discard(dataset_name)
        if not self._unsaved and (lock := self._held.pop("dataset", None)):
            lock.release()

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Let others work on the experiment."""
        self._release()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Let others work on both."""
        self._release()

    def _begin_experiment(self, storage: Path, name: str) -> None:
        if not self._take("experiment", storage / FOLDER / f"experiments/{name}.lock"):
            raise StorageError(
                f"experiment {name}",
                found="another run of it that is under way",
                allowed="one at a time, for they write to the same folders",
                remedy="wait until it ends, or choose another experiment; a notebook lets go when its kernel ends",
            )
        for folder in storage.glob(f"0?_*/{name}"):
            remove_debris(folder)

    def _wait_for_dataset(self, storage: Path, name: str) -> None:
        path = storage / FOLDER / f"datasets/{name}.lock"
        if not self._take("dataset", path):
            logger.info("another run makes dataset %s: waiting until it is there", name)
            self._take("dataset", path, seconds=-1)

    def _take(self, what: str, path: Path, seconds: float = 0) -> bool:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Nodes run in threads, and any of them may be the one that releases.
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=seconds, poll_interval=0.2)
        except Timeout:
            return False
        self._held[what] = lock
        return True

    def _release(self) -> None:
        for lock in self._held.values():
            lock.release()
        self._held, self._unsaved = {}, set()
