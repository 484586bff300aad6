"""File locks between sessions that write to the same folders, and removal of old runs after a training."""

from __future__ import annotations

import errno
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from filelock import FileLock, Timeout
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from xview2_siamese_unet.atomic import IN_USE, nearest_existing, remove_debris
from xview2_siamese_unet.errors import InUseError, StorageError
from xview2_siamese_unet.runs import MODELS, Run, list_runs, remove_run
from xview2_siamese_unet.training.distributed import get_rank

if TYPE_CHECKING:
    from xview2_siamese_unet.config_loader import UserExperimentConfigLoader

_log = logging.getLogger(__name__)

FOLDER: Final = ".locks"
"""Folder of lock files below the storage; the files are empty and never removed."""
_EXPERIMENT: Final = {"feature_statistics", "modelling", "reporting"}
"""Tags of the pipelines whose results belong to one run."""
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""`errno` on file systems without locks: NFS without lockd, Lustre without flock."""
_WHOLE: Final = {"scenes"}
"""Datasets that are never made in shards."""


class Locks:
    """Hooks that let one session at a time work on a run, assess into a folder, or make a dataset.

    A second session waits for a dataset; for a run or a folder, it is refused. Runs of one experiment with different
    settings do not exclude each other. The locks are those of the operating system, so that a killed process frees its
    own; on a file system without locks, a session logs a warning and runs without them. The shards of a job array need
    no locks, and only rank 0 of `torchrun` takes any.
    """

    def __init__(self) -> None:
        self._context: KedroContext | None = None
        self._catalog: DataCatalog | None = None
        self._held: dict[str, FileLock] = {}
        self._unsaved: set[str] = set()
        self._made: list[Path] = []
        self._worked_on: tuple[Path, str, Run] | None = None
        self._keep: int | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keep the context: the folders are needed only if a pipeline runs."""
        self._context = context

    @hook_impl
    def after_catalog_created(self, catalog: DataCatalog) -> None:
        """Keep the catalog: it has the folder of an assessment."""
        self._catalog = catalog

    @hook_impl(trylast=True)  # a run that other hooks refuse takes no lock
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Take the locks of the run.

        Raises:
            StorageError: another session is working on the same run, or writing to the same folder.
        """
        self._release()  # locks of an interrupted run of this process
        if get_rank() > 0 or self._context is None:
            return
        config = cast("UserExperimentConfigLoader", self._context.config_loader)
        named = config["globals"]
        storage = self._context.project_path / named["storage"]
        if any(_EXPERIMENT & node.tags for node in pipeline.nodes):
            self._begin_run(storage, f"{named['group']}/{named['experiment']}", config.run)
            self._keep = named["keep"] if any("modelling" in node.tags for node in pipeline.nodes) else None
        if "assessment" in pipeline.inputs() and self._catalog is not None:
            self._begin_assessment(self._catalog["assessment"].load())
        self._unsaved = pipeline.only_nodes_with_tags("data_processing").all_outputs()
        if self._unsaved & _WHOLE:
            self._wait_for_dataset(storage, config["parameters"]["dataset"]["name"])

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Release the dataset as soon as this run has made it."""
        self._unsaved.discard(dataset_name)
        if not self._unsaved and (lock := self._held.pop("dataset", None)):
            lock.release()

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Remove the oldest runs after a training, and release this one."""
        if self._keep is not None and self._worked_on is not None:
            self._remove_old(*self._worked_on, self._keep)
        self._release()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Release all locks."""
        self._release()

    def _begin_run(self, storage: Path, name: str, run: Run) -> None:
        # Locked by settings, not by id: otherwise two sessions with equal settings would each begin a run.
        if not self._take("run", _lock_of(storage, name, run)):
            raise StorageError(
                f"Another session is working on this run of {name}.",
                hint="Wait until it ends, or change a setting; a notebook releases it when its kernel ends.",
            )
        self._worked_on = storage, name, run
        for folder in storage.glob(f"0?_*/{name}/{run.name}"):
            remove_debris(folder)

    def _remove_old(self, storage: Path, name: str, mine: Run, keep: int) -> None:
        """Remove old runs; keep the newest `keep` finished ones, unfinished newer ones and those in use."""
        runs = list_runs(storage / MODELS / name)
        kept = [run.name for run in runs if run.is_finished][:keep]
        old = [run for run in runs if kept and run.name < min(kept) and run.name != mine.name]
        removed = [run.name for run in old if run.key == mine.key or self._take(run.name, _lock_of(storage, name, run))]
        for run in removed:
            remove_run(storage, name, run)
        if removed:
            _log.info("removed %d old runs because keep is %d: %s", len(removed), keep, ", ".join(removed))

    def _begin_assessment(self, folder: Path) -> None:
        """Lock the folder itself: other storages may share it, and only users who can write to it may lock it."""
        if not nearest_existing(folder).is_dir():
            return  # nothing can be written there: the run itself reports that
        self._made = [each for each in (folder, *folder.parents) if not each.exists()]
        if not self._take("assessment", folder / IN_USE):
            self._release()
            raise InUseError(
                f"Another assessment is writing to {folder}.",
                hint="Wait until it ends, or choose another folder; a notebook releases it when its kernel ends.",
            )

    def _wait_for_dataset(self, storage: Path, name: str) -> None:
        path = storage / FOLDER / f"datasets/{name}.lock"
        if not self._take("dataset", path):
            _log.info("another run makes dataset %s: waiting until it is finished", name)
            self._take("dataset", path, seconds=-1)

    def _take(self, what: str, path: Path, seconds: float = 0) -> bool:
        lock = acquire(path, seconds)
        if lock is not None:
            self._held[what] = lock
        return lock is not None

    def _release(self) -> None:
        if lock := self._held.get("assessment"):
            with suppress(PermissionError):  # Windows removes it when the lock is released
                Path(lock.lock_file).unlink(missing_ok=True)
        for lock in self._held.values():
            lock.release()
        with suppress(OSError):  # a folder that holds products stays
            for folder in self._made:
                folder.rmdir()
        self._held, self._unsaved, self._made, self._worked_on, self._keep = {}, set(), [], None, None


def _lock_of(storage: Path, experiment: str, run: Run) -> Path:
    return storage / FOLDER / "runs" / experiment / f"{run.key}.lock"


def acquire(path: Path, seconds: float = 0) -> FileLock | None:
    """Return the lock of a file, `None` if another process holds it for `seconds`; -1 waits without a limit.

    On a file system without locks, a warning is logged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Nodes may run in threads, any of which may release it.
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(timeout=seconds, poll_interval=0.2)
    except Timeout:
        return None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _log.warning(
            "%s: this file system does not support locks. Do not start two runs that write here at the same time",
            path.parent,
        )
    return lock
