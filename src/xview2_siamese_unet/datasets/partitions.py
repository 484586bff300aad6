"""Folders of partitions: a node returns one function per partition; saving calls those of missing or stale ones."""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, NoReturn

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import ImagePreview

from xview2_siamese_unet.atomic import write_atomically
from xview2_siamese_unet.config.data_processing import ShardParams
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.datasets.files import Loaded, OneFile
from xview2_siamese_unet.datasets.preview import picture_of_masks, picture_of_pairs
from xview2_siamese_unet.errors import ConfigError, DataError, StaleError
from xview2_siamese_unet.parallel import Lazy, Partition, make_missing, parallel_map
from xview2_siamese_unet.raster.masks import SceneMasks
from xview2_siamese_unet.xbd.archives import is_archive
from xview2_siamese_unet.xbd.scenes import SceneFiles

_log = logging.getLogger(__name__)
STAMP = "made_with.json"


class Partitions(dict[str, Lazy[Any]]):
    """Lazily saved partitions, name → function, and how to make them.

    Args:
        makers: of all partitions, even if a shard makes only some of them.
        what: a noun for the log, such as `scene masks`.
        made_with: settings that all partitions of the folder share; a folder made with others is refused.
        executor: where they are made.
        shard: the part of them that this run makes.
        skip: leave out a partition that cannot be made instead of stopping the run.
    """

    def __init__(
        self,
        makers: Mapping[str, Lazy[Any]],
        *,
        what: str,
        made_with: Mapping[str, Any] = MappingProxyType({}),
        executor: ExecutorParams = ExecutorParams(),  # noqa: B008  frozen
        shard: ShardParams = ShardParams(),  # noqa: B008
        skip: bool = False,
    ) -> None:
        super().__init__(makers)
        self.what, self.made_with, self.executor, self.shard, self.skip = what, made_with, executor, shard, skip


