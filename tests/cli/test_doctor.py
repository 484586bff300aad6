"""`kedro doctor`."""

from __future__ import annotations

import json
import shutil
from functools import cache
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
import segmentation_models_pytorch as smp
from click.testing import CliRunner, Result
from kedro.framework.startup import bootstrap_project
from platformdirs import user_data_path
from safetensors.torch import save_file

from xview2_siamese_unet import project
from xview2_siamese_unet.cli.command import open_configuration
from xview2_siamese_unet.cli.doctor import doctor, leaves
from xview2_siamese_unet.config.dataset import SampleParams
from xview2_siamese_unet.errors import ConfigError
from xview2_siamese_unet.models.pretrained import find_packaged
from xview2_siamese_unet.synthetic import plan_sample, write_scene


def call(*args: str) -> Result:
    return CliRunner().invoke(doctor, args, catch_exceptions=False)


@pytest.mark.usefixtures("shipped")
def test_a_fresh_clone_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    # Free memory and disk are those of the first call: other programs change them between the two.
    monkeypatch.setattr("psutil.virtual_memory", cache(psutil.virtual_memory))
    monkeypatch.setattr("shutil.disk_usage", cache(shutil.disk_usage))
    done = call()
    assert done.exit_code == 0, done.output
    assert "base < users/default < experiments/quickstart" in done.output
    assert "good  net                 siamese_unet with tu-tf_efficientnet_lite0, " in done.output
    assert "none of this experiment yet. Run kedro run --env default/quickstart." in done.output
    assert f"good  ONNX Runtime        {version('onnxruntime')}" in done.output
    findings = json.loads(call("--json").stdout)
    assert all(f"{each['state']:<5} {each['subject']:<19} {each['message']}" in done.output for each in findings)
    assert len(findings) == len(done.output.splitlines())


def test_a_missing_dataset_is_bad(shipped: Path) -> None:
    (shipped / "conf/users/default/globals.yml").write_text("dataset: {name: xbd, source: xbd, root: nowhere}")
    done = call("--env", "default/strong")
    assert done.exit_code == 1
    assert f"bad   dataset             {shipped / 'nowhere'} is not a folder. Set dataset.root" in done.output
    assert "note  pretrained weights  resnet50 from hub" in done.output


@pytest.fixture
def download(shipped: Path) -> Path:
    """A small folder in the layout of a download, named in globals."""
    params = SampleParams(size=64, scenes={"tier1": 2, "tier3": 0, "hold": 0, "test": 1})
    for scene in plan_sample(params):
        write_scene(shipped / "xbd", scene, params.size)
    (shipped / "conf/users/default/globals.yml").write_text("dataset: {name: mine, source: xbd, root: xbd}")
    return shipped / "xbd"


def test_pairs_of_a_download_with_a_relative_root_are_counted(
    shipped: Path, download: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shipped / "src")
    assert f"mine in {download}, pairs: tier1 2, test 1" in call("--env", "default/strong").output


def test_an_archive_is_good(shipped: Path, download: Path) -> None:
    archive = Path(shutil.make_archive(str(shipped / "dl"), "zip", download))
    (shipped / "conf/users/default/globals.yml").write_text("dataset: {name: mine, source: xbd, root: dl.zip}")
    done = call("--env", "default/strong")
    assert done.exit_code == 0, done.output
    assert f"good  dataset             mine: {archive}, unpacked in the first run" in done.output
    archive.unlink()
    assert f"bad   dataset             {archive} is not a folder" in call("--env", "default/strong").output


PAIRS = """
from pathlib import Path
from xview2_siamese_unet.datasets.other_layout import OtherLayout, OtherScene, SceneId

class Pairs(OtherLayout):
    def scenes(self):
        for folder in self.path.glob("*"):
            yield OtherScene("tier1", SceneId("flood", int(folder.name)), *(folder / name for name in "abc"))

    def buildings(self, scene):
        return []
"""


