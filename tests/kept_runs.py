"""Writes run folders of an experiment without training."""

from __future__ import annotations

import json
from pathlib import Path

from xview2_siamese_unet.config.tree import Parameters
from xview2_siamese_unet.runs import describe_run

RUN = "2026-01-02T03.04.05.678Z"


def write_run(
    storage: Path,
    experiment: str,
    run: str = RUN,
    *,
    finished: bool = True,
    data: str | None = None,
    **settings: object,
) -> None:
    """Write the record of a run made with these settings, and a checkpoint if it is finished."""
    folder = storage / "06_models" / experiment / run
    (folder / "checkpoints" / "epochs").mkdir(parents=True)
    record = describe_run(Parameters.model_validate(settings).model_dump(mode="json"), data)
    (folder / "run.json").write_text(json.dumps({"id": run, **record}))
    if finished:
        (folder / "checkpoints" / f"{experiment.split('/')[1]}_best_siamese_unet_state.pth").touch()