class PartitionsDataset(AbstractDataset[Partitions, Loaded], Generic[Loaded]):
    """A folder of partitions; memory does not grow with their number, and an interrupted run resumes.

    Args:
        filepath: the folder.
        metadata: for Kedro-Viz; ignored here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath).absolute()  # a worker on another node starts in another folder
        self.metadata = metadata

    def save(self, data: Partitions) -> None:
        """Make partitions that are missing or out of date.

        Raises:
            StaleError: the folder was made with other settings.
            DataError: a partition cannot be made, and `skip` is false.
        """
        if data.made_with:
            check_stamp(self._folder, data.made_with)
        self._make(data)

    def _make(self, data: Partitions) -> dict[str, DataError]:
        """Make the shard of this run; return the problem of each partition that was left out."""
        names = list(data)[data.shard.index :: data.shard.count]
        jobs = [(self._partition(name), data[name]) for name in names]
        results = list(parallel_map(partial(make_missing, skip=data.skip), jobs, data.executor, data.what))
        made, reused = results.count(True), results.count(False)
        _log.info("%s: %d made, %d reused", data.what, made, reused)
        return {name: result for name, result in zip(names, results, strict=True) if not isinstance(result, bool)}

    @abstractmethod
    def _partition(self, name: str) -> Partition[Any]:
        """Return the files of a partition."""

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder}


class SceneFolderDataset(PartitionsDataset[Path]):
    """A folder in the layout of the xBD download, a partition per scene; loading returns the folder.

    Args:
        filepath: the folder; unused if the download is a folder, which is read in place and never written to.
        source: `xbd`, `sample` or `other`.
        path: the download of `xbd`.
        metadata: for Kedro-Viz; ignored here.
    """

    def __init__(
        self, *, filepath: str, source: str = "sample", path: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        download = DownloadDataset(source=source, path=path).load()
        self._is_download = download is not None and not is_archive(download)
        self._folder = download if download is not None and self._is_download else self._folder

    def save(self, data: Partitions) -> None:
        """Make missing files.

        Raises:
            ConfigError: they would be written to a download.
        """
        if data and self._is_download:
            raise ConfigError(
                f"{self._folder} is a download, which is never written to.",
                hint="Set source and root of dataset in globals.yml, or pass both as --params.",
            )
        if data:
            super().save(data)

    def _partition(self, name: str) -> SceneFiles:
        return SceneFiles(self._folder, name)

    def load(self) -> Path:
        """Return the folder."""
        return self._folder

    def preview(self) -> ImagePreview:
        """Return both images of some scenes, as Kedro-Viz shows them."""
        return ImagePreview(picture_of_pairs(self._folder))


class DownloadDataset(AbstractDataset[NoReturn, Path | None]):
    """The downloaded folder or archive; `None` for other sources than xBD.

    Args:
        source: `xbd`, `sample` or `other`.
        path: of the download, for `xbd`.
        metadata: for Kedro-Viz; ignored here.
    """

    def __init__(self, *, source: str, path: str | None, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(path).absolute() if source == "xbd" and path is not None else None
        self.metadata = metadata

    def load(self) -> Path | None:
        """Return its path."""
        return self._path

    def save(self, data: NoReturn) -> None:
        """Refuse: inputs are never written to."""
        raise DatasetError("A download is read only.")

    def _exists(self) -> bool:
        return self._path is None or self._path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path}


class MasksDataset(PartitionsDataset[Callable[[str], SceneMasks]]):
    """Masks by `<tier>/<scene>`; loading returns a function, name → `SceneMasks`, which reads them on request."""

    def _partition(self, name: str) -> SceneMasks:
        return SceneMasks(self._folder, name)

    def load(self) -> Callable[[str], SceneMasks]:
        """Return the function."""
        return partial(SceneMasks, self._folder)

    def preview(self) -> ImagePreview:
        """Return masks of some scenes, as Kedro-Viz shows them."""
        return ImagePreview(picture_of_masks(self._folder))


class StampDataset(OneFile[Mapping[str, Any], Mapping[str, Any]]):
    """`made_with.json`, the settings that made another file of its folder; saving other settings is refused.

    Args:
        filepath: of the settings.
        of: name of the file that was made with them; while it is missing, settings are replaced.
        metadata: for Kedro-Viz; ignored here.
    """

    def __init__(self, *, filepath: str, of: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._of = self._path.with_name(of)

    def save(self, data: Mapping[str, Any]) -> None:
        """Write the settings, or compare them with the saved ones.

        Raises:
            StaleError: the file was made with other settings.
        """
        if not self._of.exists():
            self._path.unlink(missing_ok=True)
        check_stamp(self._path.parent, data)

    def load(self) -> Mapping[str, Any]:
        """Return the settings."""
        return _read_stamp(self._path)


def check_stamp(folder: Path, made_with: Mapping[str, Any]) -> None:
    """Write `made_with` into a new folder, or compare it with the saved settings.

    Raises:
        StaleError: the folder was made with other settings; nothing in it was changed.
    """
    path = folder / STAMP
    if path.exists():
        refuse_other_settings(folder, _read_stamp(path), made_with)
    else:
        write_atomically(path, json.dumps(made_with, indent=2))


def _read_stamp(path: Path) -> dict[str, Any]:
    try:
        made_with: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StaleError(
            f"{path} is not valid JSON ({error}).", hint=f"Remove {path.parent}; it is made again."
        ) from error
    return made_with


def refuse_other_settings(folder: Path, made: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise a StaleError that names the settings in which two stamps differ, if there are any."""
    wanted = json.loads(json.dumps(wanted))
    differing = [key for key in sorted({*made, *wanted}) if made.get(key) != wanted.get(key)]
    if differing:
        values = ", ".join(f"{key} {made.get(key)} (now {wanted.get(key)})" for key in differing)
        raise StaleError(
            f"{folder} was made with {values}.",
            hint="Choose another dataset.name, or remove the folder to remake it.",
        )
