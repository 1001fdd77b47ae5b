"""YOLO's text files, read again in plain Python and drawn by COCO's rasteriser."""

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from pycocotools import mask as mask_utils

from ntt_plugin.dataset.export.yolo import export_yolo_seg
from ntt_plugin.errors import DatasetError


def read(folder, name, size):
    """The class number and the mask of each line of a text file."""
    height, width = size
    found = []
    for line in (folder / "labels" / name).read_text().splitlines():
        number, *values = line.split()
        corners = np.array(values, dtype=float).reshape(-1, 2)
        assert (corners >= 0).all()
        assert (corners <= 1).all()
        polygon = (corners * (width, height)).ravel().tolist()
        drawn = mask_utils.decode(mask_utils.frPyObjects([polygon], height, width))[..., 0]
        found.append((int(number), drawn.astype(bool)))
    return found


def test_every_line_is_one_label_to_the_pixel(ragged, tmp_path):
    dataset, masks = ragged
    report = export_yolo_seg(dataset, "labels", tmp_path / "yolo", copy_images=True)
    names = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())["names"]
    count = 0
    for index, sample in enumerate(dataset):
        labels = [one for one in sample["labels"].detections if "iscrowd" not in one]
        lines = read(tmp_path / "yolo", f"part{index % 2}/{index}.txt", (120, 160))
        for label, (number, mask) in zip(labels, lines, strict=True):
            assert names[number] == label.label
            assert (mask == masks[label.id]).all()
            count += 1
        copied = tmp_path / "yolo" / "images" / f"part{index % 2}" / f"{index}.png"
        assert copied.read_bytes() == Path(sample.filepath).read_bytes()
    assert count == sum(report.instances.values()) == 30
    assert any("10 crowds" in note.reason for note in report.notes)


def test_images_that_are_not_copied_are_listed(dataset, tmp_path):
    report = export_yolo_seg(dataset, "ground_truth", tmp_path / "yolo")
    listed = (tmp_path / "yolo" / "images.txt").read_text().splitlines()
    assert listed == dataset.values("filepath")
    assert report.images == 6


def test_an_image_without_objects_has_an_empty_file(dataset, tmp_path):
    sample = dataset.first()
    sample["ground_truth"].detections = []
    sample.save()
    export_yolo_seg(dataset, "ground_truth", tmp_path / "yolo")
    assert (tmp_path / "yolo" / "labels" / "000.txt").read_text() == ""


def test_two_images_of_one_name_are_not_mixed_up(dataset, tmp_path):
    second = dataset.skip(1).first()
    twin = Path(dataset.first().filepath).with_suffix(".jpg")
    os.rename(second.filepath, twin)
    second.filepath = str(twin)
    second.save()
    report = export_yolo_seg(dataset, "ground_truth", tmp_path / "yolo")
    assert [note.sample for note in report.failed] == [second.id]
    assert report.images == 5


def test_only_a_folder_of_ours_is_ever_replaced(dataset, tmp_path):
    folder = tmp_path / "yolo"
    folder.mkdir()
    export_yolo_seg(dataset, "ground_truth", folder)
    with pytest.raises(DatasetError, match="already"):
        export_yolo_seg(dataset, "ground_truth", folder)
    export_yolo_seg(dataset.limit(2), "ground_truth", folder, overwrite=True)
    assert len(os.listdir(folder / "labels")) == 2
    (folder / "data.yaml").write_text("mine")
    with pytest.raises(DatasetError, match="already"):
        export_yolo_seg(dataset, "ground_truth", folder, overwrite=True)
    assert not list(tmp_path.glob(".*"))


