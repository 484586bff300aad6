"""Translates between the catalog and the rooms of the library; no arithmetic here."""

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from xview2_siamese_unet import __version__
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.params.data_processing import DataProcessingParams
from xview2_siamese_unet.params.dataset import DatasetParams
from xview2_siamese_unet.pipelines.data_processing.ingest_page import render_ingest_page
from xview2_siamese_unet.raster.masks import MaskJob, MaskPlan, mask_path
from xview2_siamese_unet.raster.pack import PackJob, StorePlan
from xview2_siamese_unet.raster.png import PngPlan
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.raster.targets import compare_targets
from xview2_siamese_unet.runs import describe_run
from xview2_siamese_unet.stats import buildings
from xview2_siamese_unet.training.commit import code_commit, code_digest
from xview2_siamese_unet.xbd.ingest import LabelPlan, Row, georeference
from xview2_siamese_unet.xbd.label_table import Labels
from xview2_siamese_unet.xbd.pairing import list_pairs
from xview2_siamese_unet.xbd.splits import choose_subset, leave_out, split_scenes

_log = logging.getLogger(__name__)


def provide_scenes(dataset: DatasetParams) -> DatasetParams:
    """Ask the raw folder for the scenes of these parameters; it checks a download and draws a sample."""
    return dataset


def plan_labels(folder: Path, dataset: DatasetParams, params: DataProcessingParams) -> LabelPlan:
    """Describe which labels are to be read; the dataset that they are saved to reads them.

    Raises:
        ConfigError: a part of the scenes is asked for, where the tables are of all of them.
    """
    if params.shard.count > 1:
        raise ConfigError(
            "data_processing.shard",
            found=f"part {params.shard.index} of {params.shard.count} in a run that also parses labels",
            allowed="parts of burn_masks and pack_scenes",
            remedy="run --to-nodes tabulate_labels once without shard, then parts with --nodes burn_masks,pack_scenes",
        )
    pairs, problems = list_pairs(folder)
    if not dataset.use_main_dataset:
        names = pd.DataFrame(
            [(str(p.scene), p.tier, p.scene.disaster) for p in pairs], columns=["scene", "tier", "disaster"]
        )
        kept = set(choose_subset(names, dataset.subset)["scene"])
        pairs = [pair for pair in pairs if str(pair.scene) in kept]
    made_with = {
        "dataset.source": dataset.source,
        "dataset.use_main_dataset": dataset.use_main_dataset,
        "dataset.subset": None if dataset.use_main_dataset else dataset.subset.model_dump(mode="json"),
    }
    return LabelPlan(folder, pairs, problems, stop=params.on_problem == "stop", made_with=made_with)


def tabulate_labels(labels: Labels) -> tuple[pd.DataFrame, Labels, pd.DataFrame]:
    """Return the tables of scenes, of buildings (copied by the dataset that it is saved to) and of problems."""
    return labels.scenes, labels, labels.problems


def plan_masks(labels: Labels, params: DataProcessingParams) -> MaskPlan:
    """Describe the masks of each scene; the dataset that they are saved to burns them."""
    part = slice(params.shard.index, None, params.shard.count)

    def describe() -> Iterator[MaskJob]:
        for scene, inside in islice(labels.rows(), part.start, part.stop, part.step):
            yield _mask_job(scene, inside, params)

    return MaskPlan(params.masks.rule, len(labels.scenes[part]), describe)


def plan_store(folder: Path, scenes: pd.DataFrame, masks: Path, params: DataProcessingParams) -> StorePlan:
    """Describe the slot of each scene; the dataset that they are saved to packs them.

    Raises:
        DataError: the scenes differ in size.
    """
    sizes = sorted(set(zip(scenes["height"], scenes["width"], strict=True)))
    if len(sizes) != 1:
        raise DataError(
            str(folder),
            found=f"{len(scenes)} scenes of {', '.join(f'{w} × {h}' for h, w in sizes) or 'no size'} pixels",
            allowed="scenes of one size",
            remedy="put scenes of another size into a dataset of their own (dataset.name)",
        )
    jobs = [_pack_job(row, folder, masks, params) for row in _part(scenes, params)]
    return StorePlan(*sizes[0], scenes["scene"].tolist(), jobs, skip=params.on_problem == "skip")


def plan_png(folder: Path, scenes: pd.DataFrame, store: Store, params: DataProcessingParams) -> PngPlan:
    """Name the scenes that are to be written as PNG: those in the store, if any are asked for."""
    if not params.write_png:
        return PngPlan(folder, [])
    used = set(scenes["scene"]) - {scene for scene, *_ in store.problems}
    return PngPlan(folder, [pair for pair in list_pairs(folder)[0] if str(pair.scene) in used])


