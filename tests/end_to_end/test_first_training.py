"""The first run of an experiment, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from run_command import run_python
from shipped_project import SMALL, link_shipped_project
from xview2_siamese_unet.models.pretrained import PACKAGES

RUN = """
import socket, sys
from kedro.framework.cli import main

def refuse(*_, **__):
    raise AssertionError("a socket was opened")

socket.socket = socket.getaddrinfo = refuse
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["quickstart", "laptop"])
def test_the_first_training_starts_from_packaged_weights(experiment: str, tmp_path: Path) -> None:
    settings = {key: value for key, value in SMALL.items() if key != "model"}
    project = link_shipped_project(tmp_path, yaml.safe_dump(settings | {"hardware": {"device": "cpu"}}))
    pipelines = "data_processing,feature_statistics,modelling"
    done = run_python(project, "-c", RUN, "run", "--env", f"default/{experiment}", "--pipelines", pipelines)
    assert done.returncode == 0, done.stderr
    (checkpoint,) = project.glob(f"data/06_models/default/{experiment}/*/checkpoints/*_best_*.pth")
    content = torch.load(checkpoint, weights_only=True)
    packaged = PACKAGES[content["model"]["encoder"]["name"]]
    assert content["pretrained"] == {"source": "package", "name": packaged.file, "sha256": packaged.sha256}
