"""Raw folder → scenes, buildings, masks, splits, store."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from xview2_siamese_unet.pipelines.data_processing import nodes


def create_pipeline(**_: object) -> Pipeline:
    """Return the pipeline `data_processing`."""
    return Pipeline(
        [
            Node(nodes.provide_scenes, "params:dataset", "raw_scenes", name="provide_scenes"),
            Node(
                nodes.plan_labels,
                ["raw_scenes", "params:dataset", "params:data_processing"],
                "labels",
                name="parse_labels",
            ),
            Node(nodes.tabulate_labels, "labels", ["scenes", "buildings", "ingest_report"], name="tabulate_labels"),
            Node(nodes.count_buildings, "labels", "building_counts", name="count_buildings"),
            Node(nodes.plan_masks, ["labels", "params:data_processing"], "masks", name="burn_masks"),
            Node(nodes.assign_splits, ["scenes", "params:data_processing"], "dealt_scenes", name="deal_scenes"),
            Node(
                nodes.plan_store,
                ["raw_scenes", "scenes", "masks", "params:data_processing"],
                "store",
                name="pack_scenes",
            ),
            Node(
                nodes.plan_png,
                ["raw_scenes", "scenes", "store", "params:data_processing"],
                "png_scenes",
                name="write_png",
            ),
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
            Node(nodes.begin_run, ["dealt_scenes", "store", "parameters"], ["run", "splits"], name="begin_run"),
        ]
    )
