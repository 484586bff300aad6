from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd import archives
from xview2_siamese_unet.xbd.archives import UNPACKED, is_archive
from xview2_siamese_unet.xbd.scenes import SceneFiles

SCENE = "a-fire_00000001_pre_disaster"
GOOD = {f"xbd/train/images/{SCENE}.png": b"image", f"xbd/train/labels/{SCENE}.json": b"label"}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
            for name, data in files.items():
                target.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz" if path.suffix in {".gz", ".tgz"} else "w") as target:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                target.addfile(info, io.BytesIO(data))
    return path


def unpack(archive: Path, folder: Path) -> int:
    """Unpack below a folder; return the number of files."""
    SceneFiles(folder, UNPACKED).write(partial(archives.unpack_archive, archive))
    files: int = json.loads((folder / UNPACKED).read_text())["files"]
    (folder / UNPACKED).unlink()
    return files


def below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(params=["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_scenes_are_unpacked_from_any_folder(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / name, GOOD | {"xbd/README.md": b"x", "train/notes/a.json": b"x", "train/images/a.exe": b"x"})
    assert is_archive(path)
    assert not is_archive(tmp_path)
    assert unpack(path, tmp_path / "out") == 2
    assert below(tmp_path / "out") == {f"train/images/{SCENE}.png": b"image", f"train/labels/{SCENE}.json": b"label"}


@pytest.mark.parametrize(
    "evil",
    ["../../tier1/images/../../../x.png", "/etc/x.png", "../x.png", "tier1/images/..", "tier1\\images\\..\\..\\x.png",
     "tier1/images/.hidden.png", "images/x.png", "tier1/images/x:y.png", "tier1/images/nul.png"],
)  # fmt: skip
def test_no_file_is_unpacked_outside_of_the_folder(tmp_path: Path, name: str, evil: str) -> None:
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    path = pack(tmp_path / name, {evil: b"evil"} | GOOD)
    assert unpack(path, inner) == 2
    assert {p.split("/")[0] for p in below(tmp_path)} == {"a", name}
    assert set(below(inner)) == {f"train/images/{SCENE}.png", f"train/labels/{SCENE}.json"}


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (tarfile.SYMTYPE, r"x\.png is a link"),
        (tarfile.LNKTYPE, r"x\.png is a link"),
        (tarfile.FIFOTYPE, "has no scene"),
        (tarfile.DIRTYPE, "has no scene"),
    ],
)
def test_links_and_devices_are_never_followed(tmp_path: Path, kind: bytes, sentence: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as target:
        info = tarfile.TarInfo("tier1/images/x.png")
        info.type, info.linkname = kind, "/etc/passwd"
        target.addfile(info)
    with pytest.raises(DataError, match=sentence):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_repeated_file_is_refused_and_other_files_are_counted(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    again = {path.replace("xbd/", "copy/"): b"other" for path in GOOD}
    with pytest.raises(DataError, match=r"twice, as xbd/train/images/.* and as copy/train/images/"):
        unpack(pack(tmp_path / name, GOOD | again), tmp_path / "out")
    litter = {f"__MACOSX/xbd/train/images/._{SCENE}.png": b"x", "xbd/train/images/Thumbs.db": b"x"}
    caplog.set_level("INFO", "xview2_siamese_unet")
    assert unpack(pack(tmp_path / f"b{name}", GOOD | litter), tmp_path / "two") == 2
    assert "2 files of scenes, ignored 2 other files" in caplog.text


def test_an_archive_bomb_is_refused_and_leaves_no_file(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LARGEST", 3 * 1024**2)
    path = pack(tmp_path / name, {f"tier1/images/{SCENE}.png": bytes(8 * 1024**2)})
    with pytest.raises(DataError, match="more than 3 MiB"):
        unpack(path, tmp_path / "out")
    assert below(tmp_path / "out") == {}


@pytest.mark.parametrize("kept", [0, 7, 60, -30])
def test_a_damaged_archive_is_refused(tmp_path: Path, name: str, kept: int) -> None:
    path = pack(tmp_path / name, {f"tier1/images/{SCENE}.png": bytes(range(256)) * 64})
    path.write_bytes(path.read_bytes()[:kept])
    try:
        written = unpack(path, tmp_path / "out")
    except DataError as error:
        if not str(error).startswith(str(path)):
            raise
    else:  # only the padding at the end of a tar was lost
        assert written == 1
        assert path.suffix == ".tar"


STEP = 512 + 200 * 512
"""Bytes of a header and of a file that fills its blocks."""


def tar_of(count: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as target:
        for number in range(count):
            info = tarfile.TarInfo(f"tier1/images/a-fire_{number:08d}_pre_disaster.png")
            info.size = STEP - 512
            target.addfile(info, io.BytesIO(np.random.default_rng(number).bytes(info.size)))
    return made.getvalue()


def overwritten(data: bytes, offset: int, new: bytes) -> bytes:
    offset %= len(data)
    return data[:offset] + new + data[offset + len(new) :]


TAR = tar_of(4)
MIDDLE = len(TAR) // 2
DAMAGED = {
    "a header": overwritten(TAR, STEP + 100, b"\xff"),
    "a header full of zeros": overwritten(TAR, STEP, bytes(512)),
    "zeros as from an interrupted download": overwritten(TAR, STEP, bytes(STEP)),
    "cut between members": TAR[: 2 * STEP],
    "cut in a header": TAR[: STEP + 200],
    "cut in a member": TAR[: STEP + 700],
    "one block at the end": TAR[: 4 * STEP + 512],
    "checksum of gzip": overwritten(gzip.compress(TAR), -8, b"abcd"),
    "middle of gzip": overwritten(gzip.compress(TAR), MIDDLE, b"\xff" * 20),
    "middle of xz": overwritten(lzma.compress(TAR), MIDDLE, b"\xff" * 20),
    "middle of bzip2": overwritten(bz2.compress(TAR), MIDDLE, b"\xff" * 20),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_tar_is_always_refused(tmp_path: Path, damage: str) -> None:
    (tmp_path / "a.tar").write_bytes(DAMAGED[damage])
    with pytest.raises(DataError, match=r"a\.tar is an archive that cannot be read"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress, bz2.compress])
@pytest.mark.parametrize("padding", [1024, 10240])
def test_a_complete_tar_may_be_padded_and_compressed_in_any_way(
    tmp_path: Path, compress: Callable[[bytes], bytes], padding: int
) -> None:
    (tmp_path / "a.tar").write_bytes(compress(TAR[: 4 * STEP] + bytes(padding)))
    assert unpack(tmp_path / "a.tar", tmp_path / "out") == 4


def test_a_damaged_zip_with_lzma_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as target:
        target.writestr(f"tier1/images/{SCENE}.png", TAR)
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(overwritten(data, MIDDLE, b"\xff" * 50))
    with pytest.raises(DataError, match="an archive that cannot be read"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_zip_without_its_first_bytes_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", GOOD)
    path.write_bytes(path.read_bytes()[40:])
    with pytest.raises(DataError, match="an archive that cannot be read"):
        unpack(path, tmp_path / "out")


def test_a_full_disk_is_not_reported_as_a_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device", "x")

    monkeypatch.setattr("xview2_siamese_unet.xbd.scenes.whole_file", full)
    with pytest.raises(OSError, match="no space left"):
        unpack(pack(tmp_path / "a.tar", GOOD), tmp_path / "out")
