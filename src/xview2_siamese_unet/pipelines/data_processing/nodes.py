"""Nodes of `data_processing`: raw folder → scenes, buildings, masks, splits, store."""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from xview2_siamese_unet import __version__, stats
from xview2_siamese_unet.config.data_processing import DataProcessingParams
from xview2_siamese_unet.config.dataset import DatasetParams
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.datasets.partitions import Partitions
from xview2_siamese_unet.errors import ConfigError, DataError
from xview2_siamese_unet.parallel import Lazy, parallel_map
from xview2_siamese_unet.raster.io import read_shape
from xview2_siamese_unet.raster.masks import SceneMasks, compare_targets, rasterize_scene
from xview2_siamese_unet.raster.packing import read_scene, scene_key
from xview2_siamese_unet.raster.store import Store
from xview2_siamese_unet.runs import describe_run
from xview2_siamese_unet.synthetic import draw_scene, drawing_code, plan_sample, scene_name
from xview2_siamese_unet.training.provenance import code_commit, code_digest
from xview2_siamese_unet.xbd.archives import UNPACKED, is_archive, unpack_archive
from xview2_siamese_unet.xbd.ingest import (
    building_tables,
    georeference,
    read_buildings,
    read_labels,
    tabulate_labels,
)
from xview2_siamese_unet.xbd.scenes import ScenePair, list_pairs, pairs_of, tabulate_pairs, unread_folders
from xview2_siamese_unet.xbd.splits import choose_subset, leave_out, split_scenes

_log = logging.getLogger(__name__)
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: left; overflow-wrap: anywhere }
"""


def provide_scenes(download: Path | Partitions | None, dataset: DatasetParams, executor: ExecutorParams) -> Partitions:
    """Draw the built-in sample, unpack an archive or convert another layout, lazily; xBD's folder is read in place.

    Raises:
        ConfigError: the catalog entry `download` is not one of `dataset.source`.
    """
    if dataset.source != "sample" and isinstance(download, Partitions) != (dataset.source == "other"):
        raise ConfigError(
            f"dataset.source is {dataset.source}, but the catalog entry download is "
            f"{'not a' if dataset.source == 'other' else 'a'} dataset in another layout.",
            hint="Set dataset.source: other together with an entry download of a subclass of OtherLayout.",
        )
    if isinstance(download, Partitions) and dataset.source == "other":
        return Partitions(download, what=download.what, made_with=download.made_with, executor=executor)
    if not isinstance(download, Path):
        sample = dataset.sample
        drawn = {scene_name(scene): Lazy(partial(draw_scene, scene, sample.size)) for scene in plan_sample(sample)}
        made_with = {**sample.model_dump(mode="json"), "code": drawing_code()}
        return Partitions(drawn, what="sample scenes", made_with=made_with, executor=executor)
    if is_archive(download):
        made_with = {"archive": download.name, "bytes": download.stat().st_size}
        return Partitions({UNPACKED: Lazy(partial(unpack_archive, download))}, what="archives", made_with=made_with)
    return Partitions({}, what="scenes")


def list_scenes(folder: Path, params: DataProcessingParams) -> pd.DataFrame:
    """Return the files of each scene, or the problem with them.

    Raises:
        DataError: the folder has no scene, or one is incomplete and `on_problem` is `stop`.
    """
    pairs, problems = list_pairs(folder)
    if unread := unread_folders(folder):
        _log.warning("%s: ignored folders that are not named after a tier: %s", folder, ", ".join(unread))
    if problems and params.on_problem == "stop":
        raise problems[0]
    return tabulate_pairs(pairs, problems)


def parse_labels(
    folder: Path, files: pd.DataFrame, dataset: DatasetParams, params: DataProcessingParams, executor: ExecutorParams
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Read both labels of each scene; return the settings that chose the scenes, and tables of scenes and problems.

    Raises:
        ConfigError: a shard of the scenes is requested, but the tables need all of them.
        DataError: a scene cannot be used and `on_problem` is `stop`; or none is left.
    """
    if params.shard.count > 1:
        raise ConfigError(
            f"data_processing.shard selects part {params.shard.index} of {params.shard.count} in a run that parses "
            "labels.",
            hint="Run --to-nodes parse_labels once without shard, then parts with --nodes burn_masks,pack_scenes.",
        )
    made_with = {
        "dataset.source": dataset.source,
        "dataset.use_main_dataset": dataset.use_main_dataset,
        "dataset.subset": None if dataset.use_main_dataset else dataset.subset.model_dump(mode="json"),
    }
    pairs = pairs_of(files)
    if not dataset.use_main_dataset:
        names = [(str(pair.scene), pair.tier, pair.scene.disaster) for pair in pairs]
        kept = choose_subset(pd.DataFrame(names, columns=["scene", "tier", "disaster"]), dataset.subset)
        pairs = [pair for pair in pairs if str(pair.scene) in set(kept["scene"])]
    read = partial(read_labels, folder, read_shape=read_shape, stop=params.on_problem == "stop")
    results = parallel_map(read, pairs, executor, "labels read")
    return made_with, *tabulate_labels(folder, files, results)


def tabulate_buildings(
    folder: Path, files: pd.DataFrame, scenes: pd.DataFrame, executor: ExecutorParams
) -> Callable[[], Iterator[pa.Table]]:
    """Read the buildings of each scene, lazily and a few thousand at a time."""
    work = [(pair, scene["labels_key"]) for scene, pair in _with_files(scenes, files)]

    def read() -> Iterator[pa.Table]:
        return building_tables(parallel_map(partial(read_buildings, folder), work, executor, "buildings read"))

    return read