@pytest.mark.parametrize(
    ("kind", "scenes", "state", "expected"),
    [
        ("my_pairs.Pairs", 2, "good", "mine: 2 scenes of my_pairs.Pairs, converted in the first run"),
        ("my_pairs.Pairs", 0, "bad", "has no scene of Pairs. Correct path in the catalog."),
        ("my_pairs.Pears", 0, "bad", "mine: my_pairs.Pears lists no scenes: "),
        ("text.TextDataset", 0, "bad", "mine: the entry download is not a dataset in another layout."),
    ],
)
def test_scenes_in_another_layout_are_counted(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, kind: str, scenes: int, state: str, expected: str
) -> None:
    bootstrap_project(shipped)  # as the command line does
    (shipped / "my_pairs.py").write_text(PAIRS)
    monkeypatch.syspath_prepend(shipped)
    (shipped / "pairs.txt").touch()
    for number in range(scenes):
        (shipped / f"pairs/{number}").mkdir(parents=True)
    where = "filepath: pairs.txt" if kind == "text.TextDataset" else "path: pairs"
    (shipped / "conf/users/default/globals.yml").write_text("dataset: {name: mine, source: other}")
    (shipped / "conf/users/default/catalog.yml").write_text(f"download: {{type: {kind}, {where}}}")
    (line,) = [line for line in call("--env", "default/strong").output.splitlines() if " dataset " in line]
    assert line.split()[0] == state
    assert expected in line


@pytest.mark.parametrize(("on_problem", "state", "code"), [("stop", "bad", 1), ("skip", "note", 0)])
def test_an_incomplete_scene_is_bad_unless_skipped(
    shipped: Path, download: Path, on_problem: str, state: str, code: int
) -> None:
    next(download.glob("test/images/*_post_*.png")).unlink()
    for number in range(3):
        (download / f"tier1/images/foreign_{number}.png").touch()
    (shipped / "conf/users/default/parameters.yml").write_text(f"data_processing: {{on_problem: {on_problem}}}")
    done = call("--env", "default/strong")
    assert done.exit_code == code, done.output
    assert f"{state:<5} dataset             tier1/" in done.output
    assert "1 more problems like these" in done.output


