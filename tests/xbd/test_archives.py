from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from xview2_siamese_unet.errors import DataError
from xview2_siamese_unet.xbd import archives
from xview2_siamese_unet.xbd.archives import is_archive, unpack

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


def below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(params=["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_scenes_come_out_wherever_they_lie(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / name, GOOD | {"xbd/README.md": b"x", "train/notes/a.json": b"x", "train/images/a.exe": b"x"})
    assert is_archive(path)
    assert not is_archive(tmp_path)
    assert unpack(path, tmp_path / "out") == 2
    assert below(tmp_path / "out") == {f"train/images/{SCENE}.png": b"image", f"train/labels/{SCENE}.json": b"label"}


@pytest.mark.parametrize(
    "evil",
    ["../../tier1/images/../../../x.png", "/etc/x.png", "../x.png", "tier1/images/..", "tier1\\images\\..\\..\\x.png",
     "tier1/images/.hidden.png", "images/x.png"],
)  # fmt: skip
def test_no_path_leads_out(tmp_path: Path, name: str, evil: str) -> None:
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    path = pack(tmp_path / name, {evil: b"evil"} | GOOD)
    assert unpack(path, inner) == 2
    assert {p.split("/")[0] for p in below(tmp_path)} == {"a", name}
    assert set(below(inner)) == {f"train/images/{SCENE}.png", f"train/labels/{SCENE}.json"}


def test_links_and_devices_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as target:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"tier1/images/{kind.decode()}_x.png")
            info.type, info.linkname = kind, "/etc/passwd"
            target.addfile(info)
    with pytest.raises(DataError, match="found no scene"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_refused_and_leaves_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST", 3 * 1024**2)
    path = pack(tmp_path / name, {f"tier1/images/{SCENE}.png": bytes(8 * 1024**2)})
    with pytest.raises(DataError, match="more than 3 MiB in one file"):
        unpack(path, tmp_path / "out")
    assert below(tmp_path / "out") == {}


@pytest.mark.parametrize("kept", [0, 7, 60, -30])
def test_a_damaged_archive_is_one_sentence(tmp_path: Path, name: str, kept: int) -> None:
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
