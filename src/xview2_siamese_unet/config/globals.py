"""Where and for whom a run works: what every layer of the configuration and the catalog may refer to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from xview2_siamese_unet.config.base import Strict
from xview2_siamese_unet.config.execution import ExecutorParams

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What may become one part of a path: no separator, and never `.` or `..`."""

PathPart = Annotated[str, Field(pattern=NAME, max_length=100)]


def _local(folder: object) -> object:
    # `Path` would quietly make the folder `s3:/bucket` of a URL, and Kedro would make a folder called `~`.
    if isinstance(folder, str) and "://" in folder:
        raise ValueError("a folder of this machine or its cluster, not a URL")
    return folder


class DatasetGlobals(Strict):
    """Which scenes, as the catalog needs to know."""

    name: PathPart = "sample"
    """Folder below which everything made from these scenes goes."""
    source: Literal["sample", "xbd"] = "sample"
    """The built-in sample, or a download of xBD."""
    root: Annotated[Path, BeforeValidator(_local), AfterValidator(Path.expanduser)] | None = None
    """Folder that holds tier1, tier3, hold and test, only for `source: xbd`; a relative path starts at the project."""


class FolderNames(Strict):
    """Names of what a run writes below the folder of its experiment."""

    tensorboard_logs: PathPart = "tensorboard_logs"
    """Folder of the curves that TensorBoard shows."""
    checkpoints: PathPart = "checkpoints"
    """Folder of the best weights and of those to go on from."""
    logfiles: PathPart = "logfiles"
    """Folder of the history and the log of the training."""
    class_counts_file: PathPart = "class_counts.json"
    """Pixels of each class in the training split."""
    sample_weights_file: PathPart = "sample_weights.pth"
    """How often each training scene is drawn."""


class Globals(Strict):
    """What `${globals:...}` may name. `user` and `experiment` come from `--env` unless a file says otherwise."""

    user: PathPart
    """Who runs."""
    experiment: PathPart
    """What is tried; the name of its folder and of its checkpoints."""
    group: PathPart = Field(default_factory=lambda known: known["user"])
    """Folder that holds the experiments of one person or team; the user unless given."""
    default_experiment: PathPart = "quickstart"
    """What `--env <user>` without an experiment runs."""
    storage: Annotated[Path, BeforeValidator(_local), AfterValidator(Path.expanduser)] = Path("data")
    """Root of the layers 01_raw to 08_reporting; a relative path starts at the project."""
    keep: int | None = Field(default=None, ge=1)
    """Finished runs of an experiment that stay on the disk; a training that ends removes older ones. `null`: all."""
    dataset: DatasetGlobals = DatasetGlobals()
    executor: ExecutorParams = ExecutorParams()
    foldernames: FolderNames = FolderNames()
