"""data_processing on a small folder: skipped scenes are missing from every result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.pandas import ParquetDataset

from xview2_siamese_unet.config.data_processing import DataProcessingParams, SplitParams
from xview2_siamese_unet.config.dataset import DatasetParams, SampleParams, SampleScenes, SubsetParams
from xview2_siamese_unet.config.execution import ExecutorParams
from xview2_siamese_unet.config_loader import UserExperimentConfigLoader
from xview2_siamese_unet.datasets.files import HtmlDataset
from xview2_siamese_unet.datasets.partitions import DownloadDataset, MasksDataset, SceneFolderDataset, StampDataset
from xview2_siamese_unet.datasets.store import BuildingsDataset, StoreDataset
from xview2_siamese_unet.errors import ConfigError, DataError, StaleError, cause_of
from xview2_siamese_unet.pipelines import png_export
from xview2_siamese_unet.pipelines.data_processing import create_pipeline
from xview2_siamese_unet.pipelines.data_processing.nodes import list_scenes, pack_scenes, provide_scenes, render_page
from xview2_siamese_unet.settings import CONFIG_LOADER_ARGS
from xview2_siamese_unet.xbd.scenes import list_pairs

# With four scenes per folder, a share of one tenth may be empty.
EVEN = SplitParams(train={"tier1": 0.5, "tier3": 0.5}, validation={"tier3": 0.5}, test={"tier1": 0.5})
SERIAL = ExecutorParams()
SAMPLE = DatasetParams(sample=SampleParams(size=64, scenes=SampleScenes(tier1=4, tier3=4, hold=2, test=2)))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = SceneFolderDataset(filepath=str(tmp_path_factory.mktemp("drawn") / "sample"))
    folder.save(provide_scenes(None, SAMPLE, SERIAL))
    return folder.load()


def run(raw: Path, out: Path, dataset: DatasetParams, params: DataProcessingParams) -> dict[str, Any]:
    """Run the pipeline over an existing folder; return what it made."""
    made = {
        name: ParquetDataset(filepath=str(out / f"{name}.parquet"))
        for name in ("scenes", "building_counts", "ingest_report", "splits")
    }
    made["buildings"] = BuildingsDataset(filepath=str(out / "buildings.parquet"))
    made["ingest_page"] = HtmlDataset(filepath=str(out / "ingest_report.html"))
    catalog = DataCatalog(
        {
            "download": DownloadDataset(source="xbd", path=str(raw)),
            "raw_scenes": SceneFolderDataset(filepath="", source="xbd", path=str(raw)),
            "scene_files": ParquetDataset(filepath=str(out / "scene_files.parquet")),
            "scenes_made_with": StampDataset(filepath=str(out / "made_with.json"), of="scenes.parquet"),
            "masks": MasksDataset(filepath=str(out / "masks")),
            "store": StoreDataset(filepath=str(out / "store")),
            "params:executor": MemoryDataset(SERIAL),
            "params:dataset": MemoryDataset(dataset),
            "params:data_processing": MemoryDataset(params),
            "parameters": MemoryDataset({"dataset": dataset, "data_processing": params}),
            **made,
        }
    )
    SequentialRunner().run(create_pipeline(), catalog)
    loaded = {name: catalog[name].load() for name in (*made, "store")}
    return loaded | {"buildings": loaded["buildings"].read().to_pandas()}


def xbd(raw: Path, **changed: object) -> DatasetParams:
    return DatasetParams.model_validate({"source": "xbd", "root": raw, "name": "mine"} | changed)


def test_a_complete_folder_gives_tables_splits_and_a_store(sample: Path, tmp_path: Path) -> None:
    made = run(sample, tmp_path, xbd(sample), DataProcessingParams())
    scenes, splits = made["scenes"], made["splits"]
    assert scenes["tier"].value_counts().to_dict() == {"tier1": 4, "tier3": 4, "hold": 2, "test": 2}
    assert sorted(splits["scene"]) == sorted(scenes["scene"]) == sorted(made["store"].scenes)
    tiers = scenes.set_index("scene")["tier"]
    found = splits.groupby(splits["scene"].map(tiers))["split"].agg(set).to_dict()
    assert found == {"tier1": {"train"}, "tier3": {"train", "validation"}, "hold": {"validation"}, "test": {"test"}}
    assert made["buildings"].groupby("scene").size().to_dict() == {
        row["scene"]: row["buildings"] for row in scenes.to_dict("records") if row["buildings"]
    }
    counted = made["store"].records["building_pixels"][:, 1] > 0
    has_buildings = scenes.set_index("scene")["buildings"][list(made["store"].scenes)] > 0
    assert counted.tolist() == has_buildings.tolist()


def test_skipped_scenes_are_in_no_table_and_no_split(
    sample: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(sample, raw)
    alone, label, image = (path.name[:-18] for path in sorted(raw.glob("tier1/labels/*_pre_disaster.json"))[:3])
    (raw / f"tier1/images/{alone}_post_disaster.png").unlink()
    (raw / f"tier1/labels/{label}_post_disaster.json").write_text("{}")
    torn = raw / f"tier1/images/{image}_post_disaster.png"
    torn.write_bytes(torn.read_bytes()[:-100])
    whole = run(sample, tmp_path / "whole", xbd(sample), DataProcessingParams())
    made = run(raw, tmp_path / "out", xbd(raw), DataProcessingParams(on_problem="skip"))

    assert set(made["ingest_report"]["scene"]) == {f"tier1/{alone}", label}
    assert [row[0] for row in made["store"].problems] == [image]
    page = made["ingest_page"]
    assert "10 scenes with" in page
    assert "3 problems" in page
    assert any(record.getMessage().startswith("3 scenes left out; the first: ") for record in caplog.records)
    assert "<th>no split</th>" in page
    assert all(page.count(left_out) >= 1 for left_out in (alone, label, image))
    assert page.count("<td>left out</td>") == 3
    for table in (made["scenes"], made["buildings"]):
        assert not {alone, label} & set(table["scene"])
    before = dict(zip(whole["splits"]["scene"], whole["splits"]["split"], strict=True))
    after = dict(zip(made["splits"]["scene"], made["splits"]["split"], strict=True))
    assert after == {scene: split for scene, split in before.items() if scene not in {alone, label, image}}
    assert len(made["store"].rows(list(after))) == len(after)


def test_the_folder_layout_of_the_challenge_is_supported(sample: Path, tmp_path: Path) -> None:
    """Folders train and tier3 have labels, test has none: the error names the parameters to set, which then work."""
    raw = tmp_path / "raw"
    shutil.copytree(sample / "tier1", raw / "train")
    shutil.copytree(sample / "tier3", raw / "tier3")
    shutil.copytree(sample / "test", raw / "test", ignore=shutil.ignore_patterns("labels"))
    with pytest.raises(DataError, match="like all 2 scenes of test here") as caught:
        run(raw, tmp_path / "out", xbd(raw), DataProcessingParams())
    hint = str(caught.value)
    shares = hint[hint.index("split: ") + len("split: ") : hint.rindex("}") + 1]
    params = DataProcessingParams(on_problem="skip", split=SplitParams.model_validate(yaml.safe_load(shares)))
    with pytest.raises(ConfigError, match=r"The test split has no scene .* data_processing\.split\.test"):
        run(raw, tmp_path / "default", xbd(raw), DataProcessingParams(on_problem="skip", split=SplitParams()))
    made = run(raw, tmp_path / "out", xbd(raw), params.model_copy(update={"split": EVEN}))
    assert set(made["splits"]["split"]) == {"train", "validation", "test"}
    assert set(made["scenes"]["tier"]) == {"tier1", "tier3"}
    assert made["ingest_report"]["problem"].str.contains("has no labels").sum() == 2


def test_only_the_subset_is_read(sample: Path, tmp_path: Path) -> None:
    dataset = xbd(sample, use_main_dataset=False, subset=SubsetParams(share=0.5))
    made = run(sample, tmp_path, dataset, DataProcessingParams())
    assert 4 <= len(made["scenes"]) < 12
    assert set(made["store"].scenes) == set(made["scenes"]["scene"]) == set(made["splits"]["scene"])
    whole = run(sample, tmp_path / "whole", xbd(sample, subset=SubsetParams(share=0.5)), DataProcessingParams())
    assert len(whole["scenes"]) == 12
    assert made["splits"].merge(whole["splits"]).shape == made["splits"].shape


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("other", "found", "wanted"),
    [
        ({"use_main_dataset": False, "subset": SubsetParams(share=0.5)}, "use_main_dataset True", "'share': 0.5"),
        ({"source": "sample"}, "dataset.source xbd", "(now sample)"),
    ],
)
def test_other_scenes_do_not_replace_tables_that_experiments_share(
    sample: Path, tmp_path: Path, other: dict[str, Any], found: str, wanted: str
) -> None:
    run(sample, tmp_path, xbd(sample), DataProcessingParams())
    before = files(tmp_path)
    with pytest.raises(DatasetError) as caught:
        run(sample, tmp_path, xbd(sample, **other), DataProcessingParams())
    error = cause_of(caught.value)
    assert isinstance(error, StaleError)
    assert found in error.message
    assert wanted in error.message
    assert "another dataset.name" in error.hint
    assert files(tmp_path) == before


def test_tables_follow_a_download_that_moves_and_grows(sample: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(sample, raw, ignore=shutil.ignore_patterns("test"))
    run(raw, out, xbd(raw), DataProcessingParams(split=EVEN))
    raw = raw.rename(tmp_path / "moved")
    shutil.copytree(sample / "test", raw / "test")
    unread = xbd(raw, subset=SubsetParams(count=1))  # ignored, because `use_main_dataset` is true
    made = run(raw, out, unread, DataProcessingParams(on_problem="skip"))
    assert len(made["scenes"]) == 12


def test_a_failed_run_records_no_settings(sample: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(sample, raw)
    label = sorted(raw.glob("tier1/labels/*.json"))[0]
    label.write_text("{}")
    with pytest.raises(DataError, match=label.name):
        run(raw, tmp_path / "out", xbd(raw), DataProcessingParams())
    label.write_bytes((sample / label.relative_to(raw)).read_bytes())
    few = xbd(raw, use_main_dataset=False, subset=SubsetParams(share=0.5))
    run(raw, tmp_path / "out", few, DataProcessingParams())


def test_scenes_of_two_sizes_are_refused(sample: Path, tmp_path: Path) -> None:
    made = run(sample, tmp_path, xbd(sample), DataProcessingParams())
    scenes = made["scenes"].copy()
    scenes.loc[0, "height"] = 96
    masks = MasksDataset(filepath=str(tmp_path / "masks")).load()
    with pytest.raises(DataError, match=r"12 scenes of 64 × 64, 64 × 96 pixels"):
        pack_scenes(sample, scenes, masks, DataProcessingParams(), SERIAL)


def test_a_folder_without_usable_scenes_is_refused(tmp_path: Path, sample: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(sample, raw)
    for path in raw.glob("*/labels/*.json"):
        label = json.loads(path.read_text())
        label["metadata"]["width"] = 65
        path.write_text(json.dumps(label))
    with pytest.raises(DataError, match="no usable scene"):
        run(raw, tmp_path / "out", xbd(raw), DataProcessingParams(on_problem="skip"))


def test_the_folder_is_walked_once(sample: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module, walks = "xview2_siamese_unet.pipelines.data_processing.nodes.list_pairs", []
    monkeypatch.setattr(module, lambda root: walks.append(root) or list_pairs(root))
    run(sample, tmp_path, xbd(sample), DataProcessingParams())
    assert walks == [sample]


def test_a_folder_not_named_after_a_tier_causes_a_warning(
    sample: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(sample, tmp_path / "raw")
    shutil.copytree(sample / "hold", tmp_path / "raw/tier2")
    list_scenes(tmp_path / "raw", DataProcessingParams())
    assert "not named after a tier: tier2" in caplog.text


def test_a_page_escapes_and_shows_every_text() -> None:
    table = pd.DataFrame({"problem": ["<script>alert(1)</script>" + "x" * 200], "count": [3]})
    page = render_page("<a>", "x & y", {"Problems <b>": table, "Nothing": table.iloc[:0]})
    assert "<script>" not in page
    assert f"&lt;script&gt;alert(1)&lt;/script&gt;{'x' * 200}</td>" in page
    assert "<h1>&lt;a&gt;</h1>" in page
    assert "x &amp; y" in page
    assert "Problems &lt;b&gt;" in page
    assert "Nothing" not in page


def test_every_dataset_is_a_catalog_entry_with_its_own_file(project_path: Path) -> None:
    catalog = UserExperimentConfigLoader(project_path / "conf", **CONFIG_LOADER_ARGS)["catalog"]
    made = create_pipeline().datasets() | png_export.create_pipeline().datasets()
    names = {name for name in made if not name.startswith("param")}
    assert names <= catalog.keys()
    files = [catalog[name]["filepath"] for name in names if "filepath" in catalog[name]]
    assert len(set(files)) == len(files) == len(names) - 1  # the download has no file
