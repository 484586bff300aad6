"""Local files as fsspec opens them, so as every dataset of Kedro writes them: whole or not at all."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from xview2_siamese_unet.atomic import whole_file


class WholeFiles(LocalFileSystem):  # type: ignore[misc]
    """The file system of this machine, where a file that is written takes its name when it is closed without an error.

    What is read, appended to or part of a transaction of fsspec is left as it is.
    """

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:  # noqa: ANN401
        """Open as fsspec does."""
        if "w" not in mode or options.get("compression") or self._intrans:
            return super().open(path, mode, **options)
        text = {key: value for key, value in options.items() if key in ("encoding", "errors", "newline")}
        return _WholeFile(Path(self._strip_protocol(path)), mode, text)


class _WholeFile:
    """A file being written. An error inside `with` drops it, and so does forgetting to close it."""

    def __init__(self, path: Path, mode: str, text: dict[str, Any]) -> None:
        with ExitStack() as stack:
            part = stack.enter_context(whole_file(path))
            self._file = stack.enter_context(part.open(mode, **text))
            self._ending = stack.pop_all()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._file, name)

    def __enter__(self) -> Any:  # noqa: ANN401
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.__exit__(kind, error, trace)

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._ending.close()
