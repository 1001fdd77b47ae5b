import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import fiftyone.plugins as fop
import numpy as np
import pytest
from PIL import Image

import ntt_plugin as ntt
from ntt_plugin.demo.__main__ import Row, Shape, draw_sheet, run
from ntt_plugin.demo.app import plugin_at_hand
from ntt_plugin.demo.dataset import finish, make_dataset
from ntt_plugin.errors import DatasetError


@pytest.fixture
def name() -> str:
    return "ntt-demo-test"


@pytest.fixture(autouse=True)
def removed_afterwards(name: str) -> Iterator[None]:
    yield
    if fo.dataset_exists(name):
        fo.delete_dataset(name)


def test_the_demo_runs_and_writes_its_report(tmp_path: Path, name: str) -> None:
    run(
        argparse.Namespace(
            folder=tmp_path / "demo", name=name, images=3, shots=2, seed=51, device="cpu"
        )
    )
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert {"segm_ap", "bbox_ap", "images", "seconds_segment"} <= set(report)
    assert report["images"] == 3
    dataset = fo.load_dataset(name)
    assert dataset.persistent
    assert dataset.list_evaluations() == ["ntt_eval"]
    assert dataset.count("ntt.detections") > 0
    with Image.open(tmp_path / "demo" / "contact_sheet.png") as sheet:
        assert sheet.width > 900


def test_a_second_demo_replaces_the_first(tmp_path: Path, name: str) -> None:
    make_dataset(tmp_path, pool=1, targets=1, name=name)
    dataset = make_dataset(tmp_path, pool=1, targets=2, name=name)
    assert len(dataset) == 3


@pytest.mark.parametrize("work", ["a label is edited", "a bank is built", "none"])
def test_a_demo_that_somebody_worked_in_is_kept(tmp_path: Path, name: str, work: str) -> None:
    dataset = make_dataset(tmp_path, pool=1, targets=1, name=name)
    finish(dataset)
    if work == "a label is edited":
        sample = dataset.last()
        sample["ground_truth"].detections[0].label = "mine"
        sample.save()
    elif work == "a bank is built":
        ntt.build_memory_bank(dataset, "ground_truth", "mine", preset="tiny", device="cpu")
    again = make_dataset(tmp_path, pool=1, targets=2, name=name)
    assert (again.name, len(again)) == (name, 3)
    kept = f"{name}-1"
    assert fo.dataset_exists(kept) == (work != "none")
    if work != "none":
        former = fo.load_dataset(kept)
        assert len(former) == 2 and all(Path(path).exists() for path in former.values("filepath"))
        fo.delete_dataset(kept)


def test_the_app_has_the_plugin_before_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "plugins" / "other"
    other.mkdir(parents=True)
    (other / "fiftyone.yml").write_text("name: '@other/plugin'\nversion: 1.0.0\n")
    monkeypatch.setenv("FIFTYONE_PLUGINS_DIR", str(other.parent))
    monkeypatch.setattr(fo.config, "plugins_dir", str(other.parent))
    with plugin_at_hand():
        monkeypatch.setattr(fo.config, "plugins_dir", os.environ["FIFTYONE_PLUGINS_DIR"])
        names = {plugin.name for plugin in fop.list_plugins(enabled="all")}
        with plugin_at_hand():
            assert os.environ["FIFTYONE_PLUGINS_DIR"] == fo.config.plugins_dir
    assert names == {"@other/plugin", "@ntt/no-time-to-train"}
    assert os.environ["FIFTYONE_PLUGINS_DIR"] == str(other.parent)


def test_a_dataset_that_is_not_the_demos_is_left_alone(tmp_path: Path, name: str) -> None:
    fo.Dataset(name).add_sample(fo.Sample(filepath="/mine.png"))
    with pytest.raises(DatasetError, match="did not make it"):
        make_dataset(tmp_path, name=name)
    assert len(fo.load_dataset(name)) == 1


def test_the_sheet_shows_the_image_as_it_is_and_each_class_in_its_own_colour() -> None:
    image = np.full((64, 64, 3), 120, np.uint8)
    left, right = np.zeros((2, 64, 64), bool)
    left[10:50, 5:25] = True
    right[10:50, 40:60] = True
    thumb = Image.fromarray(image)
    row = Row(
        {"cat": [thumb], "dog": [thumb]},
        image,
        [Shape("cat", left)],
        [Shape("cat", left, 0.8), Shape("dog", right, 0.9)],
    )
    sheet = np.array(draw_sheet([row], ["cat", "dog"], ["a", "b", "c"])).astype(int)
    cell, gap, top = 320, 12, 40
    truth = sheet[top : top + cell, cell + 2 * gap : 2 * cell + 2 * gap]
    found = sheet[top : top + cell, 2 * cell + 3 * gap : 3 * cell + 3 * gap]
    assert truth[60, 60].tolist() == truth[60, 260].tolist() == [120, 120, 120]
    rim, cat, dog, ground = truth[100, 25], found[60, 60], found[60, 260], found[10, 160]
    assert abs(cat - ground).max() > 40
    assert abs(dog - ground).max() > 40
    assert abs(cat - dog).max() > 40
    assert abs(rim - 120).max() > 40