def test_a_full_disk_is_bad(monkeypatch: pytest.MonkeyPatch, shipped: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12 - 10**9, 10**9))  # type: ignore[attr-defined]
    done = call()
    assert done.exit_code == 1
    assert f"bad   storage             {shipped / 'data'}, 1 GB free. Free space" in done.output


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("model: {encoder: {name: nosuchnet}}", "bad   net                 "),
        ("hardware: {device: gpu}", "bad   net                 "),
    ],
)
def test_a_net_that_cannot_be_built_is_bad(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, settings: str, expected: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (shipped / "conf/local").mkdir()
    (shipped / "conf/local/parameters.yml").write_text(settings)
    done = call()
    assert done.exit_code == 1
    assert expected in done.output


def test_a_missing_file_of_weights_is_bad(shipped: Path) -> None:
    (shipped / "conf/local").mkdir()
    (shipped / "conf/local/parameters.yml").write_text("model: {encoder: {weights: {source: file, path: w.pth}}}")
    done = call()
    assert done.exit_code == 1
    assert "no file w.pth. Correct model.encoder.weights.path" in done.output


@pytest.fixture
def from_cache(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration with weights from the cache, which is empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    (shipped / "conf/local").mkdir()
    (shipped / "conf/local/parameters.yml").write_text("model: {encoder: {name: resnet18, weights: {source: cache}}}")


@pytest.mark.usefixtures("from_cache")
def test_weights_that_are_not_in_the_cache_are_bad() -> None:
    done = call()
    assert done.exit_code == 1
    assert "bad   pretrained weights  resnet18 from cache: " in done.output
    assert "model.encoder.weights.source" in done.output


@pytest.mark.usefixtures("from_cache")
def test_weights_that_are_in_the_cache_are_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = smp.encoders.get_encoder("resnet18")
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(
        "segmentation_models_pytorch.encoders.hf_hub_download", lambda _, filename, **__: str(tmp_path / filename)
    )
    done = call()
    assert done.exit_code == 0, done.output
    assert "good  pretrained weights  resnet18 from cache" in done.output


def test_the_file_of_packaged_weights_is_printed(shipped: Path) -> None:
    (shipped / "conf/local").mkdir()
    wanted = "model: {encoder: {name: tu-tf_efficientnet_lite0, weights: {source: package}}}"
    (shipped / "conf/local/parameters.yml").write_text(wanted)
    done = call()
    assert done.exit_code == 0, done.output
    assert f"lite0 from package: {find_packaged('tu-tf_efficientnet_lite0')}" in done.output


def test_explain_lists_the_sources_of_a_value(shipped: Path) -> None:
    (shipped / "conf/local").mkdir()
    (shipped / "conf/local/parameters.yml").write_text("# mine\ntraining:\n  learning_rate: 3.0e-5\n")
    lines = call("--explain", "training.learning_rate").output.splitlines()
    assert lines[0] == "training.learning_rate = 3e-05"
    assert [line.split(None, 1)[1].split(":")[0] for line in lines[1:]] == [
        "the default of the code",
        "conf/base/parameters_modelling.yml",
        "conf/experiments/quickstart/parameters.yml",
        "conf/local/parameters.yml",
    ]
    assert lines[-1].endswith("conf/local/parameters.yml:3  <- in effect")
    explained = json.loads(call("--explain", "training.learning_rate", "--json").stdout)["training.learning_rate"]
    assert explained["value"] == 3e-5
    assert explained["set"][-1] == {"where": "conf/local/parameters.yml:3", "value": 3e-5}


@pytest.mark.parametrize("file", ["parameters.yaml", "parameters.json", "parameters/x.yml"])
def test_explain_reads_every_file_of_a_run(shipped: Path, file: str) -> None:
    path = shipped / "conf/experiments/mine" / file
    path.parent.mkdir(parents=True)
    path.write_text('{"training": {"epochs": 3}}')
    last = call("--env", "default/mine", "--explain", "training.epochs").output.splitlines()[-1]
    assert last.split() == ["3", f"conf/experiments/mine/{file}:1", "<-", "in", "effect"]
    assert "< experiments/mine" in call("--env", "default/mine").output


def test_explain_follows_a_reference_to_a_global(shipped: Path) -> None:
    (shipped / "conf/users/default/globals.yml").write_text("dataset:\n  name: mine\n")
    lines = [line.split() for line in call("--env", "default/strong", "--explain", "dataset.name").output.splitlines()]
    sources = [(line[0], line[-1] if line[-1] != "effect" else line[-4]) for line in lines[1:]]
    base, globals_ = (shipped / "conf/base" / name for name in ("parameters_data.yml", "globals.yml"))
    assert sources == [
        ('"sample"', "code"),
        ('"${globals:dataset.name}"', f"conf/base/{base.name}:{line_of('name: ${globals:dataset.name}', base)}"),
        ('"sample"', "code"),
        ('"sample"', f"conf/base/{globals_.name}:{line_of('name: sample', globals_)}"),
        ('"mine"', "conf/users/default/globals.yml:2"),
    ]
    assert [line[-1] for line in lines].count("effect") == 1


def test_explain_does_not_follow_an_overridden_reference(shipped: Path) -> None:
    (shipped / "conf/experiments/quickstart/parameters_dataset.yml").write_text("dataset: {name: sample}")
    lines = call("--explain", "dataset.name").output.splitlines()
    assert lines[-1].endswith("conf/experiments/quickstart/parameters_dataset.yml:1  <- in effect")


def line_of(text: str, path: Path) -> int:
    return next(number for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if text in line)


@pytest.mark.usefixtures("shipped")
def test_explain_covers_every_key() -> None:
    loader = open_configuration(None)
    keys = [*leaves(loader["parameters"]), *leaves(loader["globals"])]
    arguments = [part for key in keys for part in ("--explain", key)]
    output = call(*arguments).output
    assert [key for key in keys if f"{key} = " not in output] == []


@pytest.mark.usefixtures("shipped")
def test_an_unknown_key_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Try training\.learning_rate"):
        call("--explain", "training.learnin_rate")


def test_outside_of_a_project_the_packaged_configuration_is_used(
    tmp_path: Path, project_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert project.find_project() == (project_path, project_path / "conf")
    monkeypatch.setattr(project, "__file__", str(tmp_path / "project.py"))  # as in a wheel
    assert project.find_project() == (user_data_path("xview2"), project.PACKAGED)


def test_a_user_without_a_home_folder_gets_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(project, "__file__", str(tmp_path / "project.py"))  # as in a wheel
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user id without an account
    with pytest.raises(ConfigError, match="HOME is not set") as caught:
        project.find_project()
    assert "HOME=/tmp" in caught.value.hint
