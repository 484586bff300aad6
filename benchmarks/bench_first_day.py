"""Duration of each step of docs/start.md: its commands, from an empty folder, on scenes of xBD.

    uv run python benchmarks/bench_first_day.py ../shared/xbd

Do step 1 yourself first. Step 6 assesses the first test scene, about a million pixels; step 7 ends when the lineage
page is shown. Every command must exit with 0.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "docs"))  # the tests run the same page with tiny scenes

from docs_blocks import DOCS, blocks
from typed import commands, do, lay_down_project, type_line, write_geotiff

HOUR = 3600


def link_scenes(xbd: Path, folder: Path) -> None:
    """Create the files below /path/to on the page: xBD, and an image pair as GeoTIFFs."""
    folder.mkdir(parents=True)
    (folder / "xbd").symlink_to(xbd)
    pre = min((xbd / "test" / "images").glob("*_pre_disaster.*"))
    write_geotiff(pre, folder / "before.tif")
    write_geotiff(pre.with_name(pre.name.replace("_pre_", "_post_")), folder / "after.tif")


def main(xbd: Path) -> None:
    """Run the commands of the page and print a line per step."""
    page = DOCS / "start.md"
    text = page.read_text(encoding="utf-8")
    steps = [(text.count("\n", 0, step.start()), step[1]) for step in re.finditer(r"(?m)^## (\d\. .*)$", text)]
    seconds = dict.fromkeys((title for _, title in steps), 0.0)
    os.environ["DO_NOT_TRACK"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        lay_down_project(folder)
        link_scenes(xbd, folder / "path/to")
        for block in blocks(page):
            line = int(block.place.split(":")[1])
            title = [title for above, title in steps if above < line][-1]
            if block.language == "yaml":
                do(block, folder)
            for command in commands(block, folder) if block.language == "bash" else ():
                started = time.perf_counter()
                type_line(command, folder / "xview2", timeout=HOUR)
                seconds[title] += time.perf_counter() - started
    for title, taken in list(seconds.items())[1:]:
        print(f"{title:<52} {taken:>5.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