def assign_splits(scenes: pd.DataFrame, params: DataProcessingParams) -> pd.DataFrame:
    """Deal the scenes to train, validation and test; before packing, so that a mistake in the shares shows at once."""
    return split_scenes(scenes, params.split)


def begin_run(dealt: pd.DataFrame, store: Store, settings: dict[str, Any]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return what makes this run, and its splits, which leave out the scenes that could not be packed."""
    made = describe_run(settings, store.digest) | {"version": __version__, "commit": code_commit()}
    return made, leave_out(dealt, {scene for scene, *_ in store.problems})


def count_buildings(labels: Labels) -> pd.DataFrame:
    """Return how many buildings of each class and size every scene has."""
    parts = (part.to_pandas() for part in labels.buildings(("scene", "damage", "area")))
    return buildings.count_buildings(labels.scenes, parts)


def report_ingest(  # noqa: PLR0913  a page joins everything
    *,
    folder: Path,
    scenes: pd.DataFrame,
    building_counts: pd.DataFrame,
    problems: pd.DataFrame,
    masks: Path,
    store: Store,
    splits: pd.DataFrame,
) -> str:
    """Return a page of what the folder holds, how our masks agree with its targets, and every problem."""
    counts = buildings.summarise_buildings(scenes, building_counts)
    agreement = compare_targets(folder, scenes, masks)
    all_problems = pd.concat([problems, pd.DataFrame(store.problems, columns=problems.columns)])
    placed = scenes["residual"].dropna()
    summary = f"{len(scenes)} scenes with {scenes['buildings'].sum()} buildings; {len(all_problems)} problems."
    for consequence, rows in all_problems.groupby("consequence"):
        _log.warning("%d scenes %s; the first: %s", len(rows), consequence, rows["problem"].iloc[0])
    if outside := scenes["outside"].sum():
        _log.warning("%d buildings are outside of their image and have no pixel in a mask", outside)
    summary += f" {scenes['clipped'].sum()} buildings are cut at the edge of their image, {outside} are outside of it."
    if len(placed):
        summary += f" {len(placed)} scenes have a place on Earth, to {1000 * placed.max():.2g} mm."
    if len(agreement):
        least = agreement["agreement"].min()
        summary += f" Masks and targets of {len(agreement)} scenes agree in {least:.2%} of pixels or more."
    _log.info("ingest: %s", summary)
    tables = {
        "By folder": counts["folder"].reset_index(),
        "Scenes by folder and split": _scenes_by_split(scenes, splits),
        "By event": counts["event"].reset_index(),
        "By size": counts["size"].reset_index(),
        "By event and size": counts["event and size"].reset_index(),
        "Problems": all_problems,
        "Equal pixels of our damage masks and the targets of the download": agreement.assign(
            agreement=agreement["agreement"].map("{:.2%}".format)
        ),
    }
    return render_ingest_page(f"Scenes of {folder.name}", summary, tables)


def _scenes_by_split(scenes: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    dealt = scenes[["scene", "tier"]].merge(splits, on="scene", how="left").fillna({"split": "no split"})
    return pd.crosstab(dealt["tier"], dealt["split"]).reset_index()


def _part(scenes: pd.DataFrame, params: DataProcessingParams) -> list[dict[Any, Any]]:
    """Return every n-th scene; the same of masks and store, so that no part waits for another."""
    return scenes.iloc[params.shard.index :: params.shard.count].to_dict("records")


def _mask_job(scene: Row, inside: list[Row], params: DataProcessingParams) -> MaskJob:
    return MaskJob(
        scene=scene["scene"],
        tier=scene["tier"],
        shape=(scene["height"], scene["width"]),
        pre=tuple(building["pre_polygon"] for building in inside),
        post=tuple(building["polygon"] for building in inside),
        subtypes=tuple(building["damage"] for building in inside),
        rule=params.masks.rule,
        place=georeference(scene),
        key=_masks_key(scene, params),
    )


def _masks_key(scene: Row, params: DataProcessingParams) -> str:
    return f"{scene['labels_key']}-{params.masks.rule}-{code_digest('raster.masks', 'xbd.labels')}"


def _pack_job(scene: Row, folder: Path, masks: Path, params: DataProcessingParams) -> PackJob:
    tier, name = scene["tier"], scene["scene"]
    return PackJob(
        scene=scene["scene"],
        images=(folder / scene["pre_image"], folder / scene["post_image"]),
        masks=(mask_path(masks, tier, name, "building"), mask_path(masks, tier, name, "damage")),
        masks_key=_masks_key(scene, params) + code_digest("raster.pack"),
    )
