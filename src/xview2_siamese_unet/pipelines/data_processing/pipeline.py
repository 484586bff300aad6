"""Raw folder → scenes, buildings, masks, splits, store."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.pipelines.data_processing import nodes


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline `data_processing`."""
    dataset, params, executor = "params:dataset", "params:data_processing", "params:executor"
    files = ["raw_scenes", "scene_files"]
    return Pipeline(
        [
            Node(nodes.provide_scenes, ["download", dataset, executor], "raw_scenes", name="provide_scenes"),
            Node(nodes.list_scenes, ["raw_scenes", params], "scene_files", name="list_scenes"),
            Node(
                nodes.parse_labels,
                [*files, dataset, params, executor],
                ["scenes_made_with", "scenes", "ingest_report"],
                name="parse_labels",
            ),
            Node(
                nodes.tabulate_buildings,
                [*files, "scenes", executor],
                "buildings",
                name="tabulate_buildings",
            ),
            Node(nodes.count_saved_buildings, ["scenes", "buildings"], "building_counts", name="count_buildings"),
            Node(nodes.burn_masks, [*files, "scenes", params, executor], "masks", name="burn_masks"),
            Node(nodes.assign_splits, ["scenes", params], "assigned_splits", name="assign_splits"),
            Node(nodes.pack_scenes, ["raw_scenes", "scenes", "masks", params, executor], "store", name="pack_scenes"),
            Node(
                nodes.report_ingest,
                {
                    "folder": "raw_scenes",
                    "scenes": "scenes",
                    "building_counts": "building_counts",
                    "problems": "ingest_report",
                    "masks": "masks",
                    "store": "store",
                    "splits": "splits",
                },
                "ingest_page",
                name="report_ingest",
            ),
            Node(nodes.record_run, ["assigned_splits", "store", "parameters"], ["run", "splits"], name="begin_run"),
        ]
    )
