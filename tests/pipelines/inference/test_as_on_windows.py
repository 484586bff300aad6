"""Main workflows under the restrictions of Windows; see `as_on_windows`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from shipped_project import SMALL

TESTS = Path(__file__).parents[2]
WINDOWS = {"inference": {"windows": {"size": 96, "overlap": 32}}}
# Each step runs twice: the second time, it replaces or reuses its own files.
PROGRAM = """
import as_on_windows
import sys
from pathlib import Path
import pandas as pd
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path.cwd())
from xview2_siamese_unet import assessment
from xview2_siamese_unet.inference.building_formats import FORMATS
from xview2_siamese_unet.runs import ProjectSession

with open("in use", "w", encoding="utf-8") as file:
    try:
        Path("in use").unlink()
    except PermissionError:
        print("refused")
*pair, model = sys.argv[1:]
for _ in range(2):
    with ProjectSession.create(Path.cwd(), env="default/quickstart") as session:
        session.run(pipeline_names=["__default__"])
    assessment.assess(*pair, "out", model=model, formats=list(FORMATS), overwrite=True)
    sample = pd.read_csv(assessment.validate("out", count=10) / "sample.csv")
    sample[["building_id"]].assign(label=4).to_csv("labels.csv", index=False)
    print(assessment.estimate("out", "labels.csv")["labelled"], "labelled")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="files in use are listed in /proc")
def test_no_file_in_use_is_replaced_and_no_text_depends_on_the_system(material: Path, project: Path) -> None:
    (project / "conf/local/parameters.yml").write_text(yaml.safe_dump(SMALL | WINDOWS))
    given = [str(material / name) for name in ("pre.tif", "post.tif", "model.pth")]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-X", "warn_default_encoding", "-c", PROGRAM, *given],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout.count("refused"), done.stdout.count("1 labelled")) == (1, 2)
    texts = [path for path in (project / "out").rglob("*") if path.suffix in (".csv", ".html", ".json", ".geojson")]
    assert len(texts) > 8
    assert [path for path in texts if b"\r" in path.read_bytes()] == []