def test_files_of_a_former_export_go_and_those_of_others_stay(dataset, tmp_path):
    folder = tmp_path / "yolo"
    export_yolo_seg(dataset, "ground_truth", folder, copy_images=True)
    own = {"runs/best.pt": "weights", "labels/own.txt": "mine", "notes.txt": "mine"}
    for name, text in own.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    report = export_yolo_seg(dataset.limit(2), "ground_truth", folder, overwrite=True)
    assert {name: (folder / name).read_text() for name in own} == own
    assert sorted(os.listdir(folder / "labels")) == ["000.txt", "001.txt", "own.txt"]
    assert not (folder / "images").exists()
    assert any("3 files that no export wrote stay" in note.reason for note in report.notes)
    assert not list(tmp_path.glob(".*"))


def test_a_file_of_somebody_else_is_never_replaced(dataset, tmp_path):
    folder = tmp_path / "yolo"
    export_yolo_seg(dataset.limit(2), "ground_truth", folder)
    (folder / "labels" / "004.txt").write_text("mine")
    with pytest.raises(DatasetError, match="004"):
        export_yolo_seg(dataset, "ground_truth", folder, overwrite=True)
    assert (folder / "labels" / "004.txt").read_text() == "mine"
    assert len(os.listdir(folder / "labels")) == 3
    assert not list(tmp_path.glob(".*"))


def test_a_folder_of_a_version_without_a_list_is_replaced(dataset, tmp_path):
    folder = tmp_path / "yolo"
    export_yolo_seg(dataset, "ground_truth", folder)
    (folder / "exported_files.txt").unlink()
    export_yolo_seg(dataset.limit(2), "ground_truth", folder, overwrite=True)
    assert len(os.listdir(folder / "labels")) == 2


def test_a_folder_that_holds_images_of_the_dataset_is_not_replaced(dataset, tmp_path):
    """As after importing what was exported, to correct it."""
    folder = tmp_path / "yolo"
    export_yolo_seg(dataset, "ground_truth", folder, copy_images=True)
    sample = dataset.last()
    sample.filepath = str(folder / "images" / "005.png")
    sample.save()
    with pytest.raises(DatasetError, match="another folder"):
        export_yolo_seg(dataset.limit(2), "ground_truth", folder, overwrite=True)
    assert os.path.exists(sample.filepath)


def test_two_exports_into_one_folder_at_once_do_not_replace_each_other(dataset, tmp_path):
    folder = tmp_path / "yolo"

    def other(bar):
        if not folder.exists():
            export_yolo_seg(dataset.limit(2), "ground_truth", folder, progress=False)

    with pytest.raises(DatasetError, match="there already"):
        export_yolo_seg(dataset, "ground_truth", folder, progress=other)
    assert len(os.listdir(folder / "labels")) == 2


def test_names_of_any_kind_come_back_from_the_yaml(dataset, tmp_path):
    names = ["\U0001f600 face", "\u732b", 'it\'s "q" \\', "x\ny", "yes", "a\u2028b\x7f"]
    pairs = zip(dataset.values("ground_truth.detections.id", unwind=True), names, strict=False)
    for key, name in pairs:
        view = dataset.select_labels(ids=[key])
        view.set_values("ground_truth.detections.label", [[name]])
    export_yolo_seg(dataset, "ground_truth", tmp_path / "yolo")
    text = (tmp_path / "yolo" / "data.yaml").read_text(encoding="utf-8")
    assert set(names) <= set(yaml.safe_load(text)["names"].values())


def test_a_path_with_a_line_break_is_named_and_copied_where_asked_for(dataset, tmp_path):
    sample = dataset.first()
    path = tmp_path / "two\nlines.png"
    os.rename(sample.filepath, path)
    sample.filepath = str(path)
    sample.save()
    report = export_yolo_seg(dataset, "ground_truth", tmp_path / "yolo")
    assert [note.sample for note in report.failed] == [sample.id]
    assert len((tmp_path / "yolo" / "images.txt").read_text().splitlines()) == report.images == 5
    report = export_yolo_seg(dataset, "ground_truth", tmp_path / "copied", copy_images=True)
    assert (report.images, report.failed) == (6, [])
