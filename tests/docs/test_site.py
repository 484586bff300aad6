"""The site builds without a warning, shows every page and loads nothing from other hosts."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from docs_blocks import DOCS, PROJECT

pytest.importorskip("zensical", reason="zensical is not installed: uv sync --group docs")
CONFIG = tomllib.loads((PROJECT / "zensical.toml").read_text())["project"]
LOADS = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "conf").mkdir()
    for name in ("zensical.toml", "CONTRIBUTING.md", "CHANGELOG.md", "conf/README.md"):
        shutil.copy(PROJECT / name, folder / name)
    shutil.copytree(DOCS, folder / "docs")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


class Loads(HTMLParser):
    """Collects the addresses that a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag in LOADS and attributes.get("rel") not in ("canonical", "prev", "next"):
            self.addresses.append(attributes.get(LOADS[tag]) or "")


def pages_of(nav: list[dict[str, Any]]) -> Iterator[str]:
    for entry in nav:
        for inside in entry.values():
            yield from [inside] if isinstance(inside, str) else pages_of(inside)


def test_every_page_is_built_and_loads_nothing_from_elsewhere(site: Path) -> None:
    built = sorted(site.rglob("*.html"))
    assert len(built) >= len(list(DOCS.glob("*.md")))
    for page in built:
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        assert loads.addresses, page
        assert [each for each in loads.addresses if "//" in each] == [], page


def test_every_file_that_a_page_loads_exists(site: Path) -> None:
    """The build checks only links between pages."""
    for page in site.rglob("*/index.html"):
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        paths = [
            (page.parent / each.split("?")[0]).resolve() for each in loads.addresses if not each.startswith("data:")
        ]
        assert [path for path in paths if not path.exists()] == [], page


def test_every_page_is_in_the_navigation_once(site: Path) -> None:
    assert sorted(pages_of(CONFIG["nav"])) == sorted(page.name for page in DOCS.glob("*.md"))


def test_a_broken_link_fails_the_build(site: Path) -> None:
    broken = site.parent / "docs" / "index.md"
    text = broken.read_text(encoding="utf-8")
    broken.write_text(text + "\n[nowhere](nowhere.md)\n", encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=site.parent, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    broken.write_text(text, encoding="utf-8")
    assert done.returncode != 0
    assert "page does not exist" in done.stdout + done.stderr
