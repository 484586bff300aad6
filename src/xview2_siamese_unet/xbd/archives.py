"""Unpacking of a zip or tar download, without trusting any path or size in it."""

from __future__ import annotations

import errno
import json
import logging
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO, Final

from xview2_siamese_unet.config.validation import is_portable
from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd.scenes import FOLDERS, SUFFIXES

_log = logging.getLogger(__name__)
ENDINGS: Final = (".zip", ".tar", ".tar.gz", ".tgz")
UNPACKED: Final = "unpacked.json"
"""Name of the file that marks an archive as unpacked to its end."""
LARGEST: Final = 256 * 1024**2
"""Bytes of one file: ten times the largest of xBD. A larger one is a decompression bomb or not a scene."""
_DAMAGED: Final = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
"""Errors of a damaged archive; zipfile raises `RuntimeError` for a password or an unknown compression."""
_NOT_OF_DISK: Final = (None, errno.EINVAL)
"""`errno` of errors that do not come from the disk: of gzip and bzip2, and of a wrong offset in a zip file."""
_AGAIN: Final = "Download it again, or unpack it and set dataset.root to the folder."
_KINDS: Final = {**SUFFIXES, "targets": (".png", ".tif", ".tiff")}
_TIERS: Final = {folder for folders in FOLDERS.values() for folder in folders}


def is_archive(path: Path) -> bool:
    """Return whether a path names a zip or tar file."""
    return path.name.lower().endswith(ENDINGS) and path.is_file()


def unpack_archive(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each file of a scene in an archive, and at the end of `UNPACKED`.

    Only regular files `<tier>/<images|labels|targets>/<file>` are unpacked, at any depth in the archive; so no path in
    it can lead out of a folder. The number of other files is logged.

    Raises:
        DataError: the archive is damaged, holds no scene, a file of a scene twice or as a link, or one that is larger
            than `LARGEST`.
    """
    taken: dict[str, str] = {}
    others = 0
    try:
        for name, source in _members(archive):
            path = _scene_path(name)
            if path is None:
                others += 1
                continue
            if source is None:
                raise DataError(f"{archive}: {name} is a link.", hint="Pack it again without links (tar -h).")
            if taken.setdefault(path, name) != name:
                raise DataError(
                    f"{archive} holds {path} twice, as {taken[path]} and as {name}.", hint="Pack one dataset alone."
                )
            yield path, _read(source, f"{archive}: {name}")
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NOT_OF_DISK:
            raise
        reason = " ".join(str(error).split())
        raise DataError(f"{archive} is an archive that cannot be read ({reason}).", hint=_AGAIN) from error
    if not taken:
        raise DataError(f"{archive} has no scene: no tier1/images/….png or tier1/labels/….json.", hint=_AGAIN)
    _log.info("%s: unpacked %d files of scenes, ignored %d other files", archive, len(taken), others)
    yield UNPACKED, json.dumps({"files": len(taken)}).encode()


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield the name and the content of each file; no content for a link."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    with zipped.open(info) as source:
                        yield info.filename, source
        return
    with tarfile.open(archive) as tarred:
        for member in tarred:
            content = tarred.extractfile(member) if member.isreg() else None
            if member.islnk() or member.issym():
                yield member.name, None
            elif content is not None:
                with closing(content):
                    yield member.name, content
        _require_end(tarred)


def _require_end(tarred: tarfile.TarFile) -> None:
    """Read the archive to its end: tarfile also stops at a damaged header, and leaves a checksum untested."""
    stream, zeros = tarred.fileobj, 0
    if stream is None:
        raise tarfile.ReadError("it is closed")
    stream.seek(tarred.offset)
    while block := stream.read(1024**2):
        if block.strip(b"\0"):
            raise tarfile.ReadError(f"a damaged header after {tarred.offset} bytes")
        zeros += len(block)
    if zeros < 2 * tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it is cut off after {tarred.offset} bytes")


def _scene_path(name: str) -> str | None:
    """Return tier/kind/file for the path of a scene's file in an archive, `None` for everything else."""
    parts = PurePosixPath(name.replace("\\", "/")).parts[-3:]
    if len(parts) != 3 or parts[0] not in _TIERS or parts[1] not in _KINDS:
        return None
    file = parts[2]
    known = file.lower().endswith(_KINDS[parts[1]]) and not file.startswith(".") and is_portable(file)
    return "/".join(parts) if known else None


def _read(source: IO[bytes], where: str) -> bytes:
    content = source.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DataError(f"{where} has more than {LARGEST >> 20} MiB, far more than a file of xBD.", hint=_AGAIN)
    return content
