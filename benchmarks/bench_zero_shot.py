"""Macro-F1 of a net on unseen synthetic events, and of heads fitted on labels on top of it.

    uv run python benchmarks/bench_zero_shot.py [SEEN [SEEDS [EVENTS [SCENES [EPOCHS [DRAWN [TURNS]]]]]]]

The numbers are 3 3 5 8 13 40 3 by default.

Each seed trains the quickstart's net on DRAWN scenes of SEEN other events (1 to 3), a quarter of them for validation,
which takes minutes. It assesses the SCENES of each event, and heads with the features `package` are fitted on top of
its predictions: on 48 labels that `kedro label` suggests, on 48 drawn at random, and on half of all buildings, which
shows what many labels bring; the last two are means over TURNS draws. Macro-F1 is that of the classes of the buildings
without a label. The folder BENCH_FOLDER keeps nets and scenes for another call.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two slow hyperthreads are slower than one

import geopandas as gpd
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import f1_score

from bench_adaptation import Event, read_event
from xview2_siamese_unet.adaptation.buildings import can_be_assessed, predict_all, zero_shot_of
from xview2_siamese_unet.adaptation.embedding import Embedding
from xview2_siamese_unet.adaptation.fitting import fit_head
from xview2_siamese_unet.adaptation.next_labels import labelled_buildings, next_labels
from xview2_siamese_unet.adaptation.sources import embed_with
from xview2_siamese_unet.adaptation.suggest import feature_space
from xview2_siamese_unet.assessment import assess
from xview2_siamese_unet.config.dataset import SampleParams, SampleScenes
from xview2_siamese_unet.inference.buildings import read_building_layer
from xview2_siamese_unet.project import configure, find_project, open_session
from xview2_siamese_unet.synthetic.events import EVENTS, plan_sample
from xview2_siamese_unet.synthetic.scene import write_scene
from xview2_siamese_unet.types import Float64Array, Int64Array

HERE = Path(__file__).parents[1]
NAMES = tuple(event.name for event in EVENTS["test"])
OTHERS = tuple(event.name for event in EVENTS["tier3"])
COUNT = 48
LABELS = ("suggested", "random", "half")
SIDE = 512


class Case(NamedTuple):
    """An assessed event: folder, images and classes, buildings, features, and numbers of those with a class."""

    folder: Path
    event: Event
    buildings: gpd.GeoDataFrame
    embedding: Embedding
    known: Int64Array


def train(project: Path, parameters: str, seed: int, epochs: int) -> Path:
    """Train a net without the events, unless an earlier call has; return its checkpoint."""
    pattern = "data/06_models/*/*/*/checkpoints/*_best_*.pth"
    if kept := list(project.glob(pattern)):
        return kept[0]
    shutil.copytree(HERE / "conf", project / "conf", ignore=shutil.ignore_patterns("local"))
    shutil.copy(HERE / "pyproject.toml", project)
    (project / "conf" / "local").mkdir()
    (project / "conf" / "local" / "parameters.yml").write_text(parameters)
    overrides = {"training": {"seed": seed, "epochs": epochs}}
    # Progress is not part of the output of this command.
    with chdir(project), redirect_stdout(sys.stderr), open_session("default/quickstart", overrides) as session:
        session.run(pipeline_names=["data_processing", "feature_statistics", "modelling"])
    return next(project.glob(pattern))


def settings(seen: int, drawn: int) -> str:
    """Return parameters that train on `drawn` scenes of `seen` events and leave the other events out."""
    left_out = ", ".join([*NAMES, *OTHERS[seen:]])
    scenes = f"{{tier1: 0, tier3: {drawn * len(OTHERS) // seen}, hold: 0, test: {len(NAMES)}}}"
    return (
        f"dataset: {{sample: {{scenes: {scenes}}}}}\ndata_processing: {{split: {{leave_events_out: [{left_out}]}}}}\n"
    )


def draw_events(folder: Path, events: int, scenes: int) -> None:
    """Draw scenes of events that are not in training, `scenes` of each."""
    params = SampleParams(seed=99, scenes=SampleScenes(tier1=0, tier3=0, hold=0, test=scenes * len(NAMES)))
    for scene in plan_sample(params):
        if scene.event.name in NAMES[:events]:
            write_scene(folder / scene.event.name, scene, SIDE)


def assess_event(event: Event, model: Path, images: Path, folder: Path) -> Case:
    """Assess the buildings of an event with a net."""
    frame = gpd.GeoDataFrame({"building_id": [str(n) for n in range(len(event.classes))]}, geometry=event.footprints)
    frame.to_file(footprints := images / "footprints.gpkg")
    assess(images / "pre.tif", images / "post.tif", folder, model=model, footprints=footprints, overwrite=True)
    buildings = read_building_layer(folder / "buildings.gpkg")
    event = event._replace(classes=event.classes[buildings["building_id"].astype(int)])
    embedding = embed_with(("package",), buildings.geometry, event.pair, folder)
    known = np.flatnonzero(can_be_assessed(buildings) & np.isfinite(zero_shot_of(buildings)).all(axis=1))
    return Case(folder, event, buildings, embedding, known)


def table_of(case: Case, chosen: Int64Array) -> pd.DataFrame:
    """Return labels of some buildings."""
    return pd.DataFrame(
        {"building_id": case.buildings["building_id"].iloc[chosen], "damage": case.event.classes[chosen]}
    )


def macro_f1(case: Case, shares: Float64Array, labelled: Int64Array) -> float:
    """Return macro-F1 over the classes present, on the buildings without a label."""
    rest = np.setdiff1d(case.known, labelled)
    true, predicted = case.event.classes[rest], shares[rest].argmax(axis=1) + 1
    return float(f1_score(true, predicted, average="macro", labels=np.unique(true)))


def gain(case: Case, labelled: Int64Array) -> tuple[float, float]:
    """Return macro-F1 of the net and of a head, on the buildings without a label."""
    labels = labelled_buildings(case.embedding, case.buildings, table_of(case, labelled), feature_space(case.embedding))
    shares = predict_all(fit_head(case.embedding, labels), case.embedding, case.buildings)
    return macro_f1(case, zero_shot_of(case.buildings), labelled), macro_f1(case, shares, labelled)


def main(  # noqa: PLR0913, PLR0917  words of the command line
    seen: int = 3, seeds: int = 3, events: int = 5, scenes: int = 8, epochs: int = 13, drawn: int = 40, turns: int = 3
) -> None:
    """Train, assess, adapt and print a line for each event and seed."""
    torch.set_num_threads(1)
    configure(find_project())
    kept = os.environ.get("BENCH_FOLDER")
    print(f"{'event':20} seed  buildings", *(f"{'net':>7}{labels:>11}{'change':>8}" for labels in LABELS))
    changes = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(kept or temporary)
        draw_events(folder / "scenes", events, scenes)
        for seed in range(seeds):
            model = train(folder / f"net-{seed}", settings(seen, drawn), seed, epochs)
            for name in NAMES[:events]:
                images = folder / "scenes" / name
                case = assess_event(read_event(images, images, None), model, images, folder / f"{name}-{seed}")
                ids = case.buildings["building_id"].iloc[case.known].tolist()
                chosen = next_labels(case.embedding, case.buildings, ids, COUNT)
                suggested = np.flatnonzero(case.buildings["building_id"].isin(chosen))
                orders = [np.random.default_rng(n).permutation(case.known) for n in range(turns)]
                random = (np.mean([gain(case, each[:n]) for each in orders], axis=0) for n in (COUNT, len(ids) // 2))
                pairs = [gain(case, suggested), *random]
                changes.append([after - before for before, after in pairs])
                line = (f"{before:>7.3f}{after:>11.3f}{after - before:>+8.3f}" for before, after in pairs)
                print(f"{name:20} {seed:>4}  {len(ids):>9}", *line, flush=True)
    for word, column in zip(LABELS, np.array(changes).T, strict=True):
        print(f"{word}: mean change {column.mean():+.3f}, worst {column.min():+.3f}")


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="sklearn")
    main(*map(int, sys.argv[1:]))
