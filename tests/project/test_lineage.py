"""Layers and previews of datasets for Kedro-Viz."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"


def layers() -> dict[str, str]:
    catalog = UserExperimentConfigLoader(CONF, **CONFIG_LOADER_ARGS)["catalog"]
    saved = {name: entry for name, entry in catalog.items() if entry["type"] != "MemoryDataset"}
    return {name: entry["metadata"]["kedro-viz"]["layer"] for name, entry in saved.items()}


def sources(pipeline: Pipeline) -> dict[str, set[str]]:
    """Return each saved dataset → the saved datasets that it is made from, directly or through datasets in memory."""
    known = layers()
    made_from = {output: set(node.inputs) for node in pipeline.nodes for output in node.outputs}

    def in_layers(name: str) -> set[str]:
        parents = made_from.get(name, set())
        return {source for each in parents for source in ({each} if each in known else in_layers(each))}

    return {name: in_layers(name) for name in made_from if name in known}


def test_every_saved_dataset_has_the_layer_of_its_folder() -> None:
    catalog = UserExperimentConfigLoader(CONF, **CONFIG_LOADER_ARGS)["catalog"]
    for name, layer in layers().items():
        path = catalog[name].get("filepath") or catalog[name].get("path")
        if path is not None:
            folder = Path(path).relative_to("data").parts[0].split("_", 1)[1].replace("_", " ")
            assert layer in (folder, "reporting"), name


def test_every_table_and_figure_of_the_report_has_a_preview(registered: dict[str, Pipeline]) -> None:
    config = UserExperimentConfigLoader(CONF, **CONFIG_LOADER_ARGS)["catalog"]
    catalog = DataCatalog.from_config(config)
    # Folders of rasters, which the report does not show.
    shown = registered["reporting"].all_outputs() - {"predictions", "probabilities"}
    assert {"metrics", "panels", "worst_buildings", "reliability", "precision_recall", "report"} <= shown
    assert [name for name in sorted(shown) if not hasattr(catalog[name], "preview")] == []


def test_layers_do_not_depend_on_each_other(registered: dict[str, Pipeline]) -> None:
    """Kedro-Viz hides all layers if two of them depend on each other."""
    known = layers()
    whole = sum((pipeline for name, pipeline in registered.items() if name != "__default__"), Pipeline([]))
    parents: dict[str, set[str]] = {}
    for name, made_from in sources(whole).items():
        parents.setdefault(known[name], set()).update(known[each] for each in made_from if known[each] != known[name])
    assert {"raw", "primary", "reporting"} <= set(TopologicalSorter(parents).static_order())
