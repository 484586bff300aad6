"""A run on a full or read-only disk ends with one sentence; with free space, a rerun succeeds."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from kedro.framework.startup import bootstrap_project

from run_command import run_python
from xview2_siamese_unet.atomic import whole_file, write_atomically
from xview2_siamese_unet.errors import StorageError, cause_of
from xview2_siamese_unet.runs import ProjectSession

PROJECT = Path(__file__).parents[2]
SMALL = {"dataset": {"sample": {"size": 64, "scenes": {"tier1": 3, "tier3": 2, "hold": 1, "test": 1}}}}
MakeConf = Callable[..., Path]


def process(conf: Path) -> None:
    with ProjectSession.create(PROJECT, env="default/quickstart", conf_source=conf) as session:
        session.run(pipeline_names=["data_processing"])


def contents(storage: Path) -> dict[str, bytes]:
    folders = ("01_raw", "02_intermediate", "03_primary", "05_model_input")
    files = (path for folder in folders for path in (storage / folder).rglob("*") if path.is_file())
    names = {path: path.relative_to(storage).as_posix() for path in files}
    return {re.sub(r"quickstart/[^/]+", "quickstart/RUN", name): path.read_bytes() for path, name in names.items()}


@pytest.mark.slow
def test_a_dataset_is_completed_after_runs_on_a_full_disk(
    small_disk: Path, make_conf: MakeConf, tmp_path: Path
) -> None:
    bootstrap_project(PROJECT)
    conf = make_conf(small_disk, **SMALL)
    filler = small_disk / "filler"
    ends = []
    for kilobytes in (8, 64, 160, 320, 480):  # each run reuses the results of the runs before it
        filler.unlink(missing_ok=True)
        filler.write_bytes(bytes(max(shutil.disk_usage(small_disk).free - kilobytes * 1024, 0)))
        try:
            process(conf)
        except Exception as error:
            ends.append(cause_of(error))
        assert not list(small_disk.rglob("*.part"))
    assert len(ends) >= 3
    for cause in ends:
        assert isinstance(cause, StorageError), cause
        assert "Free space" in cause.hint
    filler.unlink()
    process(conf)
    shutil.copytree(conf, tmp_path / "alone" / "conf")
    (tmp_path / "alone" / "conf/local/globals.yml").write_text(f"storage: {tmp_path / 'alone'}")
    process(tmp_path / "alone" / "conf")
    assert contents(small_disk) == contents(tmp_path / "alone")


@pytest.mark.slow
def test_a_run_on_a_read_only_disk_ends_with_one_sentence(read_only_disk: Path, make_conf: MakeConf) -> None:
    conf = str(make_conf(read_only_disk, **SMALL))
    done = run_python(PROJECT, "-m", "kedro", "run", "--pipelines", "data_processing", "--conf-source", conf)
    assert done.returncode == 1
    sentence = done.stderr.strip().splitlines()[-1]
    assert sentence.startswith(f"{read_only_disk}")
    assert ": read-only file system. Correct the permissions" in sentence
    assert "Traceback" not in done.stderr
    assert not list(read_only_disk.iterdir())


def test_a_file_on_a_read_only_disk_is_named(read_only_disk: Path) -> None:
    with pytest.raises(OSError, match="Read-only") as caught:
        write_atomically(read_only_disk / "report.html", "<p>")
    cause = cause_of(caught.value)
    assert isinstance(cause, StorageError)
    assert cause.message.startswith(f"{read_only_disk / 'report.html'}: ")


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EEXIST, errno.ENOTDIR, errno.EISDIR]
)
def test_each_disk_error_becomes_a_storage_error(tmp_path: Path, number: int) -> None:
    error = OSError(number, os.strerror(number), str(tmp_path / "a"))
    with pytest.raises(OSError, match=os.strerror(number)) as caught, whole_file(tmp_path / "a"):
        raise error
    cause = cause_of(caught.value)
    assert isinstance(cause, StorageError)
    assert cause.message == f"{tmp_path / 'a'}: {os.strerror(number).lower()}."
    assert list(tmp_path.iterdir()) == []


class WindowsError(OSError):
    """An OSError as on Windows, with the separate number `winerror`."""

    winerror = 0


@pytest.mark.parametrize(
    ("number", "winerror", "hint"),
    [
        (errno.EACCES, 5, "Close the program that has it open"),
        (errno.EACCES, 32, "Close the program that has it open"),
    ],
)
def test_file_errors_of_windows_become_storage_errors(tmp_path: Path, number: int, winerror: int, hint: str) -> None:
    error = WindowsError(number, "Not allowed", str(tmp_path / "a"))
    error.winerror = winerror
    cause = cause_of(error)
    assert isinstance(cause, StorageError)
    assert cause.message == f"{tmp_path / 'a'}: not allowed."
    assert cause.hint.startswith(hint)


def test_other_errors_do_not_become_storage_errors() -> None:
    assert cause_of(ValueError("a defect")) is None
    assert cause_of(PermissionError(errno.EPERM, "of a process, not of a file")) is None
    assert cause_of(OSError(errno.ECONNREFUSED, "refused")) is None
    assert cause_of(FileExistsError(errno.EEXIST, "of a block of shared memory, not of a file")) is None


@pytest.mark.unix
@pytest.mark.parametrize("make", ["mkfifo", "mkdir"])
def test_only_regular_files_are_replaced(tmp_path: Path, make: str) -> None:
    path = tmp_path / "a"
    getattr(os, make)(path)
    kind = path.stat().st_mode
    with pytest.raises(OSError, match=r"a folder|a device or the like") as caught:
        write_atomically(path, "text")
    assert isinstance(cause_of(caught.value), StorageError)
    assert path.stat().st_mode == kind
    assert list(tmp_path.iterdir()) == [path]


def test_the_error_names_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("text")
    with pytest.raises(NotADirectoryError) as caught:
        write_atomically(tmp_path / "README.md" / "new" / "a", "text")
    cause = cause_of(caught.value)
    assert cause is not None
    file = tmp_path / "README.md"
    assert cause.message == f"{file / 'new' / 'a'}: a path below {file}, which is not a folder."
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_link_to_a_file_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    for text in ("1", "2"):
        write_atomically(tmp_path / "a", text)
        assert (tmp_path / "a").read_text() == text
