"""The fenced blocks of the README and the docs, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PAGES = [*(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "conf/README.md")), *sorted(DOCS.glob("*.md"))]
_FENCE = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]*)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL
)
_SPAN = re.compile(r"`((?:\w+=\S+ )?uv run [^`]*kedro [^`]+)`")
_VARIABLE = re.compile(r"[A-Z_]+=\S*")


class Block(NamedTuple):
    """One fenced block.

    Attributes:
        place: page and line.
        language: the word after the fence.
        title: what the page shows above it; a path if the reader is to write a file.
        text: the lines between the fences.
    """

    place: str
    language: str
    title: str
    text: str


def blocks(*pages: Path) -> Iterator[Block]:
    for page in pages or PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            place = f"{page.name}:{text.count(chr(10), 0, match.start()) + 1}"
            yield Block(place, match["language"], match["title"] or "", match["text"])


def lines(block: Block) -> list[str]:
    """Return the commands of a block, with continued lines joined and comments removed."""
    joined = block.text.replace("\\\n", " ")
    return [shlex.join(words) for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def kedro_commands() -> list[tuple[str, dict[str, str], list[str]]]:
    """Return place, variables and arguments of every Kedro command in a block or between backticks."""
    written = [(block.place, line) for block in blocks() if block.language == "bash" for line in lines(block)]
    for page in PAGES:
        written += [(page.name, span) for span in _SPAN.findall(page.read_text(encoding="utf-8"))]
    commands = []
    for place, line in written:
        for part in line.split(" '&&' "):
            words = [re.sub("=N$", "=1", word) for word in shlex.split(part)]  # N is a number of the reader's choice
            variables = dict(word.split("=", 1) for word in words if _VARIABLE.fullmatch(word))
            if "kedro" in words:
                commands.append((place, variables, words[words.index("kedro") + 1 :]))
    return commands


def first_column(page: Path, heading: str) -> list[str]:
    """Return the names in backticks in the first column, not counting numbers, of the table below a heading."""
    text = page.read_text(encoding="utf-8").split(f"\n{heading}\n", 1)[1]
    section = re.split(r"^#{2,3} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line.split("|")[1:] for line in section.splitlines() if line.startswith("| ")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row[1] if row[0].strip().isdigit() else row[0])]
