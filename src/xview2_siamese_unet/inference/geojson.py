"""GeoJSON and GeoJSON lines: encoding, ids and members, which GDAL does not return."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Any, Final

TEXT: Final = (".geojson", ".json")
LINES: Final = (".geojsonl", ".geojsons", ".ndjson", ".jsonl")
MEGABYTES_PER_FEATURE: Final = "16"
_HEAD: Final = 4096  # bytes searched for members of a collection before its features
_MEMBER: Final = re.compile(r'"(\w+)"\s*:\s*("(?:[^"\\]|\\.)*")')


@contextmanager
def in_utf8(path: Path) -> Iterator[Path]:
    """Yield a path to the text in UTF-8, without a byte order mark, which GDAL does not skip in lines."""
    with path.open("rb") as file:
        encoding = json.detect_encoding(file.read(4)) if path.suffix.lower() in (*TEXT, *LINES) else "utf-8"
    if encoding == "utf-8":
        yield path
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with path.open(encoding=encoding) as source, copy.open("w", encoding="utf-8") as target:
            copyfileobj(source, target)
        yield copy


def is_lines(path: Path) -> bool:
    """Return whether the first line is a feature by itself, and more lines follow."""
    with path.open("rb") as file:
        first, second = (file.readline(int(MEGABYTES_PER_FEATURE) * 10**6).strip() for _ in range(2))
    if not first.endswith(b"}") or not second:
        return False
    try:
        return bool(json.loads(first.removeprefix(b"\x1e")).get("type") == "Feature")
    except (ValueError, AttributeError):
        return False


def feature_ids(path: Path, rows: int, *, lines: bool, needed: bool) -> list[Any]:
    """Return the `id` next to the properties of each feature, if they are needed.

    GDAL replaces missing and repeated ids by numbers. It skips entries that are not features; then the number of rows
    differs, which raises a ValueError.
    """
    if lines:
        text = path.read_bytes()  # lines, or records that begin with a separator (RFC 8142)
        entries: list[Any] = [line for line in text.split(b"\x1e" if b"\x1e" in text else b"\n") if line.strip()]
    elif needed:
        # Every object but a feature is dropped as soon as it is read, so that coordinates do not fill the memory.
        ids = json.loads(path.read_bytes(), object_hook=_only_ids)
        if ids is None:  # neither a collection nor a feature
            return []
        entries = list(ids)
    else:
        return []
    if len(entries) != rows:
        raise ValueError(f"{len(entries)} entries, of which {rows} are features")
    if not needed:
        return []
    return [json.loads(line).get("id") for line in entries] if lines else entries


def _only_ids(value: dict[str, Any]) -> Any:  # noqa: ANN401
    if value.get("type") == "FeatureCollection":
        return [each[0] if isinstance(each, tuple) else None for each in value.get("features") or ()]
    return (value.get("id"),) if value.get("type") == "Feature" else None


def members(path: Path) -> dict[str, str]:
    """Return the text members of a GeoJSON collection, such as the copyright that Overpass writes."""
    with path.open("rb") as file:
        head, features, _ = file.read(_HEAD).decode("utf-8", "ignore").partition('"features"')
    return {key: str(json.loads(value, strict=False)) for key, value in _MEMBER.findall(head)} if features else {}
