"""Every error that a user can cause, each one sentence: where, what was found, what is allowed, what to do next.

ProjectError
    ConfigError      a parameter, an environment or a catalog entry
    DataError        an image, a label or a folder of the dataset
        LabelError   the text of one label file
    StaleError       something on disk that was made with other settings than today's
    CheckpointError  a file of weights
"""

from __future__ import annotations


class ProjectError(Exception):
    """Base of the tree; carries its four parts so that reports can show them in columns.

    Args:
        where: the file, key or scene that the sentence is about.
        found: what stands there.
        allowed: what may stand there.
        remedy: what the user does next, in the imperative.
    """

    def __init__(self, where: str, *, found: str, allowed: str, remedy: str) -> None:
        super().__init__(where, found, allowed, remedy)
        self.where = where
        self.found = found
        self.allowed = allowed
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the sentence."""
        return f"{self.where}: found {self.found}; allowed: {self.allowed}; next: {self.remedy}."

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild by keyword, so that an error raised in a worker process reaches its parent whole."""
        return _rebuild, (type(self), self.where, self.found, self.allowed, self.remedy)


def _rebuild(kind: type[ProjectError], where: str, found: str, allowed: str, remedy: str) -> ProjectError:
    return kind(where, found=found, allowed=allowed, remedy=remedy)


class ConfigError(ProjectError):
    """A parameter, an environment or a catalog entry is not usable."""


class DataError(ProjectError):
    """An image, a label or a folder of the dataset is not usable."""


class LabelError(DataError):
    """The text of one label file does not say what an xBD label says."""


class StaleError(ProjectError):
    """What lies on disk was made with other settings than those of this run."""


class CheckpointError(ProjectError):
    """A file of weights cannot be used."""