def burn_masks(
    folder: Path, files: pd.DataFrame, scenes: pd.DataFrame, params: DataProcessingParams, executor: ExecutorParams
) -> Partitions:
    """Rasterise the polygons of both labels of each scene into its two masks, lazily."""
    rule = params.masks.rule
    burnt = {
        _name(scene): Lazy(
            partial(rasterize_scene, folder, pair, scene["labels_key"], rule, georeference(scene)),
            made_from=_masks_key(scene, params),
        )
        for scene, pair in _with_files(scenes, files)
    }
    return Partitions(
        burnt,
        what="scene masks",
        made_with={"data_processing.masks.rule": rule},
        executor=executor,
        shard=params.shard,
    )


def pack_scenes(
    folder: Path,
    scenes: pd.DataFrame,
    masks: Callable[[str], SceneMasks],
    params: DataProcessingParams,
    executor: ExecutorParams,
) -> Partitions:
    """Join images and masks of each scene into its pixels (h, w, 8), lazily.

    Raises:
        DataError: the scenes differ in size.
    """
    sizes = sorted(set(zip(scenes["height"].tolist(), scenes["width"].tolist(), strict=True)))
    if len(sizes) != 1:
        raise DataError(
            f"{folder} has {len(scenes)} scenes of {', '.join(f'{w} × {h}' for h, w in sizes) or 'no size'} pixels; "
            "a store has one size.",
            hint="Put scenes of another size into a separate dataset (dataset.name).",
        )
    packed = {}
    for scene in scenes.to_dict("records"):
        images = folder / scene["pre_image"], folder / scene["post_image"]
        packed[scene["scene"]] = Lazy(
            partial(read_scene, images, masks(_name(scene)), sizes[0]),
            made_from=partial(scene_key, images, _masks_key(scene, params) + code_digest("raster.packing")),
        )
    return Partitions(
        packed,
        what="packed scenes",
        made_with=dict(zip(("height", "width"), sizes[0], strict=True)),
        executor=executor,
        shard=params.shard,
        skip=params.on_problem == "skip",
    )


def assign_splits(scenes: pd.DataFrame, params: DataProcessingParams) -> pd.DataFrame:
    """Assign scenes to splits; before packing, so that invalid shares are reported at once."""
    return split_scenes(scenes, params.split)


def record_run(assigned: pd.DataFrame, store: Store, settings: dict[str, Any]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the record of this run, and its splits without the scenes that could not be packed."""
    made = describe_run(settings, store.digest) | {"version": __version__, "commit": code_commit()}
    return made, leave_out(assigned, {scene for scene, *_ in store.problems})


def count_saved_buildings(scenes: pd.DataFrame, table: pq.ParquetFile) -> pd.DataFrame:
    """Return the number of buildings of each class and size in each scene."""
    with table:
        parts = (part.to_pandas() for part in table.iter_batches(columns=["scene", "damage", "area"]))
        return stats.count_buildings(scenes, parts)


def report_ingest(  # noqa: PLR0913  the page joins all results
    *,
    folder: Path,
    scenes: pd.DataFrame,
    building_counts: pd.DataFrame,
    problems: pd.DataFrame,
    masks: Callable[[str], SceneMasks],
    store: Store,
    splits: pd.DataFrame,
) -> str:
    """Return a page of the content of the folder, the agreement of masks and targets, and every problem."""
    counts = stats.tabulate_building_counts(scenes, building_counts)
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
        summary += f" {len(placed)} scenes are georeferenced, to {1000 * placed.max():.2g} mm."
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
        "Agreement of damage masks with the targets of the download, in pixels": agreement.assign(
            agreement=agreement["agreement"].map("{:.2%}".format)
        ),
    }
    return render_page(f"Scenes of {folder.name}", summary, tables)


def render_page(title: str, summary: str, tables: Mapping[str, pd.DataFrame]) -> str:
    """Return a self-contained HTML page with every text escaped; empty tables are left out."""
    parts = [f"<h1>{escape(title)}</h1>\n<p>{escape(summary)}</p>"]
    with pd.option_context("display.max_colwidth", None):  # or else to_html shortens long texts
        for caption, table in tables.items():
            if len(table):
                parts.append(f"<h2>{escape(caption)}</h2>\n{table.to_html(index=False, border=0, justify='left')}")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{"".join(parts)}\n</body></html>\n'


def _scenes_by_split(scenes: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    assigned = scenes[["scene", "tier"]].merge(splits, on="scene", how="left").fillna({"split": "no split"})
    return pd.crosstab(assigned["tier"], assigned["split"]).reset_index()


def _masks_key(scene: Mapping[Any, Any], params: DataProcessingParams) -> str:
    """Return a text that changes with everything that makes the masks of a scene, code included."""
    return "-".join([scene["labels_key"], params.masks.rule, code_digest("raster.masks")])


def _name(scene: Mapping[Any, Any]) -> str:
    return f"{scene['tier']}/{scene['scene']}"


def _with_files(scenes: pd.DataFrame, files: pd.DataFrame) -> Iterator[tuple[Mapping[Any, Any], ScenePair]]:
    """Yield the row and the files of each usable scene."""
    pairs = {str(pair.scene): pair for pair in pairs_of(files)}
    for scene in scenes.to_dict("records"):
        yield scene, pairs[scene["scene"]]
